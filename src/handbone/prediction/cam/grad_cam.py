"""Grad-CAM of one class of a segmentation network, computed by captum.

R. R. Selvaraju, M. Cogswell, A. Das, R. Vedantam, D. Parikh, D. Batra: Grad-CAM: Visual Explanations from Deep Networks via
Gradient-Based Localization, ICCV 2017. K. Vinogradova, A. Dibrov, G. Myers: Towards Interpretable Semantic Segmentation via
Gradient-Weighted Class Activation Mapping, AAAI 2020 (Seg-Grad-CAM): instead of one score per image, the logits of a set of pixels are
summed, here of the pixels in which the network finds the class.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from handbone.models.wrapper import SegmentationModel
from handbone.prediction.cam.layers import Layer


def grad_cam(
    network: SegmentationModel, layer: Layer, image: Tensor, label: int, min_logit: float, exclusive: bool = False
) -> NDArray[np.float32]:
    """How much each place of the image raises the logits of a class: (H, W) float32, largest value 1, or 0 everywhere.

    The channels of the layer's map are added, each weighted by the mean of its gradient; negative sums become 0. The map is enlarged to the
    image (bilinear). The gradient is that of the sum of the class's logits over the pixels with more than `min_logit`, or, if there are
    none, over all pixels.
    image: (1, C_in, H, W) in 0..1, on the device of the network; exclusive: classes exclude each other, as of `class_logit`.
    """
    from captum.attr import LayerGradCam  # optional: only this command needs it

    method: Any = LayerGradCam(lambda images: _score(class_logit(network(images), label, exclusive), min_logit), layer.module)
    heat = method.attribute(image, relu_attributions=True).detach()
    enlarged = functional.interpolate(heat, layer.padded, mode="bilinear")[0, 0, : image.shape[2], : image.shape[3]]
    return relative(enlarged.cpu().numpy())


def relative(heat: NDArray[np.float32]) -> NDArray[np.float32]:
    """Heat from 0 on, divided by its largest value; 0 stays 0."""
    highest = heat.max()
    return heat / highest if highest > 0 else heat


def class_logit(logits: Tensor, label: int, exclusive: bool) -> Tensor:
    """Logits (N, C, H, W) -> (N, H, W) the logit of the class's probability; if classes exclude each other, it depends on the others."""
    if not exclusive:
        return logits[:, label]
    others = [other for other in range(logits.shape[1]) if other != label]
    return logits[:, label] - logits[:, others].logsumexp(1)


def _score(logits: Tensor, min_logit: float) -> Tensor:
    """(N, H, W) -> (N,) the sum over the pixels in which the class is found, or over all."""
    found = logits.detach() > min_logit
    return (logits * (found | ~found.any())).sum((1, 2))

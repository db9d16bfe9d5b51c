"""From a model's logits, or several models' and mirrored images', to the probabilities that are kept."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from handbone.inference.crf import mean_field
from handbone.inference.predict import Predictor, single
from handbone.inference.quantise import quantise
from handbone.params import CrfParams

FAINTEST = 1e-6  # probability that still has a finite logit


def ensemble(models: Sequence[nn.Module], hflip: bool, crf: CrfParams | None = None) -> Predictor:
    """The mean of the models' probabilities, over the image and, with `hflip`, its mirror image (left and right), mirrored back; with
    `crf`, refined by the image after that.
    """
    if len(models) == 1 and not hflip and crf is None:
        return single(models[0])
    views = [False, True] if hflip else [False]

    def mean(images: Tensor) -> Tensor:
        total = torch.zeros((), device=images.device)
        for mirrored in views:
            inputs = images.flip(-1) if mirrored else images
            for model in models:
                probs = model(inputs).float().sigmoid()
                total = total + (probs.flip(-1) if mirrored else probs)
        return total / (len(views) * len(models))

    return lambda images: quantise(mean(images) if crf is None else _refined(mean(images), images, crf))


def _refined(probabilities: Tensor, images: Tensor, crf: CrfParams) -> Tensor:
    return mean_field(torch.logit(probabilities, FAINTEST), images, crf).sigmoid()

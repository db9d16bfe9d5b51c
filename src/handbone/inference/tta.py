"""From a model's logits, or several models' and mirrored images', to quantised probabilities."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from handbone.inference.predict import Predictor, single
from handbone.inference.quantise import quantise


def ensemble(models: Sequence[nn.Module], hflip: bool) -> Predictor:
    """The mean of the models' probabilities, over the image and, with `hflip`, its mirror image (left and right), mirrored back."""
    if len(models) == 1 and not hflip:
        return single(models[0])

    def probabilities(images: Tensor) -> Tensor:
        views = [False, True] if hflip else [False]
        total = torch.zeros((), device=images.device)
        for mirrored in views:
            inputs = images.flip(-1) if mirrored else images
            for model in models:
                probs = model(inputs).float().sigmoid()
                total = total + (probs.flip(-1) if mirrored else probs)
        return quantise(total / (len(views) * len(models)))

    return probabilities

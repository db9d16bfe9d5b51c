"""Test-time augmentation and ensembling: the mean of several models' probabilities over several views of an image."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

from handbone.config.params import CrfParams, InferParams
from handbone.inference.crf import mean_field
from handbone.inference.predictor import Predictor, from_model, probabilities, to_uint8
from handbone.inference.sliding_window import Model, windowed

MIN_PROB = 1e-6  # probabilities are clamped to MIN_PROB..1-MIN_PROB before the CRF, so that every logit is finite
Flip = tuple[int, ...]  # the axes along which a view is mirrored


def ensemble(models: Sequence[Model], settings: InferParams, mirrored: Sequence[int] | None = None, exclusive: bool = False) -> Predictor:
    """The mean of the models' probabilities over all views of the image, then refined by `settings.crf`.

    The views are the image and its mirror images, each at every size of `settings.scales`; the probabilities of a view are mirrored and
    resized back. A window has the same side in pixels at every scale. One model with one view keeps its logits: see `from_model`.
    mirrored: for each class, the number of the class that it becomes in a mirrored image; None: every class stays itself.
    exclusive: classes exclude each other; a CRF, which refines each class alone, is not for them.
    """
    if settings.window_size and settings.window_stride:
        models = [windowed(model, settings.window_size, settings.window_stride, settings.batch_size) for model in models]
    flips = _flips(settings.hflip, settings.vflip)
    if len(models) == 1 and len(flips) == 1 and settings.scales == [1.0] and settings.crf is None:
        return from_model(models[0], exclusive)
    order = None if mirrored is None else tuple(mirrored)

    def predictor(images: Tensor) -> Tensor:
        swapped = None if order is None else _indices(order, images.device)
        probs = _mean(models, images, flips, settings.scales, swapped, exclusive)
        return to_uint8(probs if settings.crf is None else _refined(probs, images, settings.crf), in_place=True)

    return predictor


@lru_cache
@torch.inference_mode(False)  # kept for other callers, too
def _indices(order: tuple[int, ...], device: torch.device) -> Tensor:
    """(C,) on the device, made once: the host waits for a GPU each time that a list goes there."""
    return torch.tensor(order, device=device)


def _flips(hflip: bool, vflip: bool) -> list[Flip]:
    """The mirror images to use: none, left-right, top-bottom, both."""
    flips: list[Flip] = [(), (-1,), (-2,), (-2, -1)]
    return [axes for axes in flips if (hflip or -1 not in axes) and (vflip or -2 not in axes)]


def _mean(
    models: Sequence[Model], images: Tensor, flips: list[Flip], scales: list[float], swapped: Tensor | None, exclusive: bool
) -> Tensor:
    """Images (N, C_in, h, w) -> probabilities (N, C, h, w), float32."""
    height, width = images.shape[-2:]
    total: Tensor | None = None
    for factor in scales:
        scaled = _resized(images, max(1, round(height * factor)), max(1, round(width * factor)), antialias=True)
        # resizing is linear, so the sum is resized once instead of each term
        total = _added(total, _resized(_sum(models, scaled, flips, swapped, exclusive), height, width, antialias=False))
    assert total is not None  # there is a scale
    return total.div_(len(scales) * len(flips) * len(models))


def _sum(models: Sequence[Model], images: Tensor, flips: list[Flip], swapped: Tensor | None, exclusive: bool) -> Tensor:
    """Images (N, C_in, h, w) -> the sum of all models' probabilities of all mirror images, mirrored back, (N, C, h, w).

    swapped: (C,) the class whose place each class takes in a mirrored image, on the device. Classes swap with one flip; two flips are a
    rotation, which mirrors nothing.
    """
    total: Tensor | None = None
    for axes in flips:
        inputs = images.flip(axes) if axes else images
        for model in models:
            probs = probabilities(model(inputs).float(), exclusive)
            probs = probs.flip(axes) if axes else probs
            total = _added(total, probs[:, swapped] if swapped is not None and len(axes) == 1 else probs)
    assert total is not None  # there is a model, and the image itself is a view
    return total


def _added(total: Tensor | None, term: Tensor) -> Tensor:
    """total + term, in the memory of `total`, or of the first term: on a CPU new memory takes ten times as long as the sum."""
    return term if total is None else total.add_(term)


def _resized(maps: Tensor, height: int, width: int, antialias: bool) -> Tensor:
    """Maps (N, C, h, w) -> (N, C, height, width), bilinear and centre-aligned; unchanged if they have that size."""
    if maps.shape[-2:] == (height, width):
        return maps
    return functional.interpolate(maps, (height, width), mode="bilinear", align_corners=False, antialias=antialias)


def _refined(probs: Tensor, images: Tensor, crf: CrfParams) -> Tensor:
    return mean_field(torch.logit(probs, MIN_PROB), images, crf).sigmoid()

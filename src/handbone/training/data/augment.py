"""Augmentation as data: albumentations transforms by name and arguments.

Transforms are never applied to masks. Instead, each call also returns the inverse warp, i.e. where every pixel comes from: a matrix if
all transforms that are drawn are affine, else the coordinates of each pixel. `masks.coverage` computes the target from it at full
resolution.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np

from handbone.cache.resize import UInt8Image
from handbone.masks.coverage import IDENTITY, InverseWarp
from handbone.training.data.augment_check import (
    PLACE,
    PROBE_SIDE,
    apply_with_coordinates,
    apply_with_points,
    build,
    compose,
    inverse_matrix,
    is_any_drawn,
    pixel_fault,
    size_problem,
    size_problems,
    try_all,
    try_transform,
    unusable,
)
from handbone.training.data.augment_presets import Preset, Transform, transforms
from handbone.utils.errors import UserError, raise_if_any

TITLE = "train.augment cannot be used"


class Augmenter:
    """The transforms of `train.augment`, applied in order. mirrors: whether some of them can mirror an image."""

    def __init__(self, augment: Preset | Sequence[Transform], channels: int) -> None:
        """Build and try every transform for images of 1 or 3 channels.

        Raises `UserError` that lists each transform that is unknown, rejects its arguments, distorts masks, or returns anything but 8-bit
        pixels that depend only on the image and the seed.
        """
        self._built, problems = build(transforms(augment))
        self._trials, unusable = try_all(self._built, channels)
        raise_if_any(problems + unusable, TITLE)
        self._channels = channels
        self._to_colour = channels == 3 and any(try_transform(transform, 1).fault for transform in self._built.leaves)
        affine, moves = all(trial.affine for trial in self._trials), any(trial.moves for trial in self._trials)
        self._warp: Literal["none", "affine", "any"] = "any" if not affine else "affine" if moves else "none"
        self._compose = compose(self._built.transforms)
        self._compose_points = compose(self._built.transforms, points=moves)
        self._curved = [leaf for leaf, trial in zip(self._built.leaves, self._trials, strict=True) if not trial.affine]
        self.mirrors = any(trial.mirrors for trial in self._trials)

    def check_sizes(self, shapes: Iterable[tuple[int, int]]) -> None:
        """Raise one `UserError` (train.augment_size) for all transforms that would change the size of images of some shape (h, w)."""
        raise_if_any(size_problems(self._built, self._trials, self._channels, shapes), TITLE)

    def __call__(self, image: UInt8Image, seed: int) -> tuple[UInt8Image, InverseWarp]:
        """(H, W) or (H, W, 3) image -> the augmented image and its inverse warp; `seed` alone decides the random choices.

        A grey image becomes a colour image if some transform works only on colour.
        Raises `UserError` if the size (train.augment_size) or the type (train.augment) changes.
        """
        image = np.repeat(image[..., None], 3, 2) if self._to_colour and image.ndim == 2 else image
        augmented, inverse_warp = self._apply(image, seed)
        if augmented.shape != image.shape:
            found = f"{augmented.shape[1]}x{augmented.shape[0]} from {image.shape[1]}x{image.shape[0]}"
            raise UserError(size_problem(PLACE, found))
        if augmented.dtype != np.uint8:  # a transform that returns floats only now and then
            raise UserError(unusable(PLACE, self._channels, pixel_fault(augmented, image)))
        return augmented, inverse_warp

    def _apply(self, image: UInt8Image, seed: int) -> tuple[UInt8Image, InverseWarp]:
        inverse_warp: InverseWarp
        if self._warp == "none":
            self._compose.set_random_seed(seed)
            augmented, inverse_warp = self._compose(image=image)["image"], IDENTITY
        elif self._warp == "affine" or not self._draws_a_curve(image, seed):
            self._compose_points.set_random_seed(seed)
            augmented, points = apply_with_points(self._compose_points, image)
            inverse_warp = inverse_matrix(points, image.shape)
        else:
            self._compose.set_random_seed(seed)
            augmented, inverse_warp = apply_with_coordinates(self._compose, image)
        return np.ascontiguousarray(augmented), inverse_warp

    def _draws_a_curve(self, image: UInt8Image, seed: int) -> bool:
        """Whether `seed` draws a transform that a matrix cannot describe; a corner of the image shows it, as the draw depends on no pixel.

        Coordinates of each pixel take several times as long as a matrix, and most draws of a rare transform do without it.
        """
        self._compose.set_random_seed(seed)
        return is_any_drawn(self._curved, self._compose, image[:PROBE_SIDE, :PROBE_SIDE])

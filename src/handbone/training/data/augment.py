"""Augmentation as data: albumentations transforms by name and arguments. The only module that knows albumentations.

Transforms are never applied to masks. Instead, each call also returns the inverse warp, i.e. where every pixel comes from: a matrix if
all transforms are affine, else the coordinates of each pixel. `masks.coverage` computes the target from it at full resolution.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from handbone.cache.resize import UInt8Image
from handbone.masks.coverage import IDENTITY, OUTSIDE, InverseWarp
from handbone.training.data.augment_presets import Preset, Transform, transforms
from handbone.utils.errors import Problem, UserError, nearest, raise_if_any

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # the import would ask the network for a newer release
import albumentations as A

PROBE_SIDE, CELL = 64, 4  # pixels: side of the image on which transforms are tried, and of the squares in its mask
MIN_AGREEMENT = 0.85  # share of a mask's pixels: transforms that only move pixels reach 0.9, those that reshape masks stay below 0.8
FAR_OUTSIDE = -1e6  # a coordinate that stays far below OUTSIDE when it is interpolated with true ones at the border
PLACE = "params.yaml: train.augment"


class Augmenter:
    """The transforms of `train.augment`, applied in order."""

    def __init__(self, augment: Preset | Sequence[Transform], channels: int) -> None:
        """Build and try every transform for images of 1 or 3 channels.

        Raises `UserError` that lists each transform that is unknown, rejects its arguments, or would distort masks.
        """
        built, problems, affine = [], [], True
        for index, named in enumerate(transforms(augment)):
            transform, found = _build(f"{PLACE}, entry {index}", named)
            if not found:
                fault, is_affine = _try(transform, channels)
                affine = affine and is_affine
                found = [_unusable(f"{PLACE}, entry {index} ({next(iter(named))})", channels, fault)] if fault else []
            problems += found
            built.append(transform)
        raise_if_any(problems, "train.augment cannot be used")
        self._to_colour = channels == 3 and any(_try(transform, 1)[0] for transform in built)
        moves = any(isinstance(transform, A.DualTransform) for transform in built)
        self._warp: Literal["none", "affine", "any"] = "any" if not affine else "affine" if moves else "none"
        self._compose = A.Compose(built, keypoint_params=_keypoints() if self._warp == "affine" else None)

    def __call__(self, image: UInt8Image, seed: int) -> tuple[UInt8Image, InverseWarp]:
        """(H, W) or (H, W, 3) image -> the augmented image and its inverse warp; `seed` alone decides the random choices.

        A grey image becomes a colour image if some transform works only on colour.
        Raises `UserError` (train.augment_size) if the size changes.
        """
        self._compose.set_random_seed(seed)
        image = np.repeat(image[..., None], 3, 2) if self._to_colour and image.ndim == 2 else image
        augmented, inverse_warp = self._apply(image)
        if augmented.shape != image.shape:
            found = f"{augmented.shape[1]}x{augmented.shape[0]} from {image.shape[1]}x{image.shape[0]}"
            fix = "leave out turns by 90 degrees, unless all images are square, and whatever crops or pads to another size"
            raise UserError(Problem("train.augment_size", PLACE, "transforms that keep the size of an image", found, fix))
        return augmented, inverse_warp

    def _apply(self, image: UInt8Image) -> tuple[UInt8Image, InverseWarp]:
        if self._warp == "none":
            return np.ascontiguousarray(self._compose(image=image)["image"]), IDENTITY
        if self._warp == "affine":
            augmented, points = _apply_with_points(self._compose, image)
            return augmented, _inverse_matrix(points, image.shape)
        return _apply_with_coordinates(self._compose, image)


def _unusable(place: str, channels: int, fault: str) -> Problem:
    expected = f"a transform that moves the pixels of masks, keeps the size, and takes {channels} channels"
    return Problem("train.augment", place, expected, fault, "leave it out, or change its arguments")


def _keypoints() -> A.KeypointParams:
    return A.KeypointParams(format="xy", remove_invisible=False)


def _corners(shape: Sequence[int]) -> NDArray[np.float32]:
    """(5, 2) x, y: three corners of an image; then the fourth and a point inside, which show whether a warp is affine."""
    right, bottom = shape[1] - 1, shape[0] - 1
    return np.array([[0, 0], [right, 0], [0, bottom], [right, bottom], [right / 3, bottom / 4]], np.float32)


def _apply_with_points(compose: A.Compose, image: UInt8Image) -> tuple[UInt8Image, NDArray[np.float64]]:
    """-> the augmented image, and where `_corners` are in it, (5, 2)."""
    augmented = compose(image=image, keypoints=_corners(image.shape))
    return np.ascontiguousarray(augmented["image"]), np.asarray(augmented["keypoints"], np.float64)


def _apply_with_coordinates(compose: A.Compose, image: UInt8Image) -> tuple[UInt8Image, NDArray[np.float32]]:
    """-> the augmented image, and the x, y from which each of its pixels comes, (H, W, 2)."""
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]]
    augmented = compose(image=image, mask=np.stack([columns, rows], -1).astype(np.float32))
    return np.ascontiguousarray(augmented["image"]), np.ascontiguousarray(augmented["mask"])


def _inverse_matrix(points: NDArray[np.float64], shape: Sequence[int]) -> NDArray[np.float64]:
    """(2, 3): the affine matrix that maps the first three corners from where they were moved back to where they came from."""
    forward = np.vstack([points[:3].T, np.ones(3)])
    inverse: NDArray[np.float64] = np.linalg.solve(forward.T, _corners(shape)[:3].astype(np.float64)).T
    return inverse


def _build(place: str, named: Transform) -> tuple[Any, list[Problem]]:
    """The transform, or what is wrong with its entry."""
    if len(named) != 1:
        expected = "one name with its arguments, e.g. HorizontalFlip: {p: 0.5}"
        return None, [Problem("train.augment", place, expected, str(dict(named)), "write one entry per transform")]
    ((name, arguments),) = named.items()
    known = [known for known, kind in vars(A).items() if isinstance(kind, type) and issubclass(kind, A.BasicTransform)]
    if name not in known:
        return None, [Problem("train.augment", place, "a transform of albumentations", repr(name), nearest(name, known))]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # albumentations only warns of an unknown argument
            return _for_coordinates(getattr(A, name)(**arguments)), []
    except (UserWarning, ValueError, TypeError) as error:
        found = f"{dict(arguments)}: {error}"
        return None, [Problem("train.augment", f"{place} ({name})", "arguments that it accepts", found, "correct the arguments")]


def _for_coordinates(transform: Any) -> Any:
    """The transform, with settings that make what it does to a mask right for an image of coordinates."""
    if hasattr(transform, "mask_interpolation"):
        transform.mask_interpolation = cv2.INTER_LINEAR
    if getattr(transform, "fill_mask", None) is not None:
        transform.fill_mask = FAR_OUTSIDE
    return transform


def _try(transform: Any, channels: int) -> tuple[str, bool]:
    """Apply the transform to a probe with probability 1 -> what makes it unusable (empty: nothing), and whether it is affine."""
    rng = np.random.default_rng(0)
    cells = rng.random((PROBE_SIDE // CELL, PROBE_SIDE // CELL)) < 0.5
    mask = np.kron(cells, np.ones((CELL, CELL))).astype(np.uint8)
    image = rng.integers(0, 256, (PROBE_SIDE, PROBE_SIDE) if channels == 1 else (PROBE_SIDE, PROBE_SIDE, 3), np.uint8)
    probability, affine = transform.p, True
    transform.p = 1.0
    try:
        for seed in range(4):
            fault, is_affine = _probe(transform, image, mask, seed)
            affine = affine and is_affine
            if fault:
                return fault, False
    except Exception as error:  # any exception: the user has chosen the transform and can choose another
        return f"{type(error).__name__}: {error}", False
    finally:
        transform.p = probability
    return "", affine


def _probe(transform: Any, image: UInt8Image, mask: UInt8Image, seed: int) -> tuple[str, bool]:
    """One application: the mask must become what the coordinates say; and whether keypoints and coordinates agree on an affine warp."""
    augmented, coordinates = _apply_with_coordinates(A.Compose([transform], seed=seed), image)
    if augmented.shape != image.shape or coordinates.shape[:2] != image.shape[:2]:
        return f"{augmented.shape[0]}x{augmented.shape[1]} pixels from {PROBE_SIDE}x{PROBE_SIDE}", False
    inside = np.asarray((coordinates > OUTSIDE).all(-1), bool)
    x, y = np.clip(np.rint(coordinates[inside]), 0, PROBE_SIDE - 1).astype(int).T
    as_mask = A.Compose([transform], seed=seed)(image=image, mask=mask.astype(np.float32))["mask"]
    if ((as_mask > 0.5)[inside] == mask[y, x].astype(bool)).mean() < MIN_AGREEMENT:
        return "masks that it reshapes", False
    if not isinstance(transform, A.DualTransform):
        return "", True
    _, points = _apply_with_points(A.Compose([transform], seed=seed, keypoint_params=_keypoints()), image)
    return "", _is_affine(coordinates, inside, points)


def _is_affine(coordinates: NDArray[np.float32], inside: NDArray[np.bool_], points: NDArray[np.float64]) -> bool:
    """Whether one matrix moves the points, and gives the coordinates of every pixel."""
    corners = np.hstack([_corners(coordinates.shape), np.ones((5, 1))])
    if len(points) != 5 or abs(np.linalg.det(np.hstack([points[:3], np.ones((3, 1))]))) < 1:
        return False
    matrix = _inverse_matrix(points, coordinates.shape)
    back = np.hstack([points, np.ones((5, 1))]) @ matrix.T
    rows, columns = np.mgrid[: coordinates.shape[0], : coordinates.shape[1]]
    expected = np.stack([columns, rows, np.ones_like(rows)], -1) @ matrix.T
    border = np.minimum(expected, [coordinates.shape[1] - 1, coordinates.shape[0] - 1] - expected).min(-1)  # pixels inwards from the rim
    # OpenCV warps in steps of 1/32 pixel
    agree = np.abs(expected - coordinates)[inside & (border > 1)].max(initial=0) < 0.05
    return bool(np.abs(back - corners[:, :2]).max() < 1e-2 and agree and inside[border > 1].all() and not inside[border < -1.5].any())

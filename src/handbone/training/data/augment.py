"""Augmentation as data: albumentations transforms by name and arguments. The only module that knows albumentations.

Masks are not given to the transforms. Where each pixel comes from is: three points, if all transforms are affine, else an image of
coordinates. What the masks become is computed from that at full resolution (coverage.py).
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from handbone.masks.coverage import IDENTITY, OUTSIDE, Motion
from handbone.training.data.augment_presets import Preset, Transform, transforms
from handbone.utils.errors import Problem, UserError, nearest, raise_if_any

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # the import would ask the network for a newer release
_tensors = sys.modules.setdefault("albumentations.pytorch", None)  # type: ignore[arg-type]  # and load torch: two seconds, for ToTensorV2
import albumentations as A  # noqa: E402

if _tensors is None:
    del sys.modules["albumentations.pytorch"]  # whoever asks for it by name still gets it

Pixels = NDArray[np.uint8]
PROBE, CELL = 64, 4  # pixels: the side of what a transform is tried on, and of the squares on it
ALIKE = 0.85  # of a mask's pixels: transforms that move reach 0.9, those that reshape stay below 0.8
FAR_OUTSIDE = -1e6  # a coordinate; mixed with true ones at the border it stays far below OUTSIDE


class Augmenter:
    """The transforms of `train.augment`, in order, on the image; what moved is told as well."""

    def __init__(self, augment: Preset | Sequence[Transform], channels: int) -> None:
        """Build and try every transform; a `UserError` lists each that is unknown, refuses its arguments or would spoil a mask."""
        built, problems, affine = [], [], True
        for index, named in enumerate(transforms(augment)):
            where = f"params.yaml: train.augment, entry {index}"
            transform, found = _build(where, named)
            if not found:
                fault, is_affine = _try(transform, channels)
                affine = affine and is_affine
                fix = "leave it out, or change its arguments"
                what = f"{where} ({next(iter(named))})"
                found = [Problem(what, f"a transform that moves masks, size kept, {channels} channels", fault, fix)] if fault else []
            problems += found
            built.append(transform)
        raise_if_any(problems, "train.augment cannot be used")
        self._in_colour = channels == 3 and any(_try(transform, 1)[0] for transform in built)
        moving = any(isinstance(transform, A.DualTransform) for transform in built)
        self._motion: Literal["none", "affine", "any"] = "any" if not affine else "affine" if moving else "none"
        self._compose = A.Compose(built, keypoint_params=_keypoints() if self._motion == "affine" else None)

    def __call__(self, image: Pixels, seed: int) -> tuple[Pixels, Motion]:
        """(H, W) or (H, W, 3) image -> the same after the moves that `seed` alone decides, and where its pixels come from.

        A grey image comes out in colour where a transform knows colour alone. Raises `UserError` where the size changes.
        """
        self._compose.set_random_seed(seed)
        image = np.repeat(image[..., None], 3, 2) if self._in_colour and image.ndim == 2 else image
        moved, motion = self._moved(image)
        if moved.shape != image.shape:
            turned = f"found one that makes {moved.shape[1]}x{moved.shape[0]} of {image.shape[1]}x{image.shape[0]}"
            fix = "leave out turns by 90 degrees, unless all images are square, and what crops or pads to another size"
            raise UserError(f"params.yaml: train.augment: expected transforms that keep an image's size; {turned}; {fix}")
        return moved, motion

    def _moved(self, image: Pixels) -> tuple[Pixels, Motion]:
        if self._motion == "none":
            return np.ascontiguousarray(self._compose(image=image)["image"]), IDENTITY
        if self._motion == "affine":
            moved, points = _move_points(self._compose, image)
            return moved, _backward(points, image.shape)
        return _move_grid(self._compose, image)


def _keypoints() -> A.KeypointParams:
    return A.KeypointParams(format="xy", remove_invisible=False)


def _corners(shape: Sequence[int]) -> NDArray[np.float32]:
    """Three corners of an image and, to see whether a motion is affine, the fourth and a point inside, as x, y."""
    right, bottom = shape[1] - 1, shape[0] - 1
    return np.array([[0, 0], [right, 0], [0, bottom], [right, bottom], [right / 3, bottom / 4]], np.float32)


def _move_points(compose: A.Compose, image: Pixels) -> tuple[Pixels, NDArray[np.float64]]:
    moved = compose(image=image, keypoints=_corners(image.shape))
    return np.ascontiguousarray(moved["image"]), np.asarray(moved["keypoints"], np.float64)


def _move_grid(compose: A.Compose, image: Pixels) -> tuple[Pixels, NDArray[np.float32]]:
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]]
    moved = compose(image=image, mask=np.stack([columns, rows], -1).astype(np.float32))
    return np.ascontiguousarray(moved["image"]), np.ascontiguousarray(moved["mask"])


def _backward(points: NDArray[np.float64], shape: Sequence[int]) -> NDArray[np.float64]:
    """(2, 3): the affine matrix that leads from where the first three corners came to rest back to where they were."""
    forward = np.vstack([points[:3].T, np.ones(3)])
    back: NDArray[np.float64] = np.linalg.solve(forward.T, _corners(shape)[:3].astype(np.float64)).T
    return back


def _build(where: str, named: Transform) -> tuple[Any, list[Problem]]:
    form = "a name with its arguments, e.g. HorizontalFlip: {p: 0.5}"
    if len(named) != 1:
        return None, [Problem(where, form, str(dict(named)), "give each transform an entry of its own")]
    ((name, arguments),) = named.items()
    known = [known for known, kind in vars(A).items() if isinstance(kind, type) and issubclass(kind, A.BasicTransform)]
    if name not in known:
        return None, [Problem(where, "a transform of albumentations", repr(name), nearest(name, known))]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # an argument that it does not know is a mere warning to albumentations
            return _for_coordinates(getattr(A, name)(**arguments)), []
    except (UserWarning, ValueError, TypeError) as error:
        return None, [Problem(f"{where} ({name})", "arguments that it takes", f"{dict(arguments)}: {error}", "mend the arguments")]


def _for_coordinates(transform: Any) -> Any:
    """The transform, so set that what it does to a mask is right for an image of coordinates."""
    if hasattr(transform, "mask_interpolation"):
        transform.mask_interpolation = cv2.INTER_LINEAR
    if getattr(transform, "fill_mask", None) is not None:
        transform.fill_mask = FAR_OUTSIDE
    return transform


def _try(transform: Any, channels: int) -> tuple[str, bool]:
    """Run the transform on a probe, so that it acts each time -> what makes it useless (empty: nothing), and whether it is affine."""
    rng = np.random.default_rng(0)
    cells = rng.random((PROBE // CELL, PROBE // CELL)) < 0.5
    mask = np.kron(cells, np.ones((CELL, CELL))).astype(np.uint8)
    image = rng.integers(0, 256, (PROBE, PROBE) if channels == 1 else (PROBE, PROBE, 3), np.uint8)
    chance, affine = transform.p, True
    transform.p = 1.0
    try:
        for seed in range(4):
            fault, is_affine = _probe(transform, image, mask, seed)
            affine = affine and is_affine
            if fault:
                return fault, False
    except Exception as error:  # whatever it raises, the user chose the transform and can choose another
        return f"{type(error).__name__}: {error}", False
    finally:
        transform.p = chance
    return "", affine


def _probe(transform: Any, image: Pixels, mask: Pixels, seed: int) -> tuple[str, bool]:
    """One draw: a mask must become what the coordinates say, and the coordinates tell whether the points do too."""
    moved, grid = _move_grid(A.Compose([transform], seed=seed), image)
    if moved.shape != image.shape or grid.shape[:2] != image.shape[:2]:
        return f"{moved.shape[0]}x{moved.shape[1]} pixels out of {PROBE}x{PROBE}", False
    inside = np.asarray((grid > OUTSIDE).all(-1), bool)
    x, y = np.clip(np.rint(grid[inside]), 0, PROBE - 1).astype(int).T
    as_mask = A.Compose([transform], seed=seed)(image=image, mask=mask.astype(np.float32))["mask"]
    if ((as_mask > 0.5)[inside] == mask[y, x].astype(bool)).mean() < ALIKE:
        return "masks that it reshapes", False
    if not isinstance(transform, A.DualTransform):
        return "", True
    _, points = _move_points(A.Compose([transform], seed=seed, keypoint_params=_keypoints()), image)
    return "", _is_affine(grid, inside, points)


def _is_affine(grid: NDArray[np.float32], inside: NDArray[np.bool_], points: NDArray[np.float64]) -> bool:
    """Whether the points moved by one matrix, and every pixel of the grid comes from where that says."""
    corners = np.hstack([_corners(grid.shape), np.ones((5, 1))])
    if len(points) != 5 or abs(np.linalg.det(np.hstack([points[:3], np.ones((3, 1))]))) < 1:
        return False
    matrix = _backward(points, grid.shape)
    back = np.hstack([points, np.ones((5, 1))]) @ matrix.T
    rows, columns = np.mgrid[: grid.shape[0], : grid.shape[1]]
    told = np.stack([columns, rows, np.ones_like(rows)], -1) @ matrix.T
    border = np.minimum(told, [grid.shape[1] - 1, grid.shape[0] - 1] - told).min(-1)  # from the image's rim inwards, in pixels
    # OpenCV warps in steps of 1/32 pixel
    agree = np.abs(told - grid)[inside & (border > 1)].max(initial=0) < 0.05
    return bool(np.abs(back - corners[:, :2]).max() < 1e-2 and agree and inside[border > 1].all() and not inside[border < -1.5].any())

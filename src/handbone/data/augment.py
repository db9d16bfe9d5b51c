"""Augmentation as data: albumentations transforms by name and arguments. The only module that knows albumentations."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # the import would ask the network for a newer release

import albumentations as A
import numpy as np
from numpy.typing import NDArray

from handbone.errors import Problem, nearest, raise_if_any

Pixels = NDArray[np.uint8]
PROBE = 64


class Augmenter:
    """The transforms of `train.augment`, in order; image and packed masks move together, exactly."""

    def __init__(self, transforms: Sequence[Mapping[str, Mapping[str, Any]]], channels: int) -> None:
        """Build and try every transform; a `UserError` lists each that is unknown, refuses its arguments or would spoil a mask."""
        built, problems = [], []
        for index, named in enumerate(transforms):
            where = f"params.yaml: train.augment, entry {index}"
            transform, found = _build(where, named)
            problems += found or _try(where, named, transform, channels)
            built.append(transform)
        raise_if_any(problems, "train.augment cannot be used")
        self._compose = A.Compose(built)

    def __call__(self, image: Pixels, packed: Pixels, seed: int) -> tuple[Pixels, Pixels]:
        """(H, W) or (H, W, 3) image and (H, W, B) packed masks -> both after the same moves, decided by `seed` alone."""
        return _apply(self._compose, image, packed, seed)


def _apply(compose: A.Compose, image: Pixels, packed: Pixels, seed: int) -> tuple[Pixels, Pixels]:
    compose.set_random_seed(seed)
    moved = compose(image=image, mask=packed)
    return np.ascontiguousarray(moved["image"]), np.ascontiguousarray(moved["mask"])


def _build(where: str, named: Mapping[str, Mapping[str, Any]]) -> tuple[Any, list[Problem]]:
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
            return getattr(A, name)(**arguments), []
    except (UserWarning, ValueError, TypeError) as error:
        return None, [Problem(f"{where} ({name})", "arguments that it takes", f"{dict(arguments)}: {error}", "mend the arguments")]


def _try(where: str, named: Mapping[str, Mapping[str, Any]], transform: Any, channels: int) -> list[Problem]:
    """Run the transform on a probe: each class must come out as if it had been moved alone, at the size it went in."""
    ((name, _),) = named.items()
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (PROBE, PROBE) if channels == 1 else (PROBE, PROBE, 3), np.uint8)
    packed = rng.integers(0, 256, (PROBE, PROBE, 4), np.uint8)
    alone = A.Compose([transform], seed=0)
    fault = ""
    for seed in range(4):
        try:
            moved_image, moved = _apply(alone, image, packed, seed)
            _, single = _apply(alone, image, _fourth(packed), seed)
        except Exception as error:  # whatever it raises, the user chose the transform and can choose another
            fault = f"{type(error).__name__}: {error}"
            break
        if moved_image.shape != image.shape or moved.shape != packed.shape:
            fault = f"{moved_image.shape[0]}x{moved_image.shape[1]} pixels out of {PROBE}x{PROBE}"
        elif not np.array_equal(_fourth(moved), single):
            fault = "masks that it mixes"
    fix = "leave it out, or let it use nearest interpolation and fill masks with 0"
    return [Problem(f"{where} ({name})", f"image and masks moved alike, size kept, {channels} channels", fault, fix)] if fault else []


def _fourth(packed: Pixels) -> Pixels:
    """(H, W, B) packed masks -> (H, W), class 3 alone as 0 and 1."""
    return packed[..., 0] >> np.uint8(3) & np.uint8(1)

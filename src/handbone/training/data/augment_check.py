"""Build the transforms of `train.augment` from their names, and try each one before it may touch an image of the training.

The only module that knows albumentations.

A transform must return 8-bit pixels of the same size that depend on nothing but the image and the seed, and must not reshape masks.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from handbone.cache.resize import UInt8Image
from handbone.masks.coverage import OUTSIDE, is_mirrored
from handbone.training.data.augment_presets import Transform
from handbone.utils.errors import Problem, nearest

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # the import would ask the network for a newer release
import albumentations as A

PROBE_SIDE, CELL = 64, 4  # pixels: side of the image on which transforms are tried, and of the squares in its mask
TRIES = 4  # seeds that each transform is tried with
TURNS = 8  # seeds that show whether a transform turns images by 90 degrees
MIN_AGREEMENT = 0.85  # share of a mask's pixels: transforms that only move pixels reach 0.9, those that reshape masks stay below 0.8
MAX_DEPTH = 8  # transforms inside each other
# a coordinate that stays below OUTSIDE when three warps, one after the other, give it their least weight at the border, 1/1024 in OpenCV;
# the square of a larger one would not fit into float32
FAR_OUTSIDE = -1e18
PLACE = "params.yaml: train.augment"
# transforms that contain others, and the arguments that they take besides `transforms`
CONTAINERS = {
    "OneOf": {"p"},
    "SomeOf": {"n", "replace", "p"},
    "RandomOrder": {"n", "replace", "p"},
    "OneOrOther": {"p"},
    "Sequential": {"p"},
    "Compose": {"p"},
}
FOR_CODE = {
    "Lambda": "one made of functions, which YAML cannot hold",
    "ToTensorV2": "one that returns a tensor, although the training converts images itself",
    "ToTensor3D": "one that returns a tensor, although the training converts images itself",
}


@dataclass
class BuiltTransforms:
    """transforms: as given, those inside others included; leaves: each transform that contains no other; places: of the leaves."""

    transforms: list[Any]
    leaves: list[Any]
    places: list[str]


class Trial(NamedTuple):
    """What trying a transform shows.

    fault: what makes it unusable, empty if nothing does; moves: whether it can move pixels; affine: whether all its warps are; mirrors:
    whether one of them mirrors; only_square: whether it keeps the size of square images only, as turns by 90 degrees do.
    """

    fault: str
    moves: bool = False
    affine: bool = True
    mirrors: bool = False
    only_square: bool = False


def compose(built: Sequence[Any], points: bool = False, seed: int | None = None) -> A.Compose:
    """The transforms, applied in order. points: they also move x, y points, also those that leave the image."""
    keypoints = A.KeypointParams(format="xy", remove_invisible=False) if points else None
    return A.Compose(built, keypoint_params=keypoints, seed=seed, save_applied_params=True)


def corners(shape: Sequence[int]) -> NDArray[np.float32]:
    """(5, 2) x, y: three corners of an image; then the fourth and a point inside, which show whether a warp is affine."""
    right, bottom = shape[1] - 1, shape[0] - 1
    return np.array([[0, 0], [right, 0], [0, bottom], [right, bottom], [right / 3, bottom / 4]], np.float32)


def is_any_drawn(leaves: Sequence[Any], transforms: A.Compose, image: UInt8Image) -> bool:
    """Whether one of the `leaves` in `transforms` is applied to the image.

    It takes two questions: the record of albumentations has no leaf of a OneOrOther, and a leaf that is drawn twice (replace: true) and is
    applied only the first time does not remember that.
    """
    for leaf in leaves:
        leaf.params = {}
    applied = {name for name, _ in transforms(image=image)["applied_transforms"]}
    return any(type(leaf).__name__ in applied or leaf.get_applied_params() for leaf in leaves)


def apply_with_points(transforms: A.Compose, image: UInt8Image) -> tuple[Any, NDArray[np.float64]]:
    """-> what becomes of the image, and where `corners` are in it, (5, 2)."""
    augmented = transforms(image=image, keypoints=corners(image.shape))
    return augmented["image"], np.asarray(augmented["keypoints"], np.float64)


def apply_with_coordinates(transforms: A.Compose, image: UInt8Image) -> tuple[Any, NDArray[np.float32]]:
    """-> what becomes of the image, and the x, y from which each of its pixels comes, (H, W, 2)."""
    coordinates = np.empty((*image.shape[:2], 2), np.float32)
    coordinates[..., 0], coordinates[..., 1] = np.arange(image.shape[1]), np.arange(image.shape[0])[:, None]
    augmented = transforms(image=image, mask=coordinates)
    return augmented["image"], np.ascontiguousarray(augmented["mask"])


def inverse_matrix(points: NDArray[np.float64], shape: Sequence[int]) -> NDArray[np.float64]:
    """(2, 3): the affine matrix that maps the first three corners from where they were moved back to where they came from."""
    forward = np.vstack([points[:3].T, np.ones(3)])
    inverse: NDArray[np.float64] = np.linalg.solve(forward.T, corners(shape)[:3].astype(np.float64)).T
    return inverse


def build(augment: Sequence[Transform]) -> tuple[BuiltTransforms, list[Problem]]:
    """All transforms, and a problem for each one that is unknown or rejects its arguments."""
    built, problems = BuiltTransforms([], [], []), []
    for index, named in enumerate(augment):
        transform, found = _build(f"{PLACE}, entry {index}", named, built)
        built.transforms.append(transform)
        problems += found
    return built, problems


def try_all(built: BuiltTransforms, channels: int) -> tuple[list[Trial], list[Problem]]:
    """Try every leaf on images of 1 or 3 channels -> what each shows, and a problem for each one that is unusable."""
    trials = [try_transform(transform, channels) for transform in built.leaves]
    faults = [(place, trial.fault) for place, trial in zip(built.places, trials, strict=True) if trial.fault]
    return trials, [unusable(place, channels, fault) for place, fault in faults]


def unusable(place: str, channels: int, fault: str) -> Problem:
    """A transform that was tried and does not fit."""
    expected = f"a transform that moves the pixels of masks, keeps the size, and takes and returns uint8 images of {channels} channels"
    return Problem("train.augment", place, expected, fault, "leave it out, or change its arguments")


def size_problems(built: BuiltTransforms, trials: Sequence[Trial], channels: int, shapes: Iterable[tuple[int, int]]) -> list[Problem]:
    """A problem for each transform that would change the size of images of one of the `shapes` (h, w)."""
    wanted = sorted(set(shapes))
    shown = _extremes(wanted)
    turned = next((f"{height}x{width} from {width}x{height}" for height, width in wanted if height != width), "")
    problems = []
    for transform, place, trial in zip(built.leaves, built.places, trials, strict=True):
        found = (turned if trial.only_square else "") or _size_fault(transform, channels, shown)
        if found:
            problems.append(size_problem(place, found))
    return problems


def size_problem(place: str, found: str) -> Problem:
    """A change of an image's size."""
    fix = "leave out turns by 90 degrees, unless all images are square, and whatever crops or pads to another size"
    return Problem("train.augment_size", place, "transforms that keep the size of an image", found, fix)


def _extremes(shapes: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The smallest and largest of the shapes, the widest and the tallest: a few stand for all, as each one costs time."""
    measures = [lambda shape: shape[0] * shape[1], lambda shape: shape[0] / shape[1]]
    return list(dict.fromkeys(pick(shapes, key=measure) for measure in measures for pick in (min, max))) if shapes else []


def _size_fault(transform: Any, channels: int, shapes: Sequence[tuple[int, int]]) -> str:
    """What happens to the size of an image of the first of the shapes that does not keep it; empty if all do."""
    probability = transform.p
    try:
        transform.p = 1.0
        found = (_resized(transform, channels, shape) for shape in shapes if probability)
        return next((size for size in found if size), "")
    except Exception as error:  # as in `try_transform`
        return _said(error)
    finally:
        transform.p = probability


def _build(place: str, named: object, built: BuiltTransforms) -> tuple[Any, list[Problem]]:
    """The transform, or what is wrong with its entry. Leaves are added to `built`."""
    if not isinstance(named, Mapping) or len(named) != 1 or not isinstance(next(iter(named.values())), Mapping):
        expected = "one name with its arguments, e.g. HorizontalFlip: {p: 0.5}"
        return None, [Problem("train.augment", place, expected, _shown(named), "write one entry per transform, {} for no arguments")]
    ((name, arguments),) = named.items()
    if place.count(", transform ") > MAX_DEPTH:  # an alias in YAML may contain itself
        return None, [Problem("train.augment", place, f"at most {MAX_DEPTH} transforms inside each other", "more", "nest them less")]
    leaves = [known for known, kind in vars(A).items() if isinstance(kind, type) and issubclass(kind, A.BasicTransform)]
    if name in CONTAINERS:
        return _build_container(f"{place} ({name})", name, arguments, built)
    if name not in leaves:
        fix = nearest(str(name), [*CONTAINERS, *leaves])
        return None, [Problem("train.augment", place, "a transform of albumentations", repr(name), fix)]
    if name in FOR_CODE:
        expected = "a transform that returns an image and that YAML can describe"
        return None, [Problem("train.augment", f"{place} ({name})", expected, FOR_CODE[name], "leave it out")]
    transform, problems = _construct(f"{place} ({name})", name, arguments)
    if not problems:
        built.leaves.append(_for_coordinates(transform))
        built.places.append(f"{place} ({name})")
    return transform, problems


def _build_container(place: str, name: str, arguments: Mapping[str, Any], built: BuiltTransforms) -> tuple[Any, list[Problem]]:
    """A transform that contains others, built from the inside out; or what is wrong inside and with its arguments."""
    inner, problems = [], _container_problems(place, name, arguments)
    listed = arguments.get("transforms")
    for index, named in enumerate(listed if isinstance(listed, list) else []):
        transform, found = _build(f"{place}, transform {index}", named, built)
        inner.append(transform)
        problems += found
    if not problems and name == "OneOf" and not any(transform.p for transform in inner):
        found_p = "0 for each of them"
        problems = [Problem("train.augment", place, "a transform with p above 0, as p is its weight here", found_p, "raise one p")]
    if problems:
        return None, problems
    return _construct(place, name, {**arguments, "transforms": inner})


def _container_problems(place: str, name: str, arguments: Mapping[str, Any]) -> list[Problem]:
    """What is wrong with the arguments themselves; albumentations checks none of them."""
    listed, p, n, replace = (arguments.get(key, default) for key, default in (("transforms", None), ("p", 1), ("n", 1), ("replace", False)))
    least = 2 if name == "OneOrOther" else 1
    expected_list = f"{'two' if least == 2 else 'at least one'} in a list, each a name with its arguments"
    whole = isinstance(n, int) and not isinstance(n, bool)
    rules = [
        (isinstance(listed, list) and len(listed) >= least and (least == 1 or len(listed) == 2), "transforms", expected_list, listed),
        (isinstance(p, int | float) and not isinstance(p, bool) and 0 <= p <= 1, "p", "a probability from 0 to 1", p),
        (whole and n >= 1, "n", "a whole number from 1 on", n),
        (isinstance(replace, bool), "replace", "true or false", replace),
    ]
    broken = [(f"{place}, {key}", expected, _shown(found)) for holds, key, expected, found in rules if not holds]
    problems = [Problem("train.augment", where, expected, found, "correct it") for where, expected, found in broken]
    known = ["transforms", *sorted(CONTAINERS[name])]
    unknown = [key for key in arguments if key not in known]
    return problems + [Problem("train.augment", place, f"arguments of {name}", repr(key), nearest(str(key), known)) for key in unknown]


def _construct(place: str, name: str, arguments: Mapping[str, Any]) -> tuple[Any, list[Problem]]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # albumentations only warns of an unknown argument
            return getattr(A, name)(**arguments), []
    except Exception as error:  # any exception: it comes from the arguments, or the name is that of a base class
        shown = {key: value for key, value in arguments.items() if key != "transforms"}
        found = f"{shown}: {_said(error)}"
        return None, [Problem("train.augment", place, "arguments that it accepts", found, "correct the arguments")]


def _said(error: Exception) -> str:
    """What an exception says, on one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}{': ' if text else ''}{text[:200]}"


def _shown(value: object) -> str:
    return "nothing" if value is None else repr(value)[:80]


def _for_coordinates(transform: Any) -> Any:
    """The transform, with settings that make what it does to a mask right for an image of coordinates."""
    if hasattr(transform, "mask_interpolation"):
        transform.mask_interpolation = cv2.INTER_LINEAR
    if getattr(transform, "fill_mask", None) is not None:
        transform.fill_mask = FAR_OUTSIDE
    return transform


def try_transform(transform: Any, channels: int) -> Trial:
    """Apply a transform that contains no other to a probe, with probability 1."""
    if transform.targets_as_params:
        return Trial(f"one that needs {', '.join(transform.targets_as_params)}, which only code can give it")
    probability = transform.p
    try:
        transform.p = 1.0
        trials = [_probe(transform, channels, seed) for seed in range(TRIES)]
        fault = next((trial.fault for trial in trials if trial.fault), "") or _erasure(transform, channels)
        only_square = not fault and _turns(transform, channels)
    except Exception as error:  # any exception: the user has chosen the transform and can choose another
        return Trial(_said(error))
    finally:
        transform.p = probability
    if fault:
        return Trial(fault)
    affine, mirrors = all(trial.affine for trial in trials), any(trial.mirrors for trial in trials)
    return Trial("", trials[0].moves, affine, mirrors and probability > 0, only_square and probability > 0)


def _probe(transform: Any, channels: int, seed: int) -> Trial:
    """Apply it as the training would, in each of three ways: pixels must be equal, the mask must become what the coordinates say."""
    image, mask = _probe_image(channels)
    augmented, coordinates = apply_with_coordinates(compose([transform], seed=seed), image)
    if fault := pixel_fault(augmented, image):
        return Trial(fault)
    masked = compose([transform], seed=seed)(image=image, mask=mask.astype(np.float32))
    moves, points = isinstance(transform, A.DualTransform), corners(image.shape).astype(np.float64)
    if moves:
        again, points = apply_with_points(compose([transform], True, seed), image)
    else:
        again = compose([transform], seed=seed)(image=image)["image"]
    if not (np.array_equal(masked["image"], augmented) and np.array_equal(again, augmented)):
        return Trial("other pixels from the same image and the same seed")
    inside = np.asarray((coordinates > OUTSIDE).all(-1), bool)
    x, y = np.clip(np.rint(coordinates[inside]), 0, PROBE_SIDE - 1).astype(int).T
    if ((masked["mask"] > 0.5)[inside] == mask[y, x].astype(bool)).mean() < MIN_AGREEMENT:
        return Trial("masks that it reshapes")
    return Trial("", moves, not moves or _is_affine(coordinates, inside, points), moves and is_mirrored(coordinates))


def _probe_image(channels: int) -> tuple[UInt8Image, UInt8Image]:
    """Noise, (side, side) or (side, side, 3), and a mask of random squares."""
    rng = np.random.default_rng(0)
    cells = rng.random((PROBE_SIDE // CELL, PROBE_SIDE // CELL)) < 0.5
    mask = np.kron(cells, np.ones((CELL, CELL))).astype(np.uint8)
    return rng.integers(0, 256, (PROBE_SIDE, PROBE_SIDE) if channels == 1 else (PROBE_SIDE, PROBE_SIDE, 3), np.uint8), mask


def pixel_fault(augmented: Any, image: UInt8Image) -> str:
    """What is wrong with the type and size of an augmented image; empty if nothing is."""
    if not isinstance(augmented, np.ndarray):
        return f"a {type(augmented).__name__} instead of an image"
    if augmented.dtype != np.uint8:
        return f"pixels of type {augmented.dtype}, although the training itself makes 0 to 1 of 0 to 255"
    if augmented.shape != image.shape:
        return f"{' x '.join(map(str, augmented.shape))} from {' x '.join(map(str, image.shape))} (height, width, channels)"
    return ""


def _erasure(transform: Any, channels: int) -> str:
    """What is wrong with the range of the pixels: nothing is left of a picture of all grey levels, whatever the seed."""
    ramp = np.add.outer(np.arange(PROBE_SIDE), np.arange(PROBE_SIDE)) * 2
    image = (ramp if channels == 1 else np.stack([ramp] * 3, -1)).astype(np.uint8)
    results = [compose([transform], seed=seed)(image=image)["image"] for seed in range(TRIES)]
    if max(int(np.ptp(result)) for result in results) > 1:
        return ""
    low, high = min(int(result.min()) for result in results), max(int(result.max()) for result in results)
    return f"pixels of {low} to {high} from an image of 0 to 252"


def _turns(transform: Any, channels: int) -> bool:
    """Whether some seed changes the size of an image that is not square; not if it cannot be applied to this one."""
    try:
        return any(_resized(transform, channels, (PROBE_SIDE, PROBE_SIDE // 2), seed) for seed in range(TURNS))
    except Exception:  # e.g. a crop of 64 x 64 pixels from a smaller image
        return False


def _resized(transform: Any, channels: int, shape: tuple[int, int], seed: int = 0) -> str:
    """The size in pixels that an image of `shape` (h, w) gets; empty if it keeps its size."""
    image = np.random.default_rng(0).integers(0, 256, shape if channels == 1 else (*shape, 3), np.uint8)
    height, width = compose([transform], seed=seed)(image=image)["image"].shape[:2]
    return "" if (height, width) == shape else f"{width}x{height} from {shape[1]}x{shape[0]}"


def _is_affine(coordinates: NDArray[np.float32], inside: NDArray[np.bool_], points: NDArray[np.float64]) -> bool:
    """Whether one matrix moves the points, and gives the coordinates of every pixel."""
    before = np.hstack([corners(coordinates.shape), np.ones((5, 1))])
    if len(points) != 5 or abs(np.linalg.det(np.hstack([points[:3], np.ones((3, 1))]))) < 1:
        return False
    matrix = inverse_matrix(points, coordinates.shape)
    back = np.hstack([points, np.ones((5, 1))]) @ matrix.T
    rows, columns = np.mgrid[: coordinates.shape[0], : coordinates.shape[1]]
    expected = np.stack([columns, rows, np.ones_like(rows)], -1) @ matrix.T
    border = np.minimum(expected, [coordinates.shape[1] - 1, coordinates.shape[0] - 1] - expected).min(-1)  # pixels inwards from the rim
    # OpenCV warps in steps of 1/32 pixel
    agree = np.abs(expected - coordinates)[inside & (border > 1)].max(initial=0) < 0.05
    return bool(np.abs(back - before[:, :2]).max() < 1e-2 and agree and inside[border > 1].all() and not inside[border < -1.5].any())

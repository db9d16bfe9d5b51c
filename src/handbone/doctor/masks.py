"""Masks that can be read, but not as they were meant: against the size of the image, and against the masks of training images."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from handbone.doctor.training import MIN_IMAGES, Floats, Training, layout, pieces
from handbone.masks.boxed import BoxedMasks
from handbone.masks.runs import RunLengthMasks

MIN_STEPS = 20  # from one run to the next, before their median is taken for the width of the image
USUAL = 0.6  # of the steps that must be near the median: of masks in two pieces side by side, it is a distance between the pieces
NEAR = 0.1  # of the median
SMALLER = 0.95  # share of the image's width below which runs are those of a smaller image
MIN_DISTANCE = 0.04  # mean difference of boxes, as a share of the image, from which another reading may be meant
CLOSER = 0.5  # how much closer that reading must be to training images
FACTOR = 3.0  # from the areas of nearly all training masks of a class to an area that is reported
TAIL = 0.02  # share of training masks at each end that may be wrong themselves
ONE_SIDE = 0.95  # share of training images in which a class must be on its side
MARGIN = 0.05  # share of the width beyond nearly all training masks of the class
ASIDE = 0.15  # share of the width from the middle to the median of a class, before it has a side: hands turn and move
MOST = 0.5  # of the classes, or of the images: as a whole and not one by one
PIECES = 10  # times as many as any training mask of the class


@dataclass(frozen=True)
class Image:
    """The masks of one test image. known: (C,) whether the row is there and can be decoded; place: see `Training`.

    encoded: the masks with x and y exchanged if the submission counts pixels column by column; else the same.
    """

    key: str
    place: int
    masks: RunLengthMasks
    encoded: RunLengthMasks
    known: NDArray[np.bool_]


def smaller_width(image: Image) -> int:
    """The width of a smaller image that all runs fit, in pixels; 0 if there is none.

    Masks in one piece have one run per row: nearly all steps from one start to the next are the width of the image that was encoded.
    """
    starts, indptr = image.encoded.intervals[:, 0], image.encoded.indptr
    steps = np.concatenate([np.diff(starts[start:end]) for start, end in pairwise(indptr.tolist())])
    height, width = image.encoded.shape
    stride = float(np.median(steps)) if len(steps) >= MIN_STEPS else width
    usual = (np.abs(steps - stride) <= NEAR * stride).mean() >= USUAL if len(steps) >= MIN_STEPS else False
    # the median may be a pixel off
    fits = image.encoded.intervals[:, 1].max(initial=0) <= (stride + 1) * (stride + 1) * height / width
    return round(stride) if stride < SMALLER * width and usual and fits else 0


def is_other_order(image: Image, boxed: BoxedMasks, training: Training) -> bool:
    """Whether the runs, counted in the other order (by column, or by row), give masks much more like those of training images."""
    width, height = image.encoded.shape
    other = RunLengthMasks((height, width), image.encoded.indptr, image.encoded.intervals).boxed()
    boxes = layout(other)[:, [1, 0, 3, 2]] if image.encoded is image.masks else layout(other)
    here = _distance(layout(boxed), training)
    return here > MIN_DISTANCE and _distance(boxes, training) < CLOSER * here


def _distance(boxes: Floats, training: Training) -> float:
    """The mean difference of (C, 4) boxes from those of the most similar training image, over the classes that both show; 0 if none."""
    differences = np.abs(training.layouts - boxes).mean(2)  # (M, C)
    shared = np.isfinite(differences)
    sums, counts = np.where(shared, differences, 0).sum(1), shared.sum(1)
    return float((sums[counts > 0] / counts[counts > 0]).min(initial=np.inf)) if counts.any() else 0.0


def unusual_areas(image: Image, training: Training) -> NDArray[np.bool_]:
    """-> (C,) whether a mask is far smaller or larger than the class's in training."""
    low, _, high = _quantiles(training.areas)
    height, width = image.masks.shape
    areas = image.masks.areas() / (height * width)
    return (areas > 0) & ((areas < low / FACTOR) | (areas > high * FACTOR))


def wrong_sides(image: Image, boxed: BoxedMasks, training: Training) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """-> (C,) whether a mask is on the other side than its class in training; (C,) whether that can be said of this class.

    Compared with images of the same place among those of their person: of two hands, a class is on one side only in one.
    """
    x = training.x[training.places == image.place]
    seen, (low, median, high) = np.isfinite(x).sum(0), _quantiles(x)
    left = (x < 0.5).sum(0) / np.maximum(seen, 1)
    is_left, is_right = (left >= ONE_SIDE) & (median <= 0.5 - ASIDE), (left <= 1 - ONE_SIDE) & (median >= 0.5 + ASIDE)
    here, middle = layout(boxed)[:, 0], (1.5 - median) / 2  # between the image's middle and the mirrored median
    wrong = (is_left & (here > np.maximum(high + MARGIN, middle))) | (is_right & (here < np.minimum(low - MARGIN, middle)))
    return wrong, (is_left | is_right) & np.isfinite(here)


def many_pieces(boxed: BoxedMasks, training: Training) -> NDArray[np.bool_]:
    """-> (C,) whether a mask has far more pieces than any of the class in training."""
    return pieces(boxed) > PIECES * np.maximum(training.pieces, 1)


def _quantiles(values: Floats) -> tuple[Floats, Floats, Floats]:
    """(N, C) -> (C,) low end, median and high end of nearly all values of a class; NaN, which compares as false, if there are too few."""
    enough = np.isfinite(values).sum(0) >= MIN_IMAGES
    low, median, high = np.nanquantile(np.where(enough, values, 0.0), [TAIL, 0.5, 1 - TAIL], axis=0) if len(values) else [np.nan] * 3
    return np.where(enough, low, np.nan), np.where(enough, median, np.nan), np.where(enough, high, np.nan)

"""Findings about masks that can be decoded, but were probably meant in another way."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from handbone.doctor.masks import MOST, Image, is_other_order, many_pieces, smaller_width, unusual_areas, wrong_sides
from handbone.doctor.training import Training
from handbone.masks.boxed import BoxedMasks
from handbone.utils.errors import Problem

PlaceOf = Callable[[str, int | None], str]
"""Where the row of an image's key and a class's number is; None: where the image's first row is."""
SIDE = "the side of the image on which training images show the class"


def misfits(images: Sequence[Image], training: Training | None, place: PlaceOf) -> list[Problem]:
    """One explanation per image, because most other findings would follow from it. training: None: nothing is compared with it."""
    problems, rest = list[Problem](), list[Image]()
    for image in images:
        if width := smaller_width(image):
            problems.append(_wrong_size(place(image.key, None), width, image.masks.shape))
        else:
            rest.append(image)
    return problems if training is None else problems + _unlike_training(rest, training, place)


def _unlike_training(images: Sequence[Image], training: Training, place: PlaceOf) -> list[Problem]:
    problems, sided, mirrored = list[Problem](), 0, list[str]()
    for image in images:
        boxed = image.masks.boxed()
        if is_other_order(image, boxed, training):
            problems.append(_column_major(place(image.key, None), image.encoded is image.masks))
            continue
        wrong, known = wrong_sides(image, boxed, training)
        sided += bool(known.any())
        if wrong.sum() > MOST * known.sum():
            mirrored.append(place(image.key, None))
        else:
            fix = "check whether the class is confused with another, or left with right"
            problems += [Problem("doctor.side", place(image.key, index), SIDE, "the other side", fix) for index in _numbers(wrong)]
        problems += _unusual(image, boxed, training, place)
    return problems + list(_mirrored(mirrored, sided))


def _wrong_size(place: str, width: int, shape: tuple[int, int]) -> Problem:
    expected, found = f"masks of {shape[0]} x {shape[1]} pixels", f"runs of a smaller image, about {width} pixels wide"
    return Problem("doctor.image_size", place, expected, found, "resize the masks to the size of the image before they are encoded")


def _column_major(place: str, by_row: bool) -> Problem:
    """by_row: the submission should count pixels row by row."""
    wanted, other = ("row by row", "column by column") if by_row else ("column by column", "row by row")
    array = "without transposing it" if by_row else "transposed first"
    fix = f"encode mask.flatten() of an array (height, width), {array}"
    found = f"masks that are like those of training images only if pixels are counted {other}"
    return Problem("doctor.column_major", place, f"pixels counted {wanted}", found, fix)


def _mirrored(places: Sequence[str], sided: int) -> Iterator[Problem]:
    """An error for most images of a submission; of few, the two hands of a person may be named in another order, so it is a warning."""
    whole = len(places) > MOST * sided
    code, fix = ("mirrored", "encode masks that are not mirrored") if whole else ("side", "check whether the image is mirrored")
    for place in places:
        yield Problem(f"doctor.{code}", place, SIDE, "most masks of the image on the other side", fix)


def _unusual(image: Image, boxed: BoxedMasks, training: Training, place: PlaceOf) -> Iterator[Problem]:
    fix = "look at the mask"
    for index in _numbers(unusual_areas(image, training)):
        expected, found = "about the area of the class in training images", "a mask that is far smaller or larger"
        yield Problem("doctor.area", place(image.key, index), expected, found, fix)
    for index in _numbers(many_pieces(boxed, training)):
        expected, found = "about as many pieces as in training images", "a mask of many pieces"
        yield Problem("doctor.pieces", place(image.key, index), expected, found, fix)


def _numbers(of_class: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> list[int]:
    return np.flatnonzero(of_class).tolist()

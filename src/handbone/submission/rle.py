"""Run-length encoding as the grader reads it: row-major, starts from 1, `start length start length ...`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from handbone.data.masks import BoxedMasks, Mask
from handbone.errors import UserError


def encode(masks: Mask) -> list[str]:
    """(C, H, W) bool -> C strings; an empty mask is an empty string."""
    return encode_boxed(BoxedMasks.from_dense(np.asarray(masks, bool)))


def encode_boxed(masks: BoxedMasks) -> list[str]:
    """C boxed masks -> C strings, without unfolding any of them."""
    return [_encode_crop(crop, int(box[0]), int(box[1]), masks.shape[1]) for crop, box in zip(masks.crops, masks.boxes, strict=True)]


def _encode_crop(crop: Mask, top: int, left: int, width: int) -> str:
    if not crop.size:
        return ""
    edges = np.zeros((crop.shape[0], crop.shape[1] + 2), np.int8)
    edges[:, 1:-1] = crop
    change = np.diff(edges, axis=1)
    rows, starts = np.nonzero(change == 1)
    ends = np.nonzero(change == -1)[1]
    first = (rows + top) * width + left + starts  # row-major: the grader flattens in C order, unlike COCO
    last = first + ends - starts
    joined = first[1:] == last[:-1]  # a run that reaches the right border goes on in the next row
    first, last = first[np.r_[True, ~joined]], last[np.r_[~joined, True]]
    return " ".join(map(str, np.stack([first + 1, last - first], 1).ravel().tolist()))


def decode(text: str, height: int, width: int) -> Mask:
    """A string -> (H, W) bool. Raises `UserError` for what is no run-length encoding of such a mask."""
    starts, lengths = _runs(text, height * width)
    flat = np.zeros(height * width + 1, np.int8)
    flat[starts] += 1
    flat[starts + lengths] -= 1
    return np.cumsum(flat[:-1], dtype=np.int8).astype(bool).reshape(height, width)


def _runs(text: str, pixels: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The runs' starts, from 0, and lengths."""
    fix = "check the file, and the size of the image"
    expected = f"RLE: expected pairs of start and length, rising and inside 1 to {pixels}; found {text[:40]!r}; {fix}"
    try:
        numbers = np.array(text.split(), np.int64)
    except (ValueError, OverflowError):
        raise UserError(expected) from None
    starts, lengths = numbers[::2] - 1, numbers[1::2]
    if len(numbers) % 2 or (numbers < 1).any() or (numbers > pixels).any():
        raise UserError(expected)
    if (np.append(starts[1:], pixels) < starts + lengths).any():
        raise UserError(expected)
    return starts, lengths

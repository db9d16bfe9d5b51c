"""COCO's run-length encoding: counts of pixels column by column, outside and inside in turns, as numbers or as compressed text.

As in pycocotools (Lin et al., Microsoft COCO, ECCV 2014): https://github.com/cocodataset/cocoapi/blob/master/common/maskApi.c
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from handbone.masks.boxed import Mask

ZERO = 48  # the letter of 0
DATA, MORE, SIGN = 0x1F, 0x20, 0x10  # bits of a letter


def counts_of_text(text: str) -> list[int]:
    """The counts of a compressed text. Raises ValueError for a text that is none."""
    counts: list[int] = []
    value = shift = 0
    for letter in text.encode():
        bits = letter - ZERO
        if not 0 <= bits < 2 * MORE:
            raise ValueError(f"the letter {chr(letter)!r}")
        value |= (bits & DATA) << shift
        shift += 5
        if not bits & MORE:
            value |= -1 << shift if bits & SIGN else 0
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))  # from the third on, differences to the one before the last
            value = shift = 0
    if shift:
        raise ValueError("an end in the middle of a number")
    return counts


def text_of_counts(counts: Sequence[int]) -> str:
    """The compressed text of counts."""
    letters = bytearray()
    for index, count in enumerate(counts):
        value = count - (counts[index - 2] if index > 2 else 0)
        more = True
        while more:
            bits = value & DATA
            value >>= 5
            more = value != (-1 if bits & SIGN else 0)
            letters.append(ZERO + (bits | (MORE if more else 0)))
    return letters.decode()


def mask_of_counts(counts: Sequence[int], height: int, width: int) -> Mask:
    """The (H, W) mask. Raises ValueError if the counts are not those of an image of this size."""
    if sum(counts) != height * width or min(counts, default=0) < 0:
        raise ValueError(f"counts of {sum(counts)} pixels in an image of {height} x {width}")
    inside = np.arange(len(counts)) % 2 == 1
    return np.repeat(inside, counts).reshape(width, height).T


def counts_of_mask(mask: Mask) -> list[int]:
    """The counts of an (H, W) mask; the first may be 0."""
    flat = mask.T.ravel()
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    edges = [0, *([0] if len(flat) and flat[0] else []), *changes.tolist(), len(flat)]
    return np.diff(edges).tolist()

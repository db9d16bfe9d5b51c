"""Images that show the same picture: also after another compression, in another size, or somewhat brighter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from handbone.cache.resize import UInt8Image
from handbone.dataset.layout import Sample
from handbone.doctor.labels.finding import Finding
from handbone.utils.names import composed

Thumbnail = NDArray[np.float32]
SIDE = 64  # pixels of a thumbnail
SMOOTH = 1.5  # of its pixels: coarser light and shade, in which all hands look alike, is left out
SAME = 0.95  # correlation of two thumbnails
ROWS = 512  # that are compared with all others at a time


def thumbnail(image: UInt8Image) -> Thumbnail:
    """(H, W) or (H, W, 3) -> (SIDE * SIDE,) details of length 1, whose scalar products are correlations; 0 for one grey level."""
    grey = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    details = small - cv2.GaussianBlur(small, (0, 0), SMOOTH)
    details -= details.mean()
    return np.asarray(details.ravel() / max(1e-6, float(np.linalg.norm(details))), np.float32)


def duplicates(samples: Sequence[Sample], thumbnails: Sequence[Thumbnail]) -> Iterator[Finding]:
    """A finding for each pair of images that show the same picture."""
    for one, other, correlation in equal_pairs(np.stack(thumbnails) if thumbnails else np.zeros((0, SIDE * SIDE), np.float32)):
        yield _finding(samples[one], samples[other], correlation)


def equal_pairs(details: NDArray[np.float32]) -> Iterator[tuple[int, int, float]]:
    """(N, SIDE * SIDE) thumbnails -> the numbers of both, and their correlation."""
    for start in range(0, len(details), ROWS):
        correlations = details[start : start + ROWS] @ details[start:].T
        for one, other in zip(*np.nonzero(np.triu(correlations, 1) >= SAME), strict=True):
            yield start + int(one), start + int(other), float(correlations[one, other])


def _finding(one: Sample, other: Sample, correlation: float) -> Finding:
    strange, twin = correlation / SAME, (one.subset, one.key)
    if one.subset != other.subset:
        found = f"the same picture as {other.subset}/{other.key}, so scores of it are too high"
        return Finding(one.key, "leak", (), strange, found, one.subset, (other.subset, other.key))
    people = "" if one.person == other.person else ", under another person's name"
    return Finding(other.key, "duplicate", (), strange, f"the same picture as {one.key}{people}", other.subset, twin)


def shared_people(samples: Sequence[Sample]) -> Iterator[Finding]:
    """A finding for each person whose folder is in train and in test."""
    train, test = ({composed(one.person): one.person for one in samples if one.subset == subset} for subset in ("train", "test"))
    for name in sorted(set(train) & set(test)):
        yield Finding(train[name], "leak", (), 1.0, "a person with a folder of this name in train and in test")

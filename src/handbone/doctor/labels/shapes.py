"""What the polygons of a class look like: their size relative to the image's scale, and their form."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from handbone.doctor.labels.alignment import Pose
from handbone.doctor.labels.drawing import Bools, Drawing, Floats, Measures, paint
from handbone.doctor.labels.positions import usual
from handbone.masks.rasterize import Polygon

GRID = 40  # pixels, side of a class's picture
PER_SIZE = 12.5  # pixels of it per square root of the area
MIN_SIZE, MIN_FORM = 0.08, 0.02  # smaller usual deviations would be rounding: of the logarithm of the area, and of the form


class Shapes:
    """log_areas: (C,) medians, in the common frame; means: (C, GRID, GRID) share of the images that have the class there.

    size, form: (N, C) how far each image's class is from them, in units that are usual; NaN where absent.
    """

    def __init__(self, drawings: Sequence[Drawing], measures: Measures, poses: Pose, trusted: Bools) -> None:
        """trusted: (N,) images from which is learnt."""
        scaled = measures.log_areas + 2 * np.log(abs(poses.turn))[:, None]
        self.log_areas = _medians(scaled[trusted])
        self.means, forms = np.zeros((scaled.shape[1], GRID, GRID)), np.full(scaled.shape, np.nan)
        for c in range(scaled.shape[1]):
            there = np.flatnonzero(np.isfinite(scaled[:, c]))
            pictures = np.stack([_picture_of(drawings, measures, poses, number, c) for number in there.tolist()])
            self.means[c] = pictures[trusted[there]].mean(0)
            forms[there, c] = unlike(pictures, self.means[c])
        sizes = abs(scaled - self.log_areas)
        self.usual_size = np.maximum(usual(sizes[trusted]), MIN_SIZE)
        self.usual_form = np.maximum(usual(forms[trusted]), MIN_FORM)
        self.size, self.form = sizes / self.usual_size, forms / self.usual_form

    def compare(self, polygons: Sequence[Polygon], centre: complex, area: float, pose: Pose) -> tuple[Floats, Floats]:
        """Polygons of one image -> (C,) their size and form as those of each class, in units that are usual."""
        log_area = np.log(area) + 2 * np.log(abs(pose.turn[0]))
        form = unlike(picture(polygons, centre, area, pose)[None], self.means)
        return abs(log_area - self.log_areas) / self.usual_size, form / self.usual_form


def _picture_of(drawings: Sequence[Drawing], measures: Measures, poses: Pose, number: int, c: int) -> Floats:
    area = float(np.exp(measures.log_areas[number, c]))
    return picture(drawings[number].polygons[c], complex(measures.centres[number, c]), area, poses.of(number))


def picture(polygons: Sequence[Polygon], centre: complex, area: float, pose: Pose) -> Floats:
    """(GRID, GRID) 0 or 1: the polygons turned as in the common frame, their centre in the middle, of a common area."""
    turn = pose.turn[0] / abs(pose.turn[0]) * PER_SIZE / np.sqrt(area)
    moved = []
    for polygon in polygons:
        points = polygon[:, 0] + 1j * polygon[:, 1] - centre
        turned = turn * (points.conj() if pose.mirrored[0] else points)
        moved.append(np.stack([turned.real, turned.imag], 1) + (GRID - 1) / 2)
    return paint((GRID, GRID), moved).astype(np.float64)


def unlike(pictures: Floats, means: Floats) -> Floats:
    """1 - Dice of (n, GRID, GRID) pictures and of means that are shares -> (n,)."""
    both = np.minimum(pictures, means).sum((1, 2)) if means.ndim == 3 else np.minimum(pictures, means[None]).sum((1, 2))
    return np.asarray(1 - 2 * both / (pictures.sum((1, 2)) + means.sum((-2, -1)) + 1e-9))


def _medians(values: Floats) -> Floats:
    columns = [column[np.isfinite(column)] for column in values.T]
    return np.array([np.median(column) if len(column) else np.nan for column in columns])

"""Where a finding's classes were expected, as outlines to draw."""

from __future__ import annotations

import cv2
import numpy as np

from handbone.doctor.labels.doubt import doubt
from handbone.doctor.labels.drawing import Floats
from handbone.doctor.labels.examine import Examined
from handbone.doctor.labels.finding import Finding
from handbone.doctor.labels.shapes import GRID, PER_SIZE

MOST = 4  # classes: of a whole hand's outlines nothing could be seen


def expected_outlines(examined: Examined, finding: Finding) -> dict[int, Floats]:
    """Class -> (n, 2) outline in pixels of its usual shape at the place where the other classes let one expect it."""
    anatomy = examined.anatomy
    numbers = {} if anatomy is None else {drawing.key: number for number, drawing in enumerate(anatomy.drawings)}
    if anatomy is None or finding.key not in numbers or not 0 < len(finding.classes) <= MOST:
        return {}
    number = numbers[finding.key]
    centres = doubt(anatomy, number).expectation.centres
    outlines = {}
    for c in set(finding.classes) & set(examined.classes):
        at = examined.classes.index(c)
        contours, _ = cv2.findContours((anatomy.shapes.means[at] >= 0.5).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        if contours:
            grid = max(contours, key=len)[:, 0] - (GRID - 1) / 2
            size = np.exp(anatomy.shapes.log_areas[at] / 2) / PER_SIZE
            placed = anatomy.poses.of(number).undo((centres[at] + size * (grid[:, 0] + 1j * grid[:, 1]))[None])[0]
            outlines[c] = np.stack([placed.real, placed.imag], 1)
    return outlines

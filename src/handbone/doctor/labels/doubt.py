"""Which classes of one image fit each other, and which do not fit these."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from handbone.doctor.labels.anatomy import Anatomy
from handbone.doctor.labels.drawing import Bools, Floats
from handbone.doctor.labels.positions import Expectation

LEAST = 0.5  # share of an image's classes that stay in the condition, however strange they are


@dataclass(frozen=True)
class Doubt:
    """One image. expectation: given the classes that fit each other; strange: (C,) in units of the limits, NaN where absent."""

    number: int
    expectation: Expectation
    strange: Floats

    @property
    def present(self) -> Bools:
        """(C,) the classes that the image shows."""
        return ~np.isnan(self.strange)

    @property
    def suspects(self) -> list[int]:
        """The classes beyond a limit, the strangest first."""
        return [int(c) for c in np.argsort(-np.nan_to_num(self.strange), kind="stable") if self.strange[c] > 1]


def doubt(anatomy: Anatomy, number: int) -> Doubt:
    """Leave the strangest class out of the condition until the others fit each other, so that one fault does not spread to others."""
    known = np.isfinite(anatomy.placed[number])
    least = max(3, int(known.sum() * LEAST))
    while True:
        expectation = anatomy.positions.expected(anatomy.placed[number], known)
        strange = anatomy.apart(number, expectation).max(0)
        remaining = np.where(known, strange, 0)
        worst = int(np.argmax(remaining))
        if remaining[worst] <= 1 or known.sum() <= least:
            return Doubt(number, expectation, strange)
        known = known.copy()
        known[worst] = False

"""The learning rate over the steps of a training."""

from __future__ import annotations

import math
from collections.abc import Callable


def warmup_cosine(steps: int, warmup: float) -> Callable[[int], float]:
    """Factor of the learning rate at each of `steps`: linear up over the share `warmup` of them, then half a cosine down to 0."""
    rising = round(warmup * steps)

    def factor(step: int) -> float:
        if step < rising:
            return (step + 1) / (rising + 1)
        return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))

    return factor

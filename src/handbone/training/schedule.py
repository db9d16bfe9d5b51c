"""The learning rate over the steps of a training, as a factor of its peak."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from handbone.config.params import TrainParams

POWER = 0.9  # of poly (Liu et al., ParseNet, 2015; used by DeepLab)
STALLED = 2  # scores without a new best after which plateau halves the rate
SWA_FACTOR = 0.1  # of the rate while weights are averaged, so that they go on moving

Decay = Callable[[float], float]
DECAYS: dict[str, Decay] = {
    "cosine": lambda done: 0.5 * (1 + math.cos(math.pi * done)),
    "poly": lambda done: (1 - done) ** POWER,
    "plateau": lambda done: 1.0,
    "constant": lambda done: 1.0,
}


class Schedule:
    """Linear up over the share `warmup` of the steps, then by the schedule's name, down to 0 at the end or not at all. With
    `swa_epochs` it ends where those begin, and from there on the factor is `SWA_FACTOR`.
    """

    def __init__(self, params: TrainParams, steps_per_epoch: int) -> None:
        self._decay, self._by_score = DECAYS[params.schedule], params.schedule == "plateau"
        self._falling = (params.epochs - (params.swa_epochs or 0)) * steps_per_epoch
        self._rising = round(params.warmup * self._falling)
        self._floor = SWA_FACTOR if params.swa_epochs else 0.0

    def factor(self, step: int, scores: Sequence[float] = ()) -> float:
        """The factor of the `step`-th step, from 0; `scores`: those so far, of which only plateau takes notice."""
        if step < self._rising:
            return (step + 1) / (self._rising + 1)
        done = min(1.0, (step - self._rising) / max(1, self._falling - self._rising))
        decayed = 0.0 if self._floor and step >= self._falling else self._decay(done)
        factor = self._floor + (1 - self._floor) * decayed
        return factor * 0.5 ** halvings(scores) if self._by_score else factor


def stalled(scores: Sequence[float]) -> int:
    """How many scores there are since the best one."""
    return len(scores) - 1 - scores.index(max(scores)) if scores else 0


def halvings(scores: Sequence[float]) -> int:
    """How often the rate was halved: each time that `STALLED` scores in a row brought no new best."""
    count, waited, best = 0, 0, -math.inf
    for score in scores:
        waited = 0 if score > best else waited + 1
        best = max(best, score)
        if waited == STALLED:
            count, waited = count + 1, 0
    return count

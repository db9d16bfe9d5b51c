"""The learning rate over the steps of a training, as a factor of its peak."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from handbone.config.params import TrainParams

POLY_POWER = 0.9  # Liu et al., ParseNet, 2015; used by DeepLab
PLATEAU_SCORES = 2  # scores without a new best after which `plateau` halves the rate
SWA_FACTOR = 0.1  # of the rate while weights are averaged, so that they keep moving

Decay = Callable[[float], float]  # share of the decay that is done, 0..1 -> factor
DECAYS: dict[str, Decay] = {
    "cosine": lambda done: 0.5 * (1 + math.cos(math.pi * done)),
    "poly": lambda done: (1 - done) ** POLY_POWER,
    "plateau": lambda done: 1.0,
    "constant": lambda done: 1.0,
}


class Schedule:
    """Linear warm-up over the share `warmup` of the steps, then the decay that `schedule` names.

    With `swa_epochs` warm-up and decay end where the averaged epochs begin, and from there on the factor is `SWA_FACTOR`.
    """

    def __init__(self, params: TrainParams, steps_per_epoch: int) -> None:
        self._decay, self._by_score = DECAYS[params.schedule], params.schedule == "plateau"
        self._decay_end = (params.epochs - (params.swa_epochs or 0)) * steps_per_epoch
        self._warmup_end = round(params.warmup * self._decay_end)
        self._floor = 0.0 if params.swa_epochs is None else SWA_FACTOR

    def factor(self, step: int, scores: Sequence[float] = ()) -> float:
        """The factor at `step`, counted from 0 over all epochs. scores: the Dice values so far, which only `plateau` uses."""
        if step < self._warmup_end:
            return (step + 1) / (self._warmup_end + 1)
        done = min(1.0, (step - self._warmup_end) / max(1, self._decay_end - self._warmup_end))
        decayed = 0.0 if self._floor and step >= self._decay_end else self._decay(done)
        factor = self._floor + (1 - self._floor) * decayed
        return factor * 0.5 ** halvings(scores) if self._by_score else factor


def scores_since_best(scores: Sequence[float]) -> int:
    """The number of scores after the first best one; 0 if there is no score."""
    return len(scores) - 1 - scores.index(max(scores)) if scores else 0


def halvings(scores: Sequence[float]) -> int:
    """How often `plateau` has halved the rate: once for every `PLATEAU_SCORES` scores in a row without a new best."""
    count, waited, best = 0, 0, -math.inf
    for score in scores:
        waited = 0 if score > best else waited + 1
        best = max(best, score)
        if waited == PLATEAU_SCORES:
            count, waited = count + 1, 0
    return count

"""The table of a plan: for each size the batch that fits the card, what it takes, and the ceiling of the Dice."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from handbone.config.params import Params
from handbone.models.registry import build_model, spec_from_params
from handbone.planning.candidates import Candidate
from handbone.planning.cards import Card
from handbone.planning.ceiling import Ceiling
from handbone.planning.cost import step_cost
from handbone.training.batch_size import USED, choices, largest_that_fits
from handbone.training.estimate import duration
from handbone.training.trial import Trial, TrialSteps

Step = Callable[[int], Trial | None]  # the images of a batch -> what its step takes; null if they do not fit
StepsOfSide = Callable[[int], Step]  # of square images with sides of so many pixels


@dataclass(frozen=True)
class Row:
    """A candidate, the batch that fits and its step; null if not even one image fits."""

    candidate: Candidate
    batch: int | None
    trial: Trial | None

    def epoch_seconds(self, images: int) -> float | None:
        """Of the steps of an epoch; null if nobody knows."""
        if self.batch is None or self.trial is None or self.trial.seconds is None:
            return None
        return self.trial.seconds * -(-images // self.batch)


def measured_steps(params: Params, device: torch.device) -> StepsOfSide:
    """Real steps on this machine's GPU."""
    model = build_model(spec_from_params(params.model, params.data.classes))
    return lambda side: TrialSteps(model, params, (side, side), device)


def estimated_steps(params: Params, card: Card) -> StepsOfSide:
    """Counted steps, for a card that is not at hand."""
    model = build_model(spec_from_params(params.model, params.data.classes)).train()
    half = params.train.precision != "no"
    return lambda side: partial(step_cost(model, params, side, half).on, card, half)


def plan(chosen: Sequence[Candidate], images: int, card: Card, steps_of_side: StepsOfSide) -> Iterator[Row]:
    """A row for each candidate. images: in the training set of one fold."""
    known: dict[int, tuple[int, Trial] | None] = {}
    for candidate in chosen:
        if candidate.side not in known:
            known[candidate.side] = largest_that_fits(steps_of_side(candidate.side), choices(images), USED * card.memory)
        yield Row(candidate, *(known[candidate.side] or (None, None)))


HEADER = f"{'size':>9}  {'batch':>9}  {'GiB':>5}  {'epoch':>9}  {'all folds':>10}  {'ceiling':>7}  worst class"


def line(row: Row, params: Params, images: int, ceiling: Ceiling | None) -> str:
    """The row below `HEADER`. images: in the training set of one fold; ceiling: of its size, if it is known."""
    epoch = row.epoch_seconds(images)
    batch, memory = (str(row.batch), f"{row.trial.memory / 2**30:.1f}") if row.trial else ("none fits", "")
    times = ("?", "?") if epoch is None else (duration(epoch), duration(epoch * params.train.epochs * len(params.folds)))
    best, worst = (f"{ceiling.mean:.4f}", f"{ceiling.lowest:.4f} {ceiling.name}") if ceiling else ("?", "?")
    return f"{row.candidate!s:>9}  {batch:>9}  {memory:>5}  {times[0]:>9}  {times[1]:>10}  {best:>7}  {worst}"


def row_document(row: Row, params: Params, images: int, ceiling: Ceiling | None) -> dict[str, Any]:
    """The row as JSON, with null for what nobody knows: memory in GiB, times in seconds, Dice 0..1. Arguments as of `line`."""
    epoch = row.epoch_seconds(images)
    total = None if epoch is None else epoch * params.train.epochs * len(params.folds)
    memory = None if row.trial is None else row.trial.memory / 2**30
    best = None if ceiling is None else {"mean": float(ceiling.mean), "lowest": float(ceiling.lowest), "class": ceiling.name}
    return {"size": str(row.candidate), "batch": row.batch, "gib": memory, "epoch_s": epoch, "all_folds_s": total, "ceiling": best}

"""What a batch takes at a preset's size: by real steps, by an estimate of the same card, and by the steps of a training."""

from __future__ import annotations

from typing import Any

import torch

from benchmarks.gpu.measure import GIB, NO_GPU, device, known_card, peak_gib, reset_peak, seconds
from benchmarks.gpu.parameters import parameters
from benchmarks.gpu.record import Record
from benchmarks.gpu.runner import Setup
from benchmarks.gpu.step import ResidentStep, draw_batch
from handbone.config.params import Params
from handbone.models.registry import build_model, spec_from_params
from handbone.planning.cards import CARDS, Card
from handbone.planning.cost import StepCost, step_cost
from handbone.training.batch_size import BATCHES, USED
from handbone.training.trial import Trial, TrialSteps

PRESET_CARD = {"gpu24": "4090", "gpu80": "a100"}  # the smallest card that the preset is for


def memory(record: Record, setup: Setup) -> None:
    """Each batch that `train.batch_size: auto` would try: real steps, and what `handbone plan` estimates for this card.

    largest_batch: on this card and on the preset's; preset_step: a step of a training with the preset's batch in the memory of its card.
    """
    params, preset_card = parameters(setup), CARDS[PRESET_CARD[setup.preset]]
    place = device()
    cost = step_cost(_network(params), params, params.train.size, params.train.precision != "no")
    if torch.cuda.is_available():
        card = known_card() or Card("this card", torch.cuda.get_device_properties(place).total_memory)
    else:
        record.skip("card", NO_GPU)
        card = preset_card
    trials = TrialSteps(_network(params), params, (params.train.size, params.train.size), place)
    batches: dict[int, Any] = {}
    largest = {"this_card": 0, "card_of_preset": 0}
    for size in BATCHES[: 2 if setup.tiny else None]:
        if (trial := trials(size)) is None:
            record.put("first_too_large", size)
            break
        batches[size] = _compared(trial, cost, card, size)
        record.put("batches", batches)
        fits = {"this_card": trial.memory <= USED * card.memory, "card_of_preset": trial.memory <= USED * preset_card.memory}
        largest |= {name: size for name, fit in fits.items() if fit}
        record.put("largest_batch", largest)
    del trials
    with record.guard("preset_step"):
        record.put("preset_step", _preset_step(params, preset_card))


def _network(params: Params) -> Any:
    return build_model(spec_from_params(params.model, params.data.classes)).train()


def _compared(trial: Trial, cost: StepCost, card: Card, images: int) -> dict[str, float | None]:
    """Measured and estimated GiB and images per second; null: nobody knows."""
    estimate = cost.on(card, True, images)
    speeds = [None if each.seconds is None else images / each.seconds for each in (trial, estimate)]
    return {
        "gib": trial.memory / GIB,
        "estimated_gib": estimate.memory / GIB,
        "images_per_s": speeds[0],
        "estimated_images_per_s": speeds[1],
    }


def _preset_step(params: Params, card: Card) -> dict[str, Any]:
    """A step of a training in no more memory than the preset's card has; an error of PyTorch if it does not fit."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, card.memory / total))
    torch.backends.cudnn.benchmark = False  # its trials take memory that a training gives back
    reset_peak()
    step = ResidentStep(params, draw_batch(params))
    each = seconds(step, 2, 1)
    return {"batch": params.train.images_per_batch, "images_per_s": params.train.images_per_batch / each, "peak_gib": peak_gib()}

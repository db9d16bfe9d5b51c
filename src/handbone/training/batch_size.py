"""`train.batch_size: auto`: the largest batch that the GPU's memory holds, found once and then kept."""

from __future__ import annotations

import gc
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from handbone.config.params import Params
from handbone.models.registry import build_model, spec_from_params
from handbone.training.trial import Trial, TrialSteps
from handbone.utils.errors import Problem, UserError
from handbone.utils.io import read_json, write_json
from handbone.utils.limits import TRAIN

BATCHES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)  # to choose from; the learning rate does not grow with the batch, so no larger ones
WITHOUT_GPU = 8  # the default of train.batch_size: on a CPU memory decides nothing, and a larger batch is no faster
MIN_BATCHES = 16  # per epoch, so that a small data set still gives the optimizer some steps
USED = 0.9  # share of the card's memory; the rest is for kernels that need more than those of the trial, and for other programs
DECIDES_MEMORY = {"crop", "deterministic", "encoder_lr_mult", "freeze_batch_norm", "loss", "optimizer", "precision", "size", "swa_epochs"}


def images_of_fold(images: int, n_folds: int) -> int:
    """How many of all images one of `n_folds` trainings has, about: the same in each, so that all choose the same batch."""
    return max(1, round(images * (1 - 1 / n_folds)))


def choices(images: int) -> list[int]:
    """The batches to choose from, rising. images: per epoch."""
    return [batch for batch in BATCHES if batch <= max(2, images // MIN_BATCHES)]


def largest_that_fits(step: Callable[[int], Trial | None], batches: Sequence[int], limit: float) -> tuple[int, Trial] | None:
    """The last of the rising `batches` before the first whose step takes more than `limit` bytes, or fails for want of memory, with its
    trial; null if that is the first one.
    """
    largest = None
    for batch in batches:
        trial = step(batch)
        if trial is None or trial.memory > limit:
            break
        largest = batch, trial
    return largest


def find_batch_size(params: Params, images: int, shape: tuple[int, int], device: torch.device, folder: Path) -> int:
    """The batch size of a training with `train.batch_size: auto`.

    On a GPU: by real steps of rising batches; the first training on this kind of card keeps the result in `folder`, and others with the
    same network, losses and image size read it there, so that a training resumes, and reruns, with the same batch. On a CPU: `WITHOUT_GPU`.
    images: per epoch; shape: (h, w) of the network's images in pixels.
    Raises `UserError` (`train.batch_size`) if no batch fits.
    """
    if device.type != "cuda":
        return WITHOUT_GPU
    card = torch.cuda.get_device_properties(device)
    settings = _settings(params, images, shape) | {"card": card.name, "memory": card.total_memory, "torch": torch.__version__}
    record = folder / f"{hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:24]}.json"
    if not record.is_file():
        found = _tried(params, images, shape, device, USED * card.total_memory)
        if found is None:
            expected = "a batch of one image that fits into the GPU's memory"
            raise UserError(Problem("train.batch_size", "params.yaml: train.batch_size", expected, f"none on {card.name}", TRAIN))
        if not record.is_file():  # another fold, which began at the same time, may have written it: all take the same number
            write_json(record, settings | {"batch_size": found})
    return _read(record)


def _settings(params: Params, images: int, shape: tuple[int, int]) -> dict[str, Any]:
    """The parameters that decide how much memory a step takes, and the number of images, which limits the choice."""
    model = params.model.model_dump(exclude={"weights"})
    train = params.train.model_dump(include=DECIDES_MEMORY)
    return {"model": model, "train": train, "classes": len(params.data.classes), "images": images, "shape": list(shape)}


def _tried(params: Params, images: int, shape: tuple[int, int], device: torch.device, limit: float) -> int | None:
    """The largest batch whose step needs at most `limit` bytes."""
    steps = TrialSteps(build_model(spec_from_params(params.model, params.data.classes)), params, shape, device)
    found = largest_that_fits(steps, choices(images), limit)
    del steps
    gc.collect()  # a network may have reference cycles
    torch.cuda.empty_cache()
    return None if found is None else found[0]


def _read(record: Path) -> int:
    document = read_json(record)
    value = document.get("batch_size") if isinstance(document, Mapping) else None
    if type(value) is not int or value < 1:
        fix = "remove the file, and the next training finds it again"
        raise UserError(Problem("train.batch_size", str(record), "the batch size that an earlier training found", repr(value)[:40], fix))
    return value

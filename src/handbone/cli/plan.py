"""`handbone plan`: what a training takes on a card, by size, and the ceiling of each size; `--write` makes a preset of one."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from handbone.cli.document import print_document
from handbone.cli.params_yaml import overlay_text
from handbone.cli.preset import PRESETS
from handbone.cli.weights import weights_note
from handbone.config import paths
from handbone.config.params import Params, load_params
from handbone.models.device import choose_device
from handbone.models.registry import spec_from_params
from handbone.planning.candidates import Candidate, candidates, parse_candidate
from handbone.planning.cards import CARDS, Card, card_named, card_of_memory
from handbone.planning.ceiling import Ceiling, ceilings
from handbone.planning.plan import HEADER, Row, StepsOfSide, estimated_steps, line, measured_steps, plan, row_document
from handbone.training.batch_size import images_of_fold
from handbone.utils.errors import Problem, UserError
from handbone.utils.io import read_table, write_text

SAMPLE = 20  # training images for the ceilings, spread over the index
ESTIMATED = "estimated by counting a step: memory to a tenth, time to a factor of two (docs/scale.md, Planning)"


@dataclass(frozen=True)
class _Images:
    """count: of all training images; largest: the longer side in pixels that `train.size` can have; files: their npz, none before the
    stage preprocess has run.
    """

    count: int
    largest: int
    files: list[Path]


def print_plan(gpu: str | None = None, gpu_gb: float | None = None, write: tuple[str, str] | None = None, as_json: bool = False) -> None:
    """Print the table for the card `gpu`, for one with `gpu_gb` GB, or for this machine's GPU.

    write: the name of a preset to write, and the size that it chooses. as_json: print a document instead.
    Raises `UserError` (`plan.*`) for what cannot be planned.
    """
    params = load_params()
    images = _images(params)
    chosen = candidates(params, images.largest)
    if write is not None:
        _check_preset(write[0])
        chosen = [parse_candidate(write[1], images.largest)]
    card, steps, how = _card(params, gpu, gpu_gb)
    if note := weights_note(spec_from_params(params.model, params.data.classes).encoder, params.model.weights):
        print(note, file=sys.stderr)
    count = images_of_fold(images.count, params.split.n_folds)
    best = _ceilings(params, images, chosen)
    planned = plan(chosen, count, card, steps)
    if as_json:
        rows = list(planned)
        sizes = [row_document(row, params, count, best.get(row.candidate.size)) for row in rows]
        print_document({"card": card.name, "gib": card.memory / 2**30, "basis": how, "images_per_epoch": count, "sizes": sizes})
    else:
        rows = _print_rows(planned, f"{card.name}, {card.memory / 2**30:.1f} GiB, {how}", params, count, best)
    if write is not None:
        path = _write_preset(write[0], rows[-1], params, card)
        text = f"{path}: written; handbone preset {write[0]} && dvc repro trains with it"
        print(text, file=sys.stderr if as_json else sys.stdout)


def _print_rows(rows: Iterator[Row], card: str, params: Params, count: int, best: Mapping[int, Ceiling]) -> list[Row]:
    """Print each row as soon as it is known; return all."""
    print(f"{card}\n{HEADER}")
    seen = []
    for row in rows:
        print(line(row, params, count, best.get(row.candidate.size)), flush=True)
        seen.append(row)
    print(f"{count} images per epoch, {params.train.epochs} epochs, {len(params.folds)} folds one after another, without validation")
    return seen


def _card(params: Params, gpu: str | None, gpu_gb: float | None) -> tuple[Card, StepsOfSide, str]:
    """The card, what its steps take, and how that is known."""
    if gpu is not None or gpu_gb is not None:
        card = card_named(gpu) if gpu is not None else card_of_memory(gpu_gb or 0)
        return card, estimated_steps(params, card), ESTIMATED
    device = choose_device()
    if device.type != "cuda":
        fix = f"add --gpu NAME ({', '.join(CARDS)}) or --gpu-gb GB to plan for another machine"
        raise UserError(Problem("plan.card", "handbone plan", "a GPU in this machine, or the name of one", "none", fix))
    found = torch.cuda.get_device_properties(device)
    return Card(found.name, found.total_memory), measured_steps(params, device), "measured by real steps on noise"


def _images(params: Params) -> _Images:
    """The cached training images; before there are any, those that the synthetic data set will have."""
    limit = params.preprocess.size
    if paths.TRAIN_INDEX.is_file():
        index = read_table(paths.TRAIN_INDEX, ["key", "height", "width"])
        longest = int(index[["height", "width"]].to_numpy().max())
        files = [paths.cached_sample("train", key) for key in index["key"]]
        return _Images(len(index), min(longest, limit or longest), files)
    if Path(params.data.root) != paths.PHANTOM:
        fix = "run dvc repro preprocess, which trains nothing"
        raise UserError(Problem("plan.data", str(paths.TRAIN_INDEX), "the cached training images", "none", fix))
    return _Images(2 * params.phantom.train_people, min(params.phantom.size, limit or params.phantom.size), [])


def _ceilings(params: Params, images: _Images, chosen: list[Candidate]) -> dict[int, Ceiling]:
    """By size; none before there are cached images, which a line says."""
    if not images.files:
        print("the ceilings need the masks that dvc repro preprocess makes", file=sys.stderr)
        return {}
    sample = images.files[:: -(-len(images.files) // SAMPLE)]
    sizes, hard = sorted({each.size for each in chosen}), params.train.target == "hard"
    return ceilings(sample, params.data.classes, sizes, hard, params.data.exclusive)


def _check_preset(name: str) -> None:
    """Raise `UserError` for a name that is no file name, and for a preset that exists."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
        raise UserError(Problem("plan.name", "--write", "a name of letters, digits, - and _", repr(name), "choose another name"))
    if (path := PRESETS / f"{name}.yaml").exists():
        raise UserError(Problem("plan.exists", str(path), "no such preset yet", "one", "choose another name, or remove the file"))


def _write_preset(name: str, row: Row, params: Params, card: Card) -> Path:
    """Write the row as the preset `name`: what differs from the defaults in params.yaml, with its size and batch."""
    if row.batch is None or row.trial is None:
        fix = "choose a smaller size, a smaller network or another card"
        raise UserError(Problem("plan.memory", "--write", "a size of which one image fits the card", str(row.candidate), fix))
    chosen = row.candidate.applied(params, row.batch)
    by_plan = f"{row.trial.memory / 2**30:.1f} GiB by handbone plan"
    windows = "the windows of the training"
    reasons = {"train.size": "chosen with handbone plan", "train.crop": "chosen with handbone plan", "train.batch_size": by_plan}
    reasons |= {f"infer.{key}": windows for key in ("window_size", "window_stride", "batch_size") if row.candidate.crop}
    path = PRESETS / f"{name}.yaml"
    write_text(path, overlay_text(chosen, f"For {card.name}: {row.candidate} px in batches of {row.batch}.", reasons))
    return path

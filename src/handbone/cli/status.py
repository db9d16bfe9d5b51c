"""`handbone status`: what the training of each fold is doing, from another terminal."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from datetime import datetime
from pathlib import Path
from typing import Any

from handbone.cli.document import print_document
from handbone.config import paths
from handbone.config.params import load_params
from handbone.training.settings import settings_hash
from handbone.training.status import FoldStatus, experiments, status_file, status_folder
from handbone.utils.errors import Problem, UserError
from handbone.utils.io import read_json

WAITING = "waiting"
HEAD = ("fold", "state", "epoch", "loss", "Dice", "best (epoch)", "images/s", "ends", "memory", "device")
Row = Mapping[str, Any]  # the fields of `FoldStatus`, null where nothing is known


def print_status(as_json: bool) -> None:
    """Print a table, or a JSON document, of the folds of params.yaml, and of experiments that run in copies of the repository.

    Raises `UserError` for a params.yaml or a status that cannot be read.
    """
    params, folder = load_params(), status_folder()
    settings = settings_hash(params)
    folds = [_row(fold, settings) for fold in params.folds]
    elsewhere = {name: [asdict(status) for status in found] for name, found in experiments(folder).items()}
    if as_json:
        print_document({"folds": folds, "experiments": elsewhere})
        return
    print("\n".join(_table(folds) + _remarks(folds)))
    for name, rows in elsewhere.items():
        print("\n".join([f"\nexperiment {name}", *_table(rows), *_remarks(rows)]))
    if not elsewhere and all(row["state"] == WAITING for row in folds):
        print("No training has run here with these parameters. dvc repro trains the folds, handbone folds several at a time.")


def _row(fold: int, settings: str) -> Row:
    """The state of one fold: of a training with the settings of params.yaml, or of one that runs with others."""
    file, model = status_file(status_folder(), fold), paths.fold_model(fold) / "model.json"
    nothing: dict[str, Any] = {field.name: None for field in fields(FoldStatus)} | {"fold": fold, "state": WAITING}
    if file.is_file():
        status = FoldStatus.load(file).checked()
        if status.state == "running":
            other = status.settings != settings
            return asdict(status) | ({"message": "with other parameters than params.yaml has now"} if other else {})
        kept = status.state != "done" or model.is_file()  # DVC removes a model before it trains again
        return asdict(status) if status.settings == settings and kept else nothing
    if model.is_file():  # trained on another machine, or before there were such files
        return nothing | _trained(model) | {"state": "done"}
    return nothing


def _trained(model: Path) -> dict[str, Any]:
    """What a model.json says. Raises `UserError` (status.model) if it is none; the whole check needs PyTorch, which takes seconds."""
    match read_json(model):
        case {"epoch": int(epoch), "dice": float(dice), "machine": {"device": str(device)}}:
            return {"best_epoch": epoch, "best_dice": dice, "device": device}
    fix = "restore the folder with dvc checkout --force, or remove it and run dvc repro"
    raise UserError(Problem("status.model", str(model), "epoch, Dice and device of a trained model", "other content", fix))


def _table(rows: Sequence[Row]) -> list[str]:
    cells = [HEAD, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(HEAD))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]


def _cells(row: Row) -> tuple[str, ...]:
    best = "" if row["best_dice"] is None else f"{row['best_dice']:.4f} ({row['best_epoch']})"
    speed = "" if row["images_per_second"] is None else f"{row['images_per_second']:.3g}"
    memory = "" if row["memory"] is None else f"{row['memory'] / 2**30:.1f} GiB"
    ends = "" if row["ends"] is None else f"{datetime.fromisoformat(row['ends']):%a %H:%M}"
    score = [_decimals(row["loss"]), _decimals(row["dice"]), best]
    return (str(row["fold"]), row["state"], _epoch(row), *score, speed, ends, memory, row["device"] or "")


def _epoch(row: Row) -> str:
    """Epochs done of all, with the share of the current one."""
    if row["epochs"] is None or row["epoch"] is None:
        return ""
    return f"{row['epoch'] + row['batch'] / row['batches']:.1f}/{row['epochs']}" if row["batch"] else f"{row['epoch']}/{row['epochs']}"


def _decimals(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _remarks(rows: Sequence[Row]) -> list[str]:
    """A line for each fold about which there is more to say."""
    elsewhere = [row for row in rows if row["state"] == "running" and row["host"] != platform.node()]
    lines = [f"fold {row['fold']}: {row['state']}: {row['message']}" for row in rows if row["message"]]
    return lines + [f"fold {row['fold']}: on {row['host']}, which wrote this at {row['written']}" for row in elsewhere]

"""Whole trainings side by side, of which only the ends count: precision, repeatability, and resuming after SIGTERM and SIGKILL."""

from __future__ import annotations

import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from time import monotonic, sleep
from typing import Any, BinaryIO

import torch

from benchmarks.gpu.measure import NO_GPU
from benchmarks.gpu.parameters import Changes, parameters, write_params
from benchmarks.gpu.record import Record
from benchmarks.gpu.runner import Setup
from handbone.config import paths
from handbone.config.params import Params
from handbone.models.saved import read_info, weights_hash

RUNS, STAGES_RUN = Path("runs"), "default"  # the run whose model the section `stages` uses
STOPPED = {"terminated": signal.SIGTERM, "killed": signal.SIGKILL}
GPU_ONLY = ("float32", "other_seed", "deterministic_2", "fast_1", "fast_2")
EQUAL = {"deterministic_2": "deterministic_1", "terminated": "deterministic_1", "killed": "deterministic_1"}  # weights that must be equal
CHECKPOINT_S = 120.0  # a training that is to be stopped must have a checkpoint by then


def trainings(record: Record, setup: Setup) -> None:
    """Dice and hash of the weights of each training, and which of them are equal."""
    jobs = _jobs(setup)
    if not torch.cuda.is_available():
        for name in GPU_ONLY:
            record.skip(name, f"{NO_GPU}: a CPU computes in float32, and gives the same bits each time")
            del jobs[name]
    with ThreadPoolExecutor(2 if setup.tiny else len(jobs)) as pool:
        running = {pool.submit(_train, name, parameters(setup, changes)): name for name, changes in jobs.items()}
        for done in as_completed(running):
            with record.guard(running[done]):
                record.put(running[done], done.result())
    for name, other in EQUAL.items():
        weights = _weights(record, name)
        if weights is not None and weights != _weights(record, other):
            record.put(f"{name}_failed", f"the weights differ from those of {other}")
    if torch.cuda.is_available():
        record.put("fast_twice_equal", _weights(record, "fast_1") == _weights(record, "fast_2"))
        dice = {name: record.get(name).get("dice", float("nan")) for name in (STAGES_RUN, "float32", "other_seed")}
        record.put("dice_differences", {name: value - dice[STAGES_RUN] for name, value in dice.items() if name != STAGES_RUN})


def _weights(record: Record, name: str) -> str | None:
    """The hash of a training's weights; null if it failed or was skipped."""
    value: str | None = record.get(name).get("sha256")
    return value


def _train(name: str, params: Params) -> dict[str, Any]:
    """Train fold 0 in a folder for itself, interrupted once if `name` is in STOPPED."""
    folder = RUNS / name
    _prepare(folder)
    write_params(params, folder)
    found: dict[str, Any] = {}
    with (folder / "train.log").open("wb") as log:
        if name in STOPPED:
            process = _start(folder, log)
            _wait_for_checkpoint(process, folder)
            process.send_signal(STOPPED[name])
            found["status_when_stopped"] = process.wait()
        status = _start(folder, log).wait()
    if status:
        raise RuntimeError(f"exit status {status}: {(folder / 'train.log').read_text(errors='replace')[-700:]}")
    model = folder / paths.fold_model(0)
    lines = {line.strip()[:160] for line in (folder / "train.log").read_text(errors="replace").splitlines() if "eterministic" in line}
    return found | {"dice": read_info(model).dice, "sha256": weights_hash(model)[:16], "warnings": sorted(lines)[:4]}


def _prepare(folder: Path) -> None:
    """A working directory with links to the data set, so that trainings share nothing that they write."""
    (folder / "data").mkdir(parents=True)
    for name in ("cache", "folds.csv", "pseudo", "phantom"):
        (folder / "data" / name).symlink_to(Path("data", name).resolve())
    for name in ("weights", "dvc.yaml"):
        (folder / name).symlink_to(Path(name).resolve())


def _start(folder: Path, log: BinaryIO) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "stages.train", "0"], cwd=folder, stdout=log, stderr=subprocess.STDOUT)


def _wait_for_checkpoint(process: subprocess.Popen[bytes], folder: Path) -> None:
    end = monotonic() + CHECKPOINT_S
    while process.poll() is None and not list((folder / "resume").glob("*/*.pt")) and monotonic() < end:
        sleep(0.02)


def _jobs(setup: Setup) -> dict[str, Changes]:
    """Changes of the parameters by training: long ones, whose Dice are compared, and short ones, whose bits are."""
    epochs = 2 if setup.tiny else 60
    common: Changes = {
        "train.size": 64 if setup.tiny else 256,
        "train.batch_size": 4,
        "train.lr": 0.002,
        "train.ema_decay": 0.98,
        "train.loss": {"dice": 1.0},
        "machine.num_workers": 1 if setup.tiny else 2,
    }
    long = {**common, "train.epochs": epochs, "train.validate_every": epochs // 2}
    short = {**common, "train.epochs": 3 if setup.tiny else 5, "train.validate_every": 2}
    same = {**short, "train.deterministic": True}
    return {
        STAGES_RUN: long,
        "float32": {**long, "train.precision": "no"},
        "other_seed": {**long, "seed": 22},
        "deterministic_1": same,
        "deterministic_2": same,
        "terminated": same,
        "killed": same,
        "fast_1": short,
        "fast_2": short,
    }

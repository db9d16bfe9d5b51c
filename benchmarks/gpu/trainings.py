"""Short trainings side by side, of which only the ends count: repeatability, resuming after SIGTERM and SIGKILL, precision."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from time import monotonic, sleep
from typing import Any, BinaryIO

import torch

from benchmarks.gpu.measure import GIB, NO_GPU
from benchmarks.gpu.parameters import Changes, parameters, write_params
from benchmarks.gpu.record import Record
from benchmarks.gpu.runner import Setup
from handbone.config import paths
from handbone.config.params import Params
from handbone.models.saved import read_info
from handbone.training.status import FoldStatus
from handbone.utils.parallel import usable_cores

RUNS, STAGES_RUN = Path("runs"), "deterministic_1"  # the run whose model the section `stages` uses
STOPPED = {"terminated": signal.SIGTERM, "killed": signal.SIGKILL, "compiled_killed": signal.SIGKILL}
EQUAL = {  # weights that must be equal
    "deterministic_2": STAGES_RUN,
    "terminated": STAGES_RUN,
    "killed": STAGES_RUN,
    "compiled_killed": "compiled",
}
AT_ONCE = 7  # trainings; as many small ones share one GPU and 16 cores well
CHECKPOINT_S = 300.0  # a training that is to be stopped must have a checkpoint by then
ESTIMATE = re.compile(r"about .* per epoch, ([0-9.]+) GiB of GPU memory")  # the line before a training


def trainings(record: Record, setup: Setup) -> None:
    """Hash of the weights of each training, and whether those are equal that must be; the batch that `batch_size: auto` finds.

    The network is one that torch.compile is soon done with.
    """
    small = {"model.encoder": "tu-resnet10t", "model.options": {"Unet": {"decoder_channels": [64, 48, 32, 24, 16]}}}
    common = {**small_training(setup), **small, "train.epochs": 3, "train.validate_every": 2}
    same = {**common, "train.deterministic": True}
    jobs: dict[str, Changes] = {}
    if setup.compiled:  # those that run longest first
        jobs |= {name: {**same, "train.compile": True} for name in ("compiled_killed", "compiled")}
    jobs |= {"killed": same, "terminated": same, "deterministic_1": same, "deterministic_2": same}
    if not torch.cuda.is_available():
        record.skip("deterministic_2", f"{NO_GPU}: a CPU gives the same bits each time")
        del jobs["deterministic_2"]
    jobs["batch_size_auto"] = {**common, "train.batch_size": "auto"}
    _train_all(record, setup, jobs)


def precision(record: Record, setup: Setup) -> None:
    """The Dice with the preset's precision, with float32, and with another seed, which shows what a difference means."""
    epochs = 2 if setup.tiny else 30
    common = {**small_training(setup), "train.epochs": epochs, "train.validate_every": epochs // 2}
    jobs: dict[str, Changes] = {"default": common, "float32": {**common, "train.precision": "no"}, "other_seed": {**common, "seed": 22}}
    if not torch.cuda.is_available():
        record.skip("float32", f"{NO_GPU}: a CPU computes in float32")
        del jobs["float32"]
    _train_all(record, setup, jobs)
    dice: dict[str, float] = {name: record.get(name)["dice"] for name in jobs if record.get(name)}
    if "default" in dice:
        record.put("dice_differences", {name: value - dice["default"] for name, value in dice.items() if name != "default"})


def small_training(setup: Setup) -> Changes:
    """Changes of the parameters for a training of seconds."""
    return {
        "train.size": 64 if setup.tiny else 256,
        "train.batch_size": 4,
        "train.lr": 0.002,
        "train.ema_decay": 0.98,
        "train.loss": {"dice": 1.0},
        "machine.num_workers": 1 if setup.tiny else 2,
    }


def _train_all(record: Record, setup: Setup, jobs: Mapping[str, Changes]) -> None:
    """Record each training as soon as it has ended, and compare it with those that have."""
    at_once = min(2 if setup.tiny else AT_ONCE, len(jobs))
    threads = max(1, usable_cores() // at_once)
    with ThreadPoolExecutor(at_once) as pool:
        running = {pool.submit(_train, name, parameters(setup, changes), threads): name for name, changes in jobs.items()}
        for done in as_completed(running):
            with record.guard(running[done]):
                record.put(running[done], done.result())
            _compare(record)


def _compare(record: Record) -> None:
    """Record which pairs of `EQUAL` are known to be equal; those that are not have failed."""
    weights = {name: record.get(name).get("sha256") for pair in EQUAL.items() for name in pair}
    known = {name: weights[name] == weights[other] for name, other in EQUAL.items() if weights[name] and weights[other]}
    if known:
        record.put("equal", known)
    for name in (name for name, equal in known.items() if not equal):
        record.put(f"{name}_failed", f"the weights differ from those of {EQUAL[name]}")


def _train(name: str, params: Params, threads: int) -> dict[str, Any]:
    """Train fold 0 in a folder for itself, interrupted once if `name` is in STOPPED."""
    folder, start = RUNS / name, monotonic()
    _prepare(folder)
    write_params(params, folder)
    found: dict[str, Any] = {}
    with (folder / "train.log").open("wb") as log:
        if name in STOPPED:
            process = _start(folder, log, threads)
            found["checkpoint_before_stop"] = _wait_for_checkpoint(process, folder)
            process.send_signal(STOPPED[name])
            found |= {"status_when_stopped": process.wait(), "stopped_after_s": monotonic() - start}
        status = _start(folder, log, threads).wait()
    text = (folder / "train.log").read_text(errors="replace")
    if status:
        raise RuntimeError(f"exit status {status}: {text[-700:]}")
    if name in STOPPED and "resumes at" not in text:
        raise RuntimeError("it ended before it was stopped, or did not resume")
    model = folder / paths.fold_model(0)
    lines = {line.strip()[:160] for line in text.splitlines() if "eterministic" in line}
    info, announced = read_info(model), ESTIMATE.findall(text)
    found |= {"dice": info.dice, "sha256": info.sha256[:16], "warnings": sorted(lines)[:4]}
    if params.train.batch_size == "auto":
        found |= {"batch_size": info.machine["batch_size"], "announced_gib": float(announced[-1]) if announced else None}
        found |= {"reserved_gib": _reserved_gib(folder)}
    return found | {"s": monotonic() - start}


def _reserved_gib(folder: Path) -> float:
    """The peak of the memory that PyTorch had reserved, without what CUDA itself takes; on a CPU that of the process."""
    (file,) = folder.rglob("fold_0.json")
    return (FoldStatus.load(file).memory or 0) / GIB


def _prepare(folder: Path) -> None:
    """A working directory with links to the data set, so that trainings share nothing that they write."""
    (folder / "data").mkdir(parents=True)
    for name in ("cache", "folds.csv", "pseudo", "phantom"):
        (folder / "data" / name).symlink_to(Path("data", name).resolve())
    for name in ("weights", "dvc.yaml"):
        (folder / name).symlink_to(Path(name).resolve())


def _start(folder: Path, log: BinaryIO, threads: int) -> subprocess.Popen[bytes]:
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    command = [sys.executable, "-m", "stages.train", "0"]
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT)


def _wait_for_checkpoint(process: subprocess.Popen[bytes], folder: Path) -> bool:
    """Wait until there is a checkpoint, at most `CHECKPOINT_S` -> whether there is one."""
    end = monotonic() + CHECKPOINT_S
    while not (found := bool(list((folder / "resume").glob("*/*.pt")))) and process.poll() is None and monotonic() < end:
        sleep(0.02)
    return found

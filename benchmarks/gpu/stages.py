"""The commands of the graph after a training, from the model to the submission."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from time import perf_counter

from benchmarks.gpu.parameters import parameters, write_params
from benchmarks.gpu.record import Record
from benchmarks.gpu.runner import Setup
from benchmarks.gpu.trainings import RUNS, STAGES_RUN
from handbone.config import paths

COMMANDS = ("infer oof", "infer test", "validate", "submit")


def stages(record: Record, setup: Setup) -> None:
    """Seconds of each command, with the start of its process, and the last line that it prints."""
    folder = RUNS / STAGES_RUN
    if not (folder / paths.fold_model(0)).is_dir():  # the section `trainings` did not run
        folder = Path()
        write_params(parameters(setup, {"train.epochs": 1, "train.validate_every": 1}))
        _run("train 0", folder, record)
    for command in COMMANDS:
        with record.guard(command):
            _run(command, folder, record)
    record.put("submission_mb", (folder / paths.SUBMISSION).stat().st_size / 1e6)


def _run(command: str, folder: Path, record: Record) -> None:
    name, *arguments = command.split()
    start = perf_counter()
    done = subprocess.run([sys.executable, "-m", f"stages.{name}", *arguments], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"stages.{command}: exit status {done.returncode}: {done.stdout[-200:]} {done.stderr[-800:]}")
    record.put(command, {"s": perf_counter() - start, "says": done.stdout.strip().splitlines()[-1:]})

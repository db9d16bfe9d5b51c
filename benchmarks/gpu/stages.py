"""The commands of the graph after a training, from the model to the submission."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks.gpu.parameters import parameters, write_params
from benchmarks.gpu.record import Record
from benchmarks.gpu.runner import Setup
from benchmarks.gpu.trainings import RUNS, STAGES_RUN, small_training
from handbone.config import paths

COMMANDS = (("infer oof", "infer test"), ("validate",), ("submit",))  # those in one group run at the same time
LINES = 12  # of a command's output in the record


def stages(record: Record, setup: Setup) -> None:
    """Seconds of each command, with the start of its process, and the second in which it printed each line."""
    folder = RUNS / STAGES_RUN
    if not (folder / paths.fold_model(0)).is_dir():  # the section `trainings` did not run
        folder = Path()
        write_params(parameters(setup, {**small_training(setup), "train.epochs": 1, "train.validate_every": 1}))
        record.put("train 0", _run("train 0", folder))
    for group in COMMANDS:
        with ThreadPoolExecutor(len(group)) as pool:
            running = {command: pool.submit(_run, command, folder) for command in group}
        for command, done in running.items():
            with record.guard(command):
                record.put(command, done.result())
    with record.guard("submission_mb"):
        record.put("submission_mb", (folder / paths.SUBMISSION).stat().st_size / 1e6)


def _run(command: str, folder: Path) -> dict[str, Any]:
    """Run a stage, whose output goes to the section's log as well."""
    name, *arguments = command.split()
    start, lines = perf_counter(), list[str]()
    process = subprocess.Popen(
        [sys.executable, "-m", f"stages.{name}", *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    assert process.stdout is not None
    for line in process.stdout:  # a progress bar's states count as lines
        if "%|" in line or not line.strip():
            continue
        lines.append(f"{perf_counter() - start:.1f} s: {line.strip()[-120:]}")
        print(f"{command}: {line.rstrip()}", flush=True)
    if status := process.wait():
        raise RuntimeError(f"stages.{command}: exit status {status}: {' | '.join(lines[-6:])}")
    return {"s": perf_counter() - start, "says": lines[-LINES:]}

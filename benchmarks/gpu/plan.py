"""`handbone plan` on this card, against what it estimates for the same card where that is not at hand."""

from __future__ import annotations

import json
import subprocess
import sys
from time import perf_counter
from typing import Any

import torch

from benchmarks.gpu.measure import NO_GPU, known_card
from benchmarks.gpu.parameters import parameters, write_params
from benchmarks.gpu.record import Record
from benchmarks.gpu.runner import Setup

COMMAND = [sys.executable, "-c", "from handbone.cli import main; main()", "plan", "--json"]


def plan(record: Record, setup: Setup) -> None:
    """Each row of the table, first by real steps, then by the cost model; seconds of the commands."""
    write_params(parameters(setup))
    if not torch.cuda.is_available():
        record.skip("measured", NO_GPU)
        record.put("estimated", _planned("--gpu", "4090"))
        return
    record.put("measured", _planned())
    card = known_card()
    record.put("estimated", {"skipped": "the peaks of this card are not known"} if card is None else _planned("--gpu", card.name))


def _planned(*arguments: str) -> dict[str, Any]:
    start = perf_counter()
    done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"handbone plan: exit status {done.returncode}: {done.stderr[-700:]}")
    document = json.loads(done.stdout)
    rows = {row["size"]: {"batch": row["batch"], "gib": row["gib"], "epoch_s": row["epoch_s"]} for row in document["sizes"]}
    return {"s": perf_counter() - start, "basis": document["basis"][:40], "sizes": rows}

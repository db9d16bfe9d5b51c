"""Saving the state of a training."""

from __future__ import annotations

import filecmp
import time

import torch

from benchmarks.scene import Scene
from benchmarks.table import ResultRow, check
from benchmarks.timing import interleaved, peak_mb
from handbone.training.checkpoint import Checkpoint
from handbone.training.checkpoint_writer import CheckpointWriter

LAYERS, WIDTH = 32, 768  # (WIDTH, WIDTH) float32 weights: 75 MB
COPIES = ("model", "ema", "best", "exp_avg", "exp_avg_sq")  # what a state holds of every weight


def checkpoint(scene: Scene) -> list[ResultRow]:
    """Time for which a save stops the training: if it writes the file itself, and if a thread does."""
    state = {name: {f"{layer}": torch.rand(WIDTH, WIDTH) for layer in range(LAYERS)} for name in COPIES}
    folders = [scene.folder / name / "checkpoint" for name in ("direct", "threaded")]
    direct, threaded = (Checkpoint(folder) for folder in folders)

    def save_once() -> None:
        with CheckpointWriter(threaded, every=0) as writer:
            writer.save(state)

    peak = peak_mb(save_once)
    with CheckpointWriter(threaded, every=0) as writer:
        direct.save(state)
        writer.save(state, wait=True)  # the first copy takes the memory that the others use again
        one, other = (folder / "last.pt" for folder in folders)
        check(filecmp.cmp(one, other, shallow=False), "checkpoint: the file that the thread has written")
        works = [lambda: direct.save(state), lambda: writer.save(state), lambda: _wait(writer)]
        slow, fast, writing = interleaved(works, scene.rounds(9), [1, 1, 1])
    size = one.stat().st_size / 1e6
    note = f"{size:.0f} MB; ms for which a save stops the training on a CPU; the thread then writes for {writing:.0f} ms"
    return [ResultRow("checkpoint", slow, fast, peak, "10", note)]


def _wait(writer: CheckpointWriter) -> None:
    """Until the state is on the disk."""
    while not writer.due():
        time.sleep(0.01)

"""`python -m benchmarks`: check and time every row -> a table, and results.json (QUICK=1: fewer repetitions, and quick.json)."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import cv2
import torch

from benchmarks.checkpoint import checkpoint
from benchmarks.joining import clean_up, joined, sweep
from benchmarks.linear import linear
from benchmarks.loader import loader_512, loader_1024, loader_1024_strong
from benchmarks.logits import logits_to_rle_512, score_512, score_512_monai
from benchmarks.lovasz import lovasz_512
from benchmarks.memory_format import channels_last
from benchmarks.mirrored import mirrored
from benchmarks.onnx_runtime import onnx
from benchmarks.preprocess import preprocess
from benchmarks.scene import Scene, scene
from benchmarks.storage import probabilities
from benchmarks.submission import csv, rle_decode, rle_encode
from benchmarks.surface_distances import distances
from benchmarks.table import ResultRow, markdown
from benchmarks.timing import in_fork
from benchmarks.vote import votes
from benchmarks.weight_averaging import ema
from handbone.utils.io import write_json

FOLDER = Path(__file__).parent
BENCHMARKS: list[Callable[[Scene], list[ResultRow]]] = [
    preprocess,
    loader_512,
    loader_1024,
    loader_1024_strong,
    score_512,
    score_512_monai,
    logits_to_rle_512,
    rle_encode,
    rle_decode,
    csv,
    votes,
    joined,
    sweep,
    clean_up,
    distances,
    probabilities,
    checkpoint,
    channels_last,
    mirrored,
    onnx,
    ema,
    lovasz_512,
    linear,
]


def main() -> None:
    """Run all benchmarks."""
    quick = bool(os.environ.get("QUICK"))
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    start = perf_counter()
    minutes = "two" if quick else "seven to ten"
    _report(f"about {minutes} minutes on two cores; one thread each, except for the loaders' workers")
    rows: list[ResultRow] = []
    with scene(quick) as hands:
        for benchmark in BENCHMARKS:
            started = perf_counter()
            _report(f"{benchmark.__name__} ...")
            rows += in_fork(benchmark, hands)
            _report(f"{benchmark.__name__}: {perf_counter() - started:.0f} s")
    records = [row.record() for row in rows]
    print(markdown(records))
    path = FOLDER / ("quick.json" if quick else "results.json")
    write_json(path, records)
    _report(f"wrote {path.name}; {perf_counter() - start:.0f} s in all")


def _report(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()

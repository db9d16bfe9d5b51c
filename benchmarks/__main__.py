"""`python -m benchmarks`: every row checked, then timed; a table, and results.json (with QUICK=1 fewer repetitions, and quick.json)."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import cv2
import torch

from benchmarks.linear import linear
from benchmarks.loader import loader_512, loader_1024
from benchmarks.logits import logits_to_rle_512, score_512, score_512_monai
from benchmarks.preprocess import preprocess
from benchmarks.scene import Scene, scene
from benchmarks.storage import probabilities
from benchmarks.submission import csv, rle_decode, rle_encode
from benchmarks.table import Row, markdown
from benchmarks.timing import alone

FOLDER = Path(__file__).parent
ROWS: list[Callable[[Scene], list[Row]]] = [
    preprocess,
    loader_512,
    loader_1024,
    score_512,
    score_512_monai,
    logits_to_rle_512,
    rle_encode,
    rle_decode,
    csv,
    probabilities,
    linear,
]


def main() -> None:
    """Run all."""
    quick = bool(os.environ.get("QUICK"))
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    start = perf_counter()
    _say(f"about {'one and a half' if quick else 'five to eight'} minutes on two cores, one thread each but for the loaders' workers")
    rows: list[Row] = []
    with scene(quick) as made:
        for make in ROWS:
            begun = perf_counter()
            _say(f"{make.__name__} ...")
            rows += alone(make, made)
            _say(f"{make.__name__}: {perf_counter() - begun:.0f} s")
    records = [row.record() for row in rows]
    print(markdown(records))
    path = FOLDER / ("quick.json" if quick else "results.json")
    path.write_text(json.dumps(records, indent=1) + "\n")
    _say(f"{path.name} written; {perf_counter() - start:.0f} s in all")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()

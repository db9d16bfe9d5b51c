"""Run-length encoding, and the submission CSV."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pycocotools import mask as coco

from benchmarks import baseline
from benchmarks.scene import SIDE, Scene
from benchmarks.table import ResultRow, check
from benchmarks.timing import interleaved, peak_mb
from handbone.masks.boxed import BoxedMasks, Mask
from handbone.masks.rle import decode_runs, encode_runs
from handbone.masks.runs import RunLengthMasks
from handbone.submission.csv import SUBMISSION_COLUMNS, SubmissionRow, image_rows, read_submission, write_submission

TEST_IMAGES = 288


def rle_encode(scene: Scene) -> list[ResultRow]:
    """C masks -> C strings, against NumPy as usually written and against pycocotools."""
    packed, dense = scene.masks(0), scene.dense(0)

    def ours() -> list[str]:
        return encode_runs(RunLengthMasks.from_packed(packed))

    def plain() -> list[str]:
        return [baseline.encode(mask) for mask in dense]

    check(ours() == plain(), "rle_encode: the strings")
    slow, fast, library = interleaved([plain, ours, lambda: _coco(dense)], scene.rounds(9), (1, 5, 1))
    note = "dense (H*W, 1) masks in Fortran order, encode only; gives its compressed counts, not the grader's text"
    peak = peak_mb(ours)
    return [
        ResultRow("rle_encode", slow, fast, peak, "50", "ours encodes packed masks, as the cache stores them; the baseline dense ones"),
        ResultRow("rle_encode_pycocotools", library, fast, peak, "", f"baseline: pycocotools, {note}"),
    ]


def _coco(masks: Mask) -> list[object]:
    """pycocotools counts along columns, so each mask becomes a single column, for row-major runs."""
    return [coco.encode(mask.view(np.uint8).reshape(-1, 1, order="C")) for mask in masks]


def rle_decode(scene: Scene) -> list[ResultRow]:
    """C strings -> masks."""
    texts = _encodings(scene, 0)

    def ours() -> BoxedMasks:
        return decode_runs(texts, SIDE, SIDE).boxed()

    def plain() -> list[NDArray[np.uint8]]:
        return [baseline.decode(text, SIDE, SIDE) for text in texts]

    check(np.array_equal(ours().dense(), np.stack(plain()).astype(bool)), "rle_decode: the masks")
    slow, fast = interleaved([plain, ours], scene.rounds(9), (1, 9))
    return [ResultRow("rle_decode", slow, fast, peak_mb(ours), "10", "ours also checks the strings, and gives boxed masks")]


def _encodings(scene: Scene, index: int) -> list[str]:
    return encode_runs(RunLengthMasks.from_packed(scene.masks(index)))


def csv(scene: Scene) -> list[ResultRow]:
    """Write and read a submission of the real size, against pandas."""
    texts = [_encodings(scene, index) for index in range(len(scene.files))]
    lines = [line for image in range(TEST_IMAGES) for line in image_rows(f"image{image}.png", scene.classes, texts[image % len(texts)])]
    ours, plain = scene.folder / "ours.csv", scene.folder / "plain.csv"

    def write_and_read() -> pd.DataFrame:
        write_submission(ours, lines)
        return read_submission(ours)

    check(list(write_and_read().itertuples(index=False, name=None)) == lines, "csv: the rows")
    check(_pandas(lines, plain).equals(read_submission(ours)), "csv: the rows as pandas reads them")
    check(ours.read_bytes() == plain.read_bytes(), "csv: the bytes")
    slow, fast = interleaved([lambda: _pandas(lines, plain), write_and_read], scene.rounds(7), (1, 1))
    return [
        ResultRow(
            "csv", slow, fast, peak_mb(write_and_read), "1", f"{len(lines)} rows, {ours.stat().st_size / 1e6:.1f} MB, written and read"
        )
    ]


def _pandas(lines: list[SubmissionRow], path: Path) -> pd.DataFrame:
    pd.DataFrame(lines, columns=SUBMISSION_COLUMNS).to_csv(path, index=False)
    return pd.read_csv(path)

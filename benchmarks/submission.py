"""Run-length encoding of dense masks, and the CSV."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pycocotools import mask as coco

from benchmarks import baseline
from benchmarks.scene import SIDE, Scene
from benchmarks.table import Row, check
from benchmarks.timing import interleaved, peak_mb
from handbone.masks.boxed import BoxedMasks, Mask
from handbone.masks.rle import decode_runs, encode
from handbone.submission.csv import COLUMNS, image_rows, read_submission, write_submission
from handbone.submission.csv import Row as Line

TEST_IMAGES = 288


def rle_encode(scene: Scene) -> list[Row]:
    """(C, H, W) bool -> C strings, against NumPy as usually written and against pycocotools."""
    masks = scene.dense(0)
    check(encode(masks) == [baseline.encode(mask) for mask in masks], "rle_encode: the strings")

    def ours() -> list[str]:
        return encode(masks)

    plain, fast, library = interleaved(
        [lambda: [baseline.encode(mask) for mask in masks], ours, lambda: _coco(masks)], scene.rounds(9), (1, 5, 1)
    )
    note = "pycocotools: Fortran-ordered (H*W, 1), encode only; gives its compressed counts, not the grader's text"
    peak = peak_mb(ours)
    return [
        Row("rle_encode", plain, fast, peak, "50", "dense masks; threads share the classes"),
        Row("rle_encode_pycocotools", library, fast, peak, "", note),
    ]


def _coco(masks: Mask) -> list[object]:
    """As one would have it encode row-major runs: it walks columns, so each mask becomes a single one."""
    return [coco.encode(mask.view(np.uint8).reshape(-1, 1, order="C")) for mask in masks]


def rle_decode(scene: Scene) -> list[Row]:
    """C strings -> masks."""
    texts = encode(scene.dense(0))

    def ours() -> BoxedMasks:
        return decode_runs(texts, SIDE, SIDE).boxed()

    def plain() -> list[NDArray[np.uint8]]:
        return [baseline.decode(text, SIDE, SIDE) for text in texts]

    check(np.array_equal(ours().dense(), np.stack(plain()).astype(bool)), "rle_decode: the masks")
    slow, fast = interleaved([plain, ours], scene.rounds(9), (1, 9))
    return [Row("rle_decode", slow, fast, peak_mb(ours), "10", "ours checks the strings as well, and gives boxed masks")]


def csv(scene: Scene) -> list[Row]:
    """Write and read a submission of the real size, against pandas."""
    texts = [encode(scene.dense(index)) for index in range(len(scene.files))]
    lines = [line for image in range(TEST_IMAGES) for line in image_rows(f"image{image}.png", scene.classes, texts[image % len(texts)])]
    ours, plain = scene.folder / "ours.csv", scene.folder / "plain.csv"

    def own() -> pd.DataFrame:
        write_submission(lines, ours)
        return read_submission(ours)

    check(list(own().itertuples(index=False, name=None)) == lines, "csv: the rows")
    check(_pandas(lines, plain).equals(read_submission(ours)), "csv: the rows as pandas reads them")
    check(ours.read_bytes() == plain.read_bytes(), "csv: the bytes")
    slow, fast = interleaved([lambda: _pandas(lines, plain), own], scene.rounds(7), (1, 1))
    return [Row("csv", slow, fast, peak_mb(own), "1", f"{len(lines)} rows, {ours.stat().st_size / 1e6:.1f} MB, written and read")]


def _pandas(lines: list[Line], path: Path) -> pd.DataFrame:
    pd.DataFrame(lines, columns=COLUMNS).to_csv(path, index=False)
    return pd.read_csv(path)

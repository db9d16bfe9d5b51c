"""The vote of several submissions."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from rlemasklib import RLEMask

from benchmarks import baseline
from benchmarks.scene import SIDE, SIZE, Scene, make_logits
from benchmarks.submission import TEST_IMAGES
from benchmarks.table import ResultRow, check
from benchmarks.timing import interleaved, peak_mb
from handbone.masks.cropped_maps import CroppedMaps
from handbone.masks.rle import decode_runs, encode_runs
from handbone.masks.upsample import full_masks
from handbone.submission.alignment import read_aligned
from handbone.submission.csv import image_rows, write_submission
from handbone.submission.vote import vote, vote_rows

FILES = 5
LEAST = FILES // 2 + 1  # files that agree on a pixel of the vote


def votes(scene: Scene) -> list[ResultRow]:
    """The vote of five submissions: the masks of one image from text to text, then the command on files of the real size."""
    images = [_encodings(scene, index) for index in range(1 if scene.quick else len(scene.files))]
    texts = images[0]
    plain, ours, library = (partial(work, texts) for work in (_plain, _ours, _rlemasklib))
    check(ours() == plain(), "vote: the strings")
    check(library() == plain(), "vote: the strings of rlemasklib")
    slow, fast, other = interleaved([plain, ours, library], scene.rounds(5), (1, 5, 5))
    runs, counted = [decode_runs(one, SIDE, SIDE) for one in texts], [_counts(one) for one in texts]
    merge, merge_other = interleaved([lambda: vote(runs, [1] * FILES, LEAST), lambda: _merge(counted)], scene.rounds(9), (9, 9))
    alone = f"the merge alone {merge_other:.2f} ms, ours {merge:.2f} ms"
    note = f"baseline: rlemasklib's merge_count, which has no weights, with text read and written by NumPy; {alone}"
    return [
        ResultRow("vote", slow, fast, peak_mb(ours), "50", f"{len(texts[0])} masks of one image in {FILES} submissions, from text to text"),
        ResultRow("vote_rlemasklib", other, fast, peak_mb(ours), "", note),
        _files(scene, images),
    ]


def _encodings(scene: Scene, index: int) -> list[list[str]]:
    """The C encodings of one image in each submission: what networks with different errors could give for it."""
    truth = scene.dense(index)
    logits = [make_logits(truth, SIZE, FILES * index + seed) for seed in range(FILES)]
    return [encode_runs(full_masks(CroppedMaps.from_logits(one.numpy()), (SIDE, SIDE), 0.5)) for one in logits]


def _ours(texts: Sequence[Sequence[str]]) -> list[str]:
    return encode_runs(vote([decode_runs(one, SIDE, SIDE) for one in texts], [1] * FILES, LEAST))


def _plain(texts: Sequence[Sequence[str]]) -> list[str]:
    """Every mask as pixels, one class after the other."""
    voted = []
    for of_class in zip(*texts, strict=True):
        votes = np.zeros((SIDE, SIDE), np.uint8)
        for text in of_class:
            votes += baseline.decode(text, SIDE, SIDE)
        voted.append(baseline.encode(votes >= LEAST))
    return voted


def _rlemasklib(texts: Sequence[Sequence[str]]) -> list[str]:
    return [_text(mask) for mask in _merge([_counts(one) for one in texts])]


def _merge(masks: Sequence[Sequence[RLEMask]]) -> list[RLEMask]:
    return [RLEMask.merge_count(of_class, LEAST) for of_class in zip(*masks, strict=True)]


def _counts(texts: Sequence[str]) -> list[RLEMask]:
    """Its counts go along columns; those along rows are the counts of the transposed square, and the vote is the same."""
    masks = []
    for text in texts:
        numbers = np.array(text.split(), np.int64)
        edges = np.repeat(numbers[::2] - 1, 2)
        edges[1::2] += numbers[1::2]
        masks.append(RLEMask.from_counts(np.diff(edges, prepend=0, append=SIDE * SIDE), (SIDE, SIDE)))
    return masks


def _text(mask: RLEMask) -> str:
    edges = np.cumsum(mask.counts, dtype=np.int64)
    starts, ends = edges[:-1:2], edges[1::2]
    return " ".join(map(str, np.stack([starts[: len(ends)] + 1, ends - starts[: len(ends)]], 1).ravel().tolist()))


def _files(scene: Scene, images: Sequence[Sequence[Sequence[str]]]) -> ResultRow:
    """Files of the real size: read, checked, voted and written."""
    paths = [scene.folder / f"vote_{index}.csv" for index in range(FILES)]
    for index, path in enumerate(paths):
        of_file = [images[image % len(images)][index] for image in range(TEST_IMAGES)]
        write_submission(
            path, [row for image, texts in enumerate(of_file) for row in image_rows(f"image{image}.png", scene.classes, texts)]
        )
    work = partial(_vote_files, paths, scene.folder / "vote.csv")
    (time,) = interleaved([work], scene.rounds(5), (1,))
    rows, size = TEST_IMAGES * len(scene.classes), sum(path.stat().st_size for path in paths) / 1e6
    return ResultRow(
        "vote_files", None, time, peak_mb(work), "", f"{FILES} files of {rows} rows, {size:.0f} MB in all, read, voted and written"
    )


def _vote_files(paths: Sequence[Path], out: Path) -> None:
    write_submission(out, vote_rows(read_aligned(paths), [1] * FILES, LEAST))

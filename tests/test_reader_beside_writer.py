"""A reader of a file that a stage writes sees the old or the new content, never a part, while a writer replaces it again and again."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from handbone.cache.sample import CachedSample, read_sample, write_sample
from handbone.masks.boxed import BoxedMasks
from handbone.masks.cropped_maps import CroppedMaps
from handbone.masks.packed import PackedMasks
from handbone.training.checkpoint import Checkpoint
from handbone.utils.io import read_json, read_table, write_json, write_table

SECONDS, MOST_SECONDS = 0.3, 20.0  # of reading, and until both contents were read on a busy machine
SIDES = (40, 400)  # of the two contents, which differ in every part and in size


def sample(side: int) -> CachedSample:
    masks = PackedMasks.pack(BoxedMasks.from_dense(np.ones((2, side, side), bool)))
    return CachedSample(np.full((side, side), side % 256, np.uint8), (side, side), masks)


def sample_content(found: CachedSample) -> object:
    assert found.masks is not None
    return found.shape, found.image.tobytes(), found.masks.boxes.tobytes(), found.masks.bits.tobytes()


def maps(side: int) -> CroppedMaps:
    return CroppedMaps.from_dense(np.full((2, side, side), side % 256, np.uint8))


def maps_content(found: CroppedMaps) -> object:
    return found.shape, found.boxes.tobytes(), found.values.tobytes()


def state_content(state: Any) -> object:
    return state["side"], state["weights"].tolist()


Kind = tuple[Callable[[Path, int], None], Callable[[Path], object]]  # write the content of that side; read what is there
KINDS: dict[str, Kind] = {
    "json": (lambda path, side: write_json(path, {"side": [side] * side}), read_json),
    "table": (
        lambda path, side: write_table(path, pd.DataFrame({"key": [f"P/{row}" for row in range(side)], "pixels": side})),
        lambda path: read_table(path).to_dict("list"),
    ),
    "cache": (lambda path, side: write_sample(path, sample(side)), lambda path: sample_content(read_sample(path))),
    "predictions": (lambda path, side: maps(side).save(path), lambda path: maps_content(CroppedMaps.load(path))),
    "checkpoint": (
        lambda path, side: Checkpoint(path).save({"side": side, "weights": torch.full((side,), float(side))}),
        lambda path: state_content(Checkpoint(path).load()),
    ),
}


@pytest.fixture
def frequent_switches() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("frequent_switches")
@pytest.mark.parametrize(("write", "read"), KINDS.values(), ids=KINDS)
def test_the_old_or_the_new_content_is_read(tmp_path: Path, write: Callable[[Path, int], None], read: Callable[[Path], object]) -> None:
    path, done, failures = tmp_path / "file", threading.Event(), list[BaseException]()

    def replace_again_and_again() -> None:
        try:
            while not done.is_set():
                for side in SIDES:
                    write(path, side)
        except BaseException as error:
            failures.append(error)

    contents = []
    for side in reversed(SIDES):
        write(path, side)
        contents.append(read(path))
    seen = set[int]()
    writer = threading.Thread(target=replace_again_and_again)
    writer.start()
    try:
        start = time.monotonic()
        while time.monotonic() < start + (SECONDS if len(seen) == 2 else MOST_SECONDS):
            seen.add(contents.index(read(path)))  # a ValueError if it is neither
    finally:
        done.set()
        writer.join()
    assert not failures and seen == {0, 1}

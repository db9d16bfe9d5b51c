"""Submissions become training images."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from handbone.cache.sample import CachedSample, read_sample, write_sample
from handbone.config import paths
from handbone.config.params import load_params
from handbone.masks.rle import encode_runs
from handbone.masks.runs import RunLengthMasks
from handbone.submission.csv import image_rows, write_submission
from handbone.utils.errors import UserError
from handbone.utils.io import read_table, write_table
from imports import ROOT
from stages import pseudo

CLASSES = ["one", "two"]
IMAGES = {"P1/a": ("a.png", 40, 30), "P2/b": ("b.png", 40, 30)}


@pytest.fixture
def masks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, np.ndarray]:
    """A cache with two test images, and masks for them."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    rows = []
    for key, (name, height, width) in IMAGES.items():
        write_sample(paths.cached_sample("test", key), CachedSample(rng.integers(0, 255, (20, 15), np.uint8), (height, width), None))
        rows.append((key, key.split("/")[0], name, height, width))
    write_table(paths.TEST_INDEX, pd.DataFrame(rows, columns=["key", "person", "image_name", "height", "width"]))
    return {key: rng.random((2, 40, 30)) < 0.5 for key in IMAGES}


def submit(masks: dict[str, np.ndarray], name: str) -> None:
    rows = [row for key, own in masks.items() for row in image_rows(IMAGES[key][0], CLASSES, encode_runs(RunLengthMasks.from_dense(own)))]
    write_submission(rows, paths.PSEUDO_SOURCES / name)


def run(monkeypatch: pytest.MonkeyPatch, **changes: object) -> pd.DataFrame:
    params = load_params(ROOT / "params.yaml")
    section, data = params.pseudo.model_copy(update=changes), params.data.model_copy(update={"classes": CLASSES})
    monkeypatch.setattr(pseudo, "load_params", lambda: params.model_copy(update={"pseudo": section, "data": data}))
    pseudo.main()
    return read_table(paths.PSEUDO_INDEX)


def test_without_labels_there_is_an_empty_table(masks: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(run(monkeypatch)) == 0


def test_the_masks_come_back_as_they_were_submitted(masks: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch) -> None:
    submit(masks, "first.csv")
    table = run(monkeypatch, labels="first.csv", weight=0.25)
    assert table["key"].tolist() == list(IMAGES) and table["weight"].tolist() == [0.25, 0.25]
    for key, own in masks.items():
        sample = read_sample(paths.pseudo_sample(key))
        assert sample.masks is not None and np.array_equal(sample.masks.unpack().dense(), own)
        assert np.array_equal(sample.image, read_sample(paths.cached_sample("test", key)).image)


def test_only_images_on_which_two_submissions_agree_are_taken(masks: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch) -> None:
    submit(masks, "first.csv")
    submit({key: own if key == "P1/a" else ~own for key, own in masks.items()}, "second.csv")
    table = run(monkeypatch, labels="first.csv", check="second.csv", agreement=0.9)
    assert table["key"].tolist() == ["P1/a"] and table["agreement"].tolist() == [1.0]
    assert not paths.pseudo_sample("P2/b").exists()


def test_a_submission_of_other_images_is_refused(masks: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch) -> None:
    submit({"P1/a": masks["P1/a"]}, "first.csv")
    with pytest.raises(UserError, match="2 missing"):
        run(monkeypatch, labels="first.csv")

"""The score of a submission: the CSV's masks against the polygons of the test images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from conftest import Fails
from handbone.dataset.layout import truth_file
from handbone.submission.score import score_submission
from handbone.utils.errors import UserError

CLASSES = ["a", "b"]
IMAGES = {"P/x": ("x.png", 4, 5), "P/y": ("y.png", 4, 5)}
SQUARE = '{"annotations": [{"label": "a", "points": [[0, 0], [2, 0], [2, 1], [0, 1]]}]}'


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data set whose test images show a square of class a each."""
    for key in IMAGES:
        path = truth_file(tmp_path, key)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(SQUARE)
    return tmp_path


def submit(root: Path, rows: list[tuple[str, str, str]]) -> Path:
    pd.DataFrame(rows, columns=["image_name", "class", "rle"]).to_csv(root / "s.csv", index=False)
    return root / "s.csv"


def test_pixels_are_counted_from_the_file_as_written(root: Path) -> None:
    path = submit(root, [("x.png", "a", "1 3 6 3"), ("x.png", "b", ""), ("y.png", "a", "1 4"), ("y.png", "b", "20 1")])
    counts = score_submission(path, root, IMAGES, CLASSES, allow_missing=True)
    assert counts["key"].tolist() == ["P/x", "P/x", "P/y", "P/y"]
    assert np.array_equal(counts[["tp", "fp", "fn"]], [[6, 0, 0], [0, 0, 0], [3, 1, 3], [0, 1, 0]])


@pytest.mark.parametrize(
    "rows",
    [
        [("x.png", "a", ""), ("x.png", "b", ""), ("y.png", "a", "")],
        [("x.png", "a", ""), ("x.png", "b", ""), ("y.png", "a", ""), ("y.png", "c", "")],
        [("x.png", "a", ""), ("x.png", "b", ""), ("y.png", "a", ""), ("y.png", "a", "")],
    ],
)
def test_rows_must_be_those_of_the_test_set(root: Path, fails: Fails, rows: list[tuple[str, str, str]]) -> None:
    with fails("submission.rows", "s.csv"):
        score_submission(submit(root, rows), root, IMAGES, CLASSES, allow_missing=True)


def test_all_faults_of_the_truth_are_reported_at_once(root: Path) -> None:
    for key in IMAGES:
        truth_file(root, key).write_text("{")
    rows = [(name, label, "") for name, _, _ in IMAGES.values() for label in CLASSES]
    with pytest.raises(UserError) as error:
        score_submission(submit(root, rows), root, IMAGES, CLASSES, allow_missing=True)
    assert error.value.places == [str(truth_file(root, key)) for key in IMAGES]


def test_void_of_the_test_images_is_not_scored_and_overlaps_belong_to_the_last_class(root: Path) -> None:
    corner = '{"label": "b", "points": [[2, 0], [4, 0], [4, 1], [2, 1]]}'
    truth_file(root, "P/x").write_text(SQUARE.replace("]}]}", f"]}}, {corner}]}}"))
    path = submit(root, [("x.png", "a", "1 20"), ("x.png", "b", ""), ("y.png", "a", "1 1 20 1"), ("y.png", "b", "2 1 19 1")])
    counts = score_submission(path, root, IMAGES, CLASSES, allow_missing=True, exclusive=True)
    assert np.array_equal(counts[["tp", "fp", "fn"]], [[4, 6, 0], [0, 0, 6], [1, 0, 5], [0, 1, 0]])

"""Counts between two submissions."""

from pathlib import Path

import numpy as np

from handbone.submission.alignment import read_aligned
from handbone.submission.csv import write_submission
from handbone.submission.difference import count_differences


def test_the_first_is_counted_against_the_second(tmp_path: Path) -> None:
    write_submission(tmp_path / "a.csv", [("x.png", "a", "1 4"), ("x.png", "b", ""), ("y.png", "a", "2 2"), ("y.png", "b", "")])
    write_submission(tmp_path / "b.csv", [("y.png", "b", "1 5"), ("x.png", "a", "3 3"), ("x.png", "b", ""), ("y.png", "a", "2 1 3 1")])
    counts = count_differences(read_aligned([tmp_path / "a.csv", tmp_path / "b.csv"]))
    assert counts["key"].tolist() == ["x.png", "x.png", "y.png", "y.png"] and counts["class"].tolist() == ["a", "b", "a", "b"]
    assert np.array_equal(counts[["tp", "fp", "fn"]], [[2, 2, 1], [0, 0, 0], [2, 0, 0], [0, 0, 5]])

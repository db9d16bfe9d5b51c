"""`handbone diff` prints the Dice between two submissions, and which images differ most."""

from __future__ import annotations

from pathlib import Path

import pytest

from handbone.cli.diff import print_difference
from handbone.submission.csv import SubmissionRow, write_submission


def printed(folder: Path, one: list[SubmissionRow], other: list[SubmissionRow], capsys: pytest.CaptureFixture[str]) -> list[str]:
    write_submission(folder / "a.csv", one)
    write_submission(folder / "b.csv", other)
    print_difference(folder / "a.csv", folder / "b.csv")
    return capsys.readouterr().out.splitlines()


def rows(**lengths: int) -> list[SubmissionRow]:
    """Two classes per image; the first has a run of that length, the second is empty."""
    return [(f"{name}.png", label, text) for name, length in lengths.items() for label, text in (("a", f"1 {length}"), ("b", ""))]


def test_dice_per_class_and_the_images_that_differ_most(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Dice of 10 pixels and n of them: 2n / (10 + n)."""
    one = rows(p=10, q=10, r=10, s=10, t=10, u=10, v=10)
    lines = printed(tmp_path, one, rows(p=10, q=9, r=2, s=8, t=6, u=4, v=7), capsys)
    dice = {name: 2 * n / (10 + n) for name, n in zip("pqrstuv", (10, 9, 2, 8, 6, 4, 7), strict=True)}
    mean = sum(dice.values()) / 7
    assert [line.split() for line in lines[:2]] == [["a", f"{mean:.4f}"], ["b", "1.0000"]]
    assert [line.split() for line in lines[3:-1]] == [[f"{(dice[name] + 1) / 2:.4f}", f"{name}.png"] for name in "rutvs"]
    assert all(text in lines[-1] for text in (f"{(mean + 1) / 2:.4f}", "2 classes", "7 images", "6 of 14 rows"))


def test_images_that_are_equal_are_not_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(tmp_path, rows(p=3, q=3, r=3), rows(p=3, r=3, q=2), capsys)
    assert [line.split()[-1] for line in lines[3:-1]] == ["q.png"]


def test_equal_masks_in_another_order_and_spelling_do_not_differ(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, other = [("x.png", "a", "1 3"), ("y.png", "a", "")], [("y.png", "a", ""), ("x.png", "a", "1 1  2 2")]
    *table, last = printed(tmp_path, one, other, capsys)
    assert [line.split() for line in table] == [["a", "1.0000"]]
    assert "0 of 2 rows" in last


def test_a_mask_against_none_is_a_dice_of_nearly_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(tmp_path, [("x.png", "a", "1 9")], [("x.png", "a", "")], capsys)
    assert lines[0].split() == ["a", "0.0000"]

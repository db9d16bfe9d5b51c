"""`handbone vote` joins the submissions in files; how its options are read, and what a fault leaves behind."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from handbone.cli.vote import parse_votes, write_vote
from handbone.masks.boxed import BoxedMasks
from handbone.masks.rle import encode_runs
from handbone.masks.runs import RunLengthMasks
from handbone.submission.csv import SubmissionRow, image_rows, write_submission

if TYPE_CHECKING:
    from conftest import Fails

CLASSES = ["a", "b, c"]
HEADER = "image_name,class,rle\n"


def rows(masks: np.ndarray) -> list[SubmissionRow]:
    """(M, C, H, W) masks of M images."""
    encoded = [encode_runs(RunLengthMasks.from_boxed(BoxedMasks.from_dense(one))) for one in masks]
    return [row for index, texts in enumerate(encoded) for row in image_rows(f"{index}.png", CLASSES, texts)]


@settings(max_examples=50, deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(2, 5), st.integers(0, 2**32), st.sampled_from(["0", "0.1", "0.5", "1"]), st.booleans(), st.booleans())
def test_the_file_equals_the_vote_over_pixels(tmp_path: Path, files: int, seed: int, share: str, weighted: bool, least: bool) -> None:
    rng = np.random.default_rng(seed)
    masks = rng.random((files, 3, len(CLASSES), 5, 7)) < float(share)
    paths = [tmp_path / f"{index}.csv" for index in range(files)]
    for path, one in zip(paths, masks, strict=True):
        lines = rows(one)
        write_submission(path, lines if path == paths[0] else random.Random(seed).sample(lines, len(lines)))
    tenths = rng.integers(1, 30, files) if weighted else np.full(files, 10)
    needed = int(rng.integers(1, tenths.sum() + 1))
    given = [f"{weight / 10}" for weight in tenths] if weighted else None
    write_vote(paths, tmp_path / "out.csv", given, f"{needed / 10}" if least else None)
    votes = np.tensordot(tenths, masks.astype(int), 1)
    write_submission(tmp_path / "expected.csv", rows(votes >= needed if least else 2 * votes > tenths.sum()))
    assert (tmp_path / "out.csv").read_bytes() == (tmp_path / "expected.csv").read_bytes()


def test_the_order_and_the_names_are_those_of_the_first_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.csv").write_text(HEADER + 'y.png,"b, c",1 2 3 1\nx.png,a,\n')
    (tmp_path / "b.csv").write_text(HEADER + 'x.png,a,1 1\ny.png,"b, c",2 9\n')
    write_vote([tmp_path / "a.csv", tmp_path / "b.csv", tmp_path / "a.csv"], tmp_path / "new/out.csv", None, None)
    assert (tmp_path / "new/out.csv").read_text() == HEADER + 'y.png,"b, c",1 3\nx.png,a,\n'
    assert capsys.readouterr().out == f"{tmp_path / 'new/out.csv'}: 2 rows, the vote of 3 submissions\n"


def test_a_file_may_be_replaced_by_the_vote_that_it_takes_part_in(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a.csv", "b.csv")]
    write_submission(paths[0], [("x.png", "a", "1 5")])
    write_submission(paths[1], [("x.png", "a", "4 9")])
    write_vote(paths, paths[0], None, None)
    assert paths[0].read_text() == HEADER + "x.png,a,4 2\n"


@pytest.mark.parametrize("texts", [["1 3", "0 1"], ["1 3", "nan"]])
def test_after_a_fault_the_output_is_as_before(tmp_path: Path, fails: Fails, texts: list[str]) -> None:
    paths = [tmp_path / f"{index}.csv" for index in range(2)]
    for path, text in zip(paths, texts, strict=True):
        write_submission(path, [("x.png", "a", "1 1"), ("y.png", "a", text)])
    (tmp_path / "out.csv").write_text("before")
    with fails("rle.syntax", "1.csv: line 3: y.png, a"):
        write_vote(paths, tmp_path / "out.csv", None, None)
    assert (tmp_path / "out.csv").read_text() == "before" and len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize(
    ("files", "weights", "least", "expected"),
    [
        (3, None, None, ([1, 1, 1], 2)),
        (4, None, None, ([1, 1, 1, 1], 3)),  # two of four are a tie
        (3, ["2", "1", "1"], None, ([2, 1, 1], 3)),
        (3, ["0.1", "0.2", "0.3"], None, ([1, 2, 3], 4)),  # 0.1 + 0.2 is exactly half of 0.6, and a tie
        (2, ["1.5", "1"], "1.2", ([3, 2], 3)),
        (3, None, "3", ([1, 1, 1], 3)),
        (3, None, "0.5", ([1, 1, 1], 1)),
    ],
)
def test_votes_are_counted_in_whole_numbers(
    files: int, weights: list[str] | None, least: str | None, expected: tuple[list[int], int]
) -> None:
    parsed, needed = parse_votes(files, weights, least)
    scale = parsed[0] / expected[0][0]
    assert parsed == [weight * scale for weight in expected[0]]
    assert (expected[1] - 1) * scale < needed <= expected[1] * scale


@pytest.mark.parametrize(
    ("files", "weights", "least", "code"),
    [
        (1, None, None, "vote.files"),
        (3, ["1", "1"], None, "vote.weights"),
        *((2, ["1", text], None, "vote.weights") for text in ("0", "-1", "", "x", "nan", "1e3", "1/2", "0.0", "9" * 40, "\u0661")),
        *((2, None, text, "vote.min") for text in ("0", "-1", "", "2.000001", "half")),
    ],
)
def test_options_that_make_no_vote_are_errors(fails: Fails, files: int, weights: list[str] | None, least: str | None, code: str) -> None:
    with fails(code):
        parse_votes(files, weights, least)


def test_all_faults_of_the_options_are_in_one_error() -> None:
    from handbone.utils.errors import UserError

    with pytest.raises(UserError) as error:
        parse_votes(1, ["0", "x"], "y")
    assert [problem.code for problem in error.value.problems] == ["vote.files", *["vote.weights"] * 3, "vote.min"]


def test_the_vote_keeps_the_format_of_params_yaml(change_params: Callable[..., None]) -> None:
    """Pixels may be counted in any order: a vote compares numbers of pixels."""
    change_params({"submission.columns": ["i", "c", "r"], "submission.order": "column", "submission.base": 0, "submission.empty": "-1"})
    for name, text in (("a", "0 4"), ("b", "2 4"), ("c", "-1")):
        Path(f"{name}.csv").write_text(f"i,c,r\nx.png,a,{text}\nx.png,b,-1\n")
    write_vote([Path(f"{name}.csv") for name in "abc"], Path("vote.csv"), None, None)
    assert Path("vote.csv").read_text() == "i,c,r\nx.png,a,2 2\nx.png,b,-1\n"

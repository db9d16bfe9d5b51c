"""The command line, and the score of a submission."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from handbone import cli
from handbone.dataset.layout import truth_file
from handbone.submission.score import score_submission
from handbone.utils.errors import UserError

CLASSES = ["a", "b"]
IMAGES = {"P/x": ("x.png", 4, 5), "P/y": ("y.png", 4, 5)}
SQUARE = '{"annotations": [{"label": "a", "points": [[0, 0], [2, 0], [2, 1], [0, 1]]}]}'


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for key in IMAGES:
        path = truth_file(tmp_path, key)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(SQUARE)
    return tmp_path


def submit(root: Path, rows: list[tuple[str, str, str]]) -> Path:
    pd.DataFrame(rows, columns=["image_name", "class", "rle"]).to_csv(root / "s.csv", index=False)
    return root / "s.csv"


def test_what_the_file_says_is_what_is_counted(root: Path) -> None:
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
def test_rows_must_be_those_of_the_test_set(root: Path, rows: list[tuple[str, str, str]]) -> None:
    with pytest.raises(UserError, match="one for each image and class"):
        score_submission(submit(root, rows), root, IMAGES, CLASSES, allow_missing=True)


def test_faults_of_the_truth_are_told_together(root: Path) -> None:
    for key in IMAGES:
        truth_file(root, key).write_text("{")
    rows = [(name, label, "") for name, _, _ in IMAGES.values() for label in CLASSES]
    with pytest.raises(UserError, match="2 problems"):
        score_submission(submit(root, rows), root, IMAGES, CLASSES, allow_missing=True)


def test_help_names_the_commands(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["handbone", "--help"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 0
    help_text = capsys.readouterr().out
    assert "score" in help_text and "folds" in help_text


def test_outside_a_project_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["handbone", "score"])
    with pytest.raises(SystemExit, match=r"params\.yaml"):
        cli.main()


def test_help_answers_before_anything_heavy_is_imported() -> None:
    """A process of its own: this one has imported everything."""
    code = "import sys; sys.argv = ['handbone', '--help']; import handbone.cli.app as cli\ntry: cli.main()\nexcept SystemExit: print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "score" in loaded and "argparse" in loaded
    assert not {"torch", "numpy", "pandas", "pydantic", "yaml", "cv2", "numba", "asyncio"} & set(loaded)


def test_folds_hands_its_options_on(monkeypatch: pytest.MonkeyPatch) -> None:
    given = []
    monkeypatch.setattr("handbone.cli.folds.reproduce_folds", lambda devices, jobs: given.append((devices, jobs)))
    for options in [[], ["--devices", "0,2", "--jobs", "3"]]:
        monkeypatch.setattr(sys, "argv", ["handbone", "folds", *options])
        cli.main()
    assert given == [(None, None), (["0", "2"], 3)]

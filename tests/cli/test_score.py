"""`handbone score` says what stops it: stages that have not run, no data, no test set, or a truth that only the competition knows."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from handbone.cli.score import print_score
from handbone.config import paths
from handbone.utils.io import read_table, write_table

if TYPE_CHECKING:
    from conftest import Fails

ChangeParams = Callable[..., None]


@pytest.fixture
def submitted_run(cached_run: ChangeParams) -> None:
    """Test images in the cache and in the data set, and some submission."""
    paths.SUBMISSION.parent.mkdir()
    paths.SUBMISSION.write_text("image_name,class,rle\n")
    for key in read_table(paths.TEST_INDEX)["key"]:
        image = Path("data/raw/test/DCM") / f"{key}.png"
        image.parent.mkdir(parents=True, exist_ok=True)
        image.touch()


def test_before_the_stages_have_run_it_names_what_is_missing(change_params: ChangeParams, fails: Fails) -> None:
    """As in a fresh clone, where the demo's data are missing too."""
    change_params({"data.root": "data/phantom"})
    with fails("stage.input_missing", str(paths.SUBMISSION), str(paths.TEST_INDEX)) as error:
        print_score()
    assert "dvc repro" in str(error.value) and "dvc pull" in str(error.value)


def test_without_the_data_set_it_names_the_folder(submitted_run: None, fails: Fails) -> None:
    shutil.rmtree("data/raw")
    with fails("layout.missing", "data/raw"):
        print_score()


def test_without_a_test_set_there_is_nothing_to_score(submitted_run: None, fails: Fails) -> None:
    write_table(paths.TEST_INDEX, read_table(paths.TEST_INDEX).head(0))
    with fails("score.no_test_set", "data/raw"):
        print_score()


def test_without_the_truth_the_competition_alone_can_score(submitted_run: None, fails: Fails) -> None:
    with fails("score.truth", "data/raw/test_truth"):
        print_score()


def test_a_submission_that_does_not_fit_is_an_error_of_its_rows(submitted_run: None, fails: Fails) -> None:
    for key in read_table(paths.TEST_INDEX)["key"]:
        truth = Path("data/raw/test_truth/outputs_json") / f"{key}.json"
        truth.parent.mkdir(parents=True, exist_ok=True)
        squares = ", ".join(f'{{"label": "{label}", "points": [[2, 2], [9, 2], [9, 9]]}}' for label in ("Radius", "Ulna"))
        truth.write_text(f'{{"annotations": [{squares}]}}')
    with fails("submission.rows", str(paths.SUBMISSION)):
        print_score()

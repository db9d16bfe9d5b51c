"""The page shows the run: its scores, its decision, its best and worst images, its training images."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from handbone.config import paths
from handbone.config.params import load_params
from handbone.utils.io import write_json, write_table
from stages import report, submit, validate

if TYPE_CHECKING:
    from conftest import ChangeParams, Fails


@pytest.fixture
def finished_run(predicted_run: ChangeParams) -> ChangeParams:
    validate.main()
    submit.main()
    subsets = {"train": {"images": 4, "people": 2}, "test": {"images": 2, "people": 2}}
    write_json(
        paths.DATA_REPORT, subsets | {"classes": {"Radius": {"images": 4, "mean_area_px": 400.0}}, "excluded": [], "warnings": ["odd data"]}
    )
    write_json(paths.SPLIT_REPORT, {"warnings": ["odd folds"]})
    for fold in (0, 1):
        curve = pd.DataFrame({"epoch": [1, 2], "lr": [0.1, 0.1], "loss": [1.0, 0.5], "dice": [None, 0.7 + fold / 100]})
        write_table(paths.fold_curve(fold), curve)
    return predicted_run


def test_the_page_has_scores_decision_cases_and_model(finished_run: ChangeParams) -> None:
    finished_run({"report.cases": 1})
    report.main()
    page = paths.PAGE.read_text()
    params = load_params()
    for text in ("Validation Dice", "0.5</dd>", params.model.arch, "32 px", "hash of fold 0", "A/a1", "lowest: ", "odd data", "odd folds"):
        assert text in page
    assert len(re.findall(r'<figure class="viewer" id="case-\d+">', page)) == 3, "the worst, the median, the best"
    for heading in ("Folds", "Classes", "Images", "Neighbours confused", "Training images and targets", "Stages", "Lineage"):
        assert f"<h2>{heading}</h2>" in page


def test_the_decision_of_the_page_is_the_stored_one(finished_run: ChangeParams) -> None:
    report.main()
    before = paths.PAGE.read_text()
    finished_run({"decide.threshold": 0.25})
    validate.main()
    submit.main()
    report.main()
    assert "0.25</dd>" in paths.PAGE.read_text() and "0.25</dd>" not in before


def test_a_missing_prediction_is_an_error(finished_run: ChangeParams, fails: Fails) -> None:
    for key in ("A/a1", "A/a2", "B/b1", "B/b2"):
        paths.prediction("oof", key).unlink()
    with fails("stage.input_missing", "data/predictions/oof/"):
        report.main()


def test_a_run_without_a_curve_is_an_error(finished_run: ChangeParams, fails: Fails) -> None:
    paths.fold_curve(1).unlink()
    with fails("stage.input_missing", str(paths.fold_curve(1))):
        report.main()

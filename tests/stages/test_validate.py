"""The decision is stored and scored on the held-out people, without a network."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from stages.validate import main

from conftest import FOLD_OF, SIZE
from handbone.config import paths
from handbone.evaluation.decision import Decision, Gain, SearchRecord
from handbone.evaluation.dice import COUNTS, NESTED, is_nested, read_counts
from handbone.evaluation.metrics import summarise
from handbone.evaluation.surface_distances import DISTANCES
from handbone.masks.cropped_maps import CroppedMaps
from handbone.utils.errors import UserError
from handbone.utils.hashing import file_hash
from handbone.utils.io import read_json, read_table, write_json
from stages import validate

if TYPE_CHECKING:
    from conftest import ChangeParams, Fails


def counts() -> pd.DataFrame:
    return pd.read_csv(paths.VALIDATION_COUNTS)


def test_every_held_out_image_and_class_is_counted_with_its_fold(predicted_run: ChangeParams) -> None:
    main()
    table = counts()
    assert table[["key", "class", "fold"]].values.tolist() == [
        [key, name, fold] for key, fold in [("A/a1", 0), ("A/a2", 0), ("B/b1", 1), ("B/b2", 1)] for name in ("Radius", "Ulna")
    ]
    assert ((table["tp"] + table["fn"]).tolist()) == [400, 320] * 4, "the areas of the truth, in pixels at full resolution"
    assert pd.read_csv(paths.DICE_PER_CLASS)["class"].tolist() == ["Radius", "Ulna"]


def test_surface_distances_are_beside_the_counts_and_empty_without_a_mask(predicted_run: ChangeParams) -> None:
    main()
    table = read_counts(paths.VALIDATION_COUNTS, ["A/a1", "A/a2", "B/b1", "B/b2"], ["Radius", "Ulna"])
    assert (table[DISTANCES] > 0).all().all() and (table["hd95"] >= table["assd"]).all()
    record, files = paths.stored("oof", FOLD_OF, "current")
    for file in files.values():
        CroppedMaps.from_dense(np.zeros((2, 16, SIZE), np.uint8)).save(file)
    write_json(record, read_json(record) | {"files": {key: file_hash(file) for key, file in files.items()}})
    main()
    assert ",,\n" in paths.VALIDATION_COUNTS.read_text()
    by_class = read_table(paths.DICE_PER_CLASS)
    assert by_class[DISTANCES].isna().all().all() and by_class["undefined"].tolist() == [4, 4]


def test_the_threshold_is_stored_and_changes_the_counts(predicted_run: ChangeParams) -> None:
    main()
    before = counts()
    assert Decision.load(paths.DECISION, ["Radius", "Ulna"], *paths.DECIDED_WITH) == Decision(0.5)
    predicted_run({"decide.threshold": 0.25})
    main()
    assert Decision.load(paths.DECISION, ["Radius", "Ulna"], *paths.DECIDED_WITH) == Decision(0.25)
    grown = counts()[["tp", "fp"]].sum(axis=1) > before[["tp", "fp"]].sum(axis=1)
    assert grown.all()


def test_only_the_folds_of_the_parameters_are_validated(predicted_run: ChangeParams) -> None:
    predicted_run({"folds": [1]})
    record = read_json(paths.prediction_record("oof"))
    write_json(paths.prediction_record("oof"), record | {"models": {"1": record["models"]["1"]}})
    main()
    assert counts()["key"].unique().tolist() == ["B/b1", "B/b2"]


@pytest.mark.parametrize(
    ("changes", "code"),
    [({"folds": [0]}, "predictions.folds"), ({"data.classes": ["Ulna", "Radius"]}, "predictions.classes")],
)
def test_predictions_of_other_folds_or_classes_are_refused(predicted_run: ChangeParams, fails: Fails, changes: dict, code: str) -> None:
    predicted_run(changes)
    with fails(code, "data/predictions/oof/models.json"):
        main()
    assert not paths.DECISION.exists() and not paths.VALIDATION_COUNTS.exists()


def test_all_missing_predictions_are_listed(predicted_run: ChangeParams, fails: Fails) -> None:
    for key in ("A/a2", "B/b1"):
        paths.prediction("oof", key).unlink()
    with fails("predictions.missing", "A/a2.npz", "B/b1.npz"):
        main()


def test_without_predictions_it_says_so(cached_run: ChangeParams, fails: Fails) -> None:
    with fails("stage.input_missing", "data/predictions/oof/models.json"):
        main()


def test_predictions_of_other_images_or_folds_are_refused(predicted_run: ChangeParams, fails: Fails) -> None:
    for table, old, new in [(paths.FOLDS, "A/a1,A,0", "A/a1,A,1"), (paths.FOLDS, "A/a2,A,0", "A/a2,A,1")]:
        table.write_text(table.read_text().replace(old, new))
    predicted_run({"folds": [1]})
    with pytest.raises(UserError) as error:
        main()
    assert {"predictions.tables", "predictions.other_folds"} <= error.value.codes


def test_a_person_in_two_folds_is_refused(predicted_run: ChangeParams, fails: Fails) -> None:
    paths.FOLDS.write_text(paths.FOLDS.read_text().replace("A/a2,A,0", "A/a2,A,1"))
    with fails("folds.person_twice", "data/folds.csv: A"):
        main()


def test_the_predictions_and_the_sample_of_another_image_are_refused(predicted_run: ChangeParams, fails: Fails) -> None:
    shutil.copy(paths.cached_sample("train", "A/a1"), paths.cached_sample("train", "A/a2"))
    with fails("cache.changed", "A/a2.npz"):
        main()


def test_a_flipped_byte_in_the_predictions_is_noticed(predicted_run: ChangeParams, fails: Fails) -> None:
    data = bytearray(paths.prediction("oof", "B/b1").read_bytes())
    data[len(data) // 2] ^= 1
    paths.prediction("oof", "B/b1").write_bytes(data)
    with fails("predictions.changed", "B/b1.npz"):
        main()


def test_two_runs_write_the_same_bytes(predicted_run: ChangeParams) -> None:
    files = [paths.DECISION, paths.VALIDATION_COUNTS, paths.DICE_PER_CLASS]
    main()
    first = [file.read_bytes() for file in files]
    main()
    assert [file.read_bytes() for file in files] == first
    assert json.loads(first[0])


def test_a_search_is_recorded_and_keeps_the_default_for_two_people(predicted_run: ChangeParams, capsys: pytest.CaptureFixture[str]) -> None:
    predicted_run({"decide.threshold": "per_class", "decide.clean_up": ["largest"]})
    main()
    decision = Decision.load(paths.DECISION, ["Radius", "Ulna"], *paths.DECIDED_WITH)
    assert decision.threshold == 0.5 and decision.clean_up == {}
    assert [search.accepted for search in decision.searches.values()] == [False, False]
    assert capsys.readouterr().out.count("the default is kept") == 2
    assert not is_nested(counts())


def test_counts_of_an_accepted_search_have_nested_ones_beside_them(predicted_run: ChangeParams, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two people tell nothing, so the decisions are given here: one for all, and one without each group of people."""
    record = SearchRecord("given", Gain(0.2, 0.1, [0.05, 0.15]), True, {}, {})
    given = [Decision(0.25, searches={"threshold": record}), Decision(0.25), Decision(0.75)]
    monkeypatch.setattr(validate, "make_decisions", lambda *_: given)
    main()
    table = read_counts(paths.VALIDATION_COUNTS, ["A/a1", "A/a2", "B/b1", "B/b2"], ["Radius", "Ulna"])
    same = (table[COUNTS].to_numpy() == table[NESTED].to_numpy()).all(1)
    assert same.tolist() in ([True] * 4 + [False] * 4, [False] * 4 + [True] * 4), "the people are in one group each"
    metrics = summarise(table, pd.DataFrame(columns=table.columns), {})
    assert metrics["dice"]["nested"] != metrics["dice"]["mean"]

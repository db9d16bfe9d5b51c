"""The stored decision is applied to the test set, without a network; lineage and metrics belong to it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from handbone.config import paths
from handbone.evaluation.decision import Decision
from handbone.submission.csv import read_submission
from handbone.utils.errors import UserError
from handbone.utils.hashing import file_hash
from handbone.utils.io import read_json, read_table, write_json, write_table
from stages import submit, validate

if TYPE_CHECKING:
    from conftest import ChangeParams, Fails


@pytest.fixture
def validated_run(predicted_run: ChangeParams) -> ChangeParams:
    validate.main()
    return predicted_run


def write_truth(keys: list[str]) -> None:
    """The truth of test images: a rectangle per class."""
    for key in ("C/c1", "D/d1"):
        image = Path("data/raw/test/DCM") / f"{key}.png"
        image.parent.mkdir(parents=True, exist_ok=True)
        image.touch()  # only its name counts
    for key in keys:
        path = Path("data/raw/test_truth/outputs_json") / f"{key}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        squares = [{"label": label, "points": [[x, 4], [x + 20, 4], [x + 20, 24], [x, 24]]} for label, x in (("Radius", 24), ("Ulna", 2))]
        path.write_text(json.dumps({"annotations": squares}))


def test_the_csv_has_every_image_and_class_in_order(validated_run: ChangeParams) -> None:
    submit.main()
    table = read_submission(paths.SUBMISSION)
    assert table[["image_name", "class"]].values.tolist() == [
        [name, label] for name in ("c1.png", "d1.png") for label in ("Radius", "Ulna")
    ]
    assert table["rle"].str.fullmatch(r"\d+ \d+( \d+ \d+)*").all()


def test_a_changed_threshold_changes_the_csv_the_lineage_and_nothing_in_the_predictions(validated_run: ChangeParams) -> None:
    predictions = {path: file_hash(path) for path in paths.PREDICTIONS.rglob("*.*")}
    submit.main()
    before = paths.SUBMISSION.read_bytes()
    validated_run({"decide.threshold": 0.25})
    submit.main()
    assert paths.SUBMISSION.read_bytes() == before, "the stored decision counts, not the parameter"
    validate.main()
    submit.main()
    assert paths.SUBMISSION.read_bytes() != before
    assert read_json(paths.LINEAGE)["decision"] == {"threshold": 0.25, "clean_up": {}, "members": {}, "searches": {}}
    assert {path: file_hash(path) for path in paths.PREDICTIONS.rglob("*.*")} == predictions


def test_lineage_names_everything_that_the_submission_was_computed_from(validated_run: ChangeParams) -> None:
    submit.main()
    lineage = read_json(paths.LINEAGE)
    assert lineage["submission_sha256"] == file_hash(paths.SUBMISSION)
    assert lineage["data_sha256"] == {"train": file_hash(paths.TRAIN_INDEX), "test": file_hash(paths.TEST_INDEX)}
    assert lineage["folds_sha256"] == file_hash(paths.FOLDS)
    assert {fold: model["sha256"] for fold, model in lineage["models"].items()} == {"0": "hash of fold 0", "1": "hash of fold 1"}
    assert lineage["parameters"]["data"]["classes"] == ["Radius", "Ulna"] and "machine" not in lineage["parameters"]
    assert lineage["git"]["commit"] is None and lineage["git"]["reason"], "this folder is no repository"


def test_without_the_truth_there_are_no_test_scores(validated_run: ChangeParams) -> None:
    submit.main()
    assert "test" not in read_json(paths.METRICS) and len(read_table(paths.TEST_COUNTS)) == 0
    assert paths.TEST_DICE_PER_CLASS.read_text() == "class,dice\n"


def test_with_the_truth_the_csv_is_scored(validated_run: ChangeParams) -> None:
    write_truth(["C/c1", "D/d1"])
    submit.main()
    metrics = read_json(paths.METRICS)
    assert metrics["n_folds"] == 2 and metrics["n_images"] == 4 and metrics["test"]["n_images"] == 2
    table = read_table(paths.TEST_COUNTS)
    assert (table["tp"] + table["fn"]).tolist() == [21 * 21] * 4, "OpenCV paints the border of a polygon as well"
    assert 0.5 < metrics["test"]["dice"]["mean"] < 1
    by_class = read_table(paths.TEST_DICE_PER_CLASS)
    assert by_class["class"].tolist() == ["Radius", "Ulna"] and by_class["dice"].mean() == pytest.approx(metrics["test"]["dice"]["mean"])


def set_wrists(table: Path, **wrists: str) -> None:
    """Give the people of an index a wrist, and leave everything that depends on the index as it should be."""
    index = read_table(table)
    write_table(table, index.assign(person_wrist=index["person"].map(wrists)))
    for record in (paths.prediction_record("oof"), paths.prediction_record("test")):
        document = read_json(record)
        if str(table) in document["tables"]:
            document["tables"][str(table)] = file_hash(table)
            write_json(record, document)


def test_a_table_has_the_dice_by_attribute_and_metrics_that_under_the_test_mix(
    predicted_run: ChangeParams, capsys: pytest.CaptureFixture[str]
) -> None:
    set_wrists(paths.TRAIN_INDEX, A="straight", B="bent")
    set_wrists(paths.TEST_INDEX, C="straight", D="bent")
    validate.main()
    write_truth(["C/c1", "D/d1"])
    submit.main()
    dice = read_json(paths.METRICS)["dice"]
    assert dice["test_mix"]["wrist"]["mean"] == pytest.approx(dice["mean"]), "as many bent wrists in both"
    assert read_table(paths.DICE_PER_ATTRIBUTE)["subset"].value_counts().to_dict() == {"held-out": 4, "test": 4}
    assert "mix of wrist: 0." in capsys.readouterr().out


def test_a_wrist_that_no_held_out_image_has_is_a_warning(predicted_run: ChangeParams, capsys: pytest.CaptureFixture[str]) -> None:
    set_wrists(paths.TRAIN_INDEX, A="straight", B="straight")
    set_wrists(paths.TEST_INDEX, C="straight", D="bent")
    validate.main()
    submit.main()
    assert "wrist=bent, as 50% of the test images" in capsys.readouterr().err
    assert "test_mix" not in read_json(paths.METRICS)["dice"]


def test_a_missing_annotation_is_an_error(validated_run: ChangeParams, fails: Fails) -> None:
    write_truth(["C/c1"])
    with fails("annotation.json", "D/d1.json"):
        submit.main()


@pytest.mark.parametrize(
    ("changes", "code"),
    [({"folds": [1]}, "predictions.folds"), ({"data.classes": ["Radius", "Lunate"]}, "predictions.classes")],
)
def test_predictions_of_other_folds_or_classes_are_refused(validated_run: ChangeParams, fails: Fails, changes: dict, code: str) -> None:
    validated_run(changes)
    with pytest.raises(UserError) as error:
        submit.main()
    assert error.value.codes == {code, "table.rows"}
    assert not paths.SUBMISSION.exists()


def test_all_missing_predictions_are_listed(validated_run: ChangeParams, fails: Fails) -> None:
    for key in ("C/c1", "D/d1"):
        paths.prediction("test", key).unlink()
    with fails("predictions.missing", "C/c1.npz", "D/d1.npz"):
        submit.main()


def test_an_unknown_key_in_the_decision_is_an_error(validated_run: ChangeParams, fails: Fails) -> None:
    write_json(paths.DECISION, {"threshold": 0.5, "cleanup": True})
    with fails("decision.key", "reports/decision.json: cleanup"):
        submit.main()


def test_a_decision_or_counts_changed_by_hand_are_refused(validated_run: ChangeParams, fails: Fails) -> None:
    paths.DECISION.write_text(paths.DECISION.read_text().replace("0.5", "0.6"))
    with fails("decision.counts", "reports/decision.json"):
        submit.main()
    validate.main()
    paths.VALIDATION_COUNTS.write_text("".join(paths.VALIDATION_COUNTS.read_text().splitlines(keepends=True)[:-1]))
    with fails("decision.counts", "reports/decision.json"):
        submit.main()


def test_counts_of_other_images_are_refused(validated_run: ChangeParams, fails: Fails) -> None:
    counts = paths.VALIDATION_COUNTS.read_text()
    paths.VALIDATION_COUNTS.write_text(counts.replace("B/b1", "B/b9"))
    Decision(0.5).save(paths.DECISION, *paths.DECIDED_WITH)
    with fails("table.rows", "B/b1, Radius", "B/b9, Ulna"):
        submit.main()


def test_predictions_of_other_test_images_are_refused(validated_run: ChangeParams, fails: Fails) -> None:
    paths.TEST_INDEX.write_text(paths.TEST_INDEX.read_text().replace(file_hash(paths.cached_sample("test", "D/d1")), "0" * 64))
    with fails("predictions.tables", "data/predictions/test/models.json"):
        submit.main()
    assert not paths.SUBMISSION.exists()


def test_without_a_decision_it_says_so(predicted_run: ChangeParams, fails: Fails) -> None:
    with fails("stage.input_missing", "reports/decision.json"):
        submit.main()


def test_two_runs_write_the_same_bytes(validated_run: ChangeParams) -> None:
    files = [paths.SUBMISSION, paths.LINEAGE, paths.METRICS, paths.TEST_COUNTS, paths.DICE_PER_ATTRIBUTE]
    submit.main()
    first = [file.read_bytes() for file in files]
    submit.main()
    assert [file.read_bytes() for file in files] == first


def test_another_format_has_the_same_score(validated_run: ChangeParams) -> None:
    write_truth(["C/c1", "D/d1"])
    submit.main()
    before, score = paths.SUBMISSION.read_text(), read_json(paths.METRICS)["test"]
    validated_run({"submission.columns": ["i", "c", "r"], "submission.order": "column", "submission.base": 0, "submission.empty": "-1"})
    submit.main()
    assert paths.SUBMISSION.read_text().startswith("i,c,r\n") and paths.SUBMISSION.read_text() != before
    assert read_json(paths.METRICS)["test"] == score


def empty_test_set() -> None:
    """No test image, as if infer@test had run on none."""
    write_table(paths.TEST_INDEX, read_table(paths.TEST_INDEX).head(0))
    record = read_json(paths.prediction_record("test"))
    write_json(paths.prediction_record("test"), record | {"tables": {str(paths.TEST_INDEX): file_hash(paths.TEST_INDEX)}, "files": {}})


def test_without_a_test_set_there_are_held_out_scores_alone(predicted_run: ChangeParams, capsys: pytest.CaptureFixture[str]) -> None:
    set_wrists(paths.TRAIN_INDEX, A="straight", B="bent")
    set_wrists(paths.TEST_INDEX, C="straight", D="bent")
    empty_test_set()
    validate.main()
    submit.main()
    by_wrist = read_table(paths.DICE_PER_ATTRIBUTE)
    assert "test" not in read_json(paths.METRICS)
    assert set(by_wrist["subset"]) == {"held-out"} and set(by_wrist["value"]) == {"bent", "straight"}
    assert paths.SUBMISSION.read_text() == "image_name,class,rle\n"
    assert "there is no test set" in capsys.readouterr().out

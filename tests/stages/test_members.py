"""Members at other sizes are joined exactly in validate, submit and report; what is measured is what is submitted."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
import yaml

from conftest import CLASSES, FOLD_OF, SHAPE, TEST_NAMES
from dense_maps import exact_sum
from handbone.config import paths
from handbone.evaluation.decision import Decision
from handbone.masks.cropped_maps import CroppedMaps
from handbone.masks.rle import decode_runs
from handbone.submission.csv import read_submission
from handbone.utils.hashing import file_hash
from handbone.utils.io import read_json, write_json
from stages import submit, validate

if TYPE_CHECKING:
    from conftest import ChangeParams, Fails

KEYS = {"oof": FOLD_OF, "test": TEST_NAMES}


def write_member(name: str, size: int, seed: int, classes: list[str] = CLASSES) -> None:
    """A pinned experiment with smooth random maps at `size`, which has its classes in this order."""
    rng, records = np.random.default_rng(seed), {}
    for subset, keys in KEYS.items():
        record, files = paths.stored(subset, keys, name)
        for file in files.values():
            small = rng.integers(0, 256, (len(classes), 4, 6)).astype(np.uint8)
            CroppedMaps.from_dense(small.repeat(size // 6, 1).repeat(size // 6, 2)).save(file)
        current = read_json(paths.prediction_record(subset))
        models = {fold: model | {"size": size, "spec": {"arch": "FPN", "classes": classes}} for fold, model in current["models"].items()}
        write_json(record, {"models": models, "tables": {}, "files": {key: file_hash(file) for key, file in files.items()}})
        records[subset] = file_hash(record)
    meta = {"revision": name, "commit": "c" * 40, "arch": "FPN", "encoder": None, "size": size, "window": None, "records": records}
    paths.PINS.mkdir(exist_ok=True)
    paths.pin(name).write_text(yaml.safe_dump({"outs": [], "meta": meta}))


@pytest.fixture
def joined_run(predicted_run: ChangeParams) -> ChangeParams:
    write_member("fpn", 12, seed=1, classes=CLASSES[::-1])
    write_member("large", 48, seed=2)
    predicted_run({"decide.members": {"current": 1, "fpn": 2, "large": 3}})
    return predicted_run


def dense(subset: str, key: str) -> np.ndarray:
    """The weighted sum by the plain computation: (C, H, W)."""
    maps = [CroppedMaps.load(paths.prediction(subset, key, name)).dense() for name in ("current", "fpn", "large")]
    maps[1] = maps[1][::-1]
    return exact_sum(maps, np.array([[1, 1], [2, 2], [3, 3]]), SHAPE)


def test_masks_are_those_of_the_plain_weighted_mean(joined_run: ChangeParams) -> None:
    validate.main()
    submit.main()
    rows = read_submission(paths.SUBMISSION).set_index(["image_name", "class"])["rle"]
    for key, name in TEST_NAMES.items():
        masks = dense("test", key) > 0.5 * 255 * 4 * SHAPE[0] * SHAPE[1] * 6
        assert 0 < masks.mean() < 1
        assert (decode_runs([rows[name, label] for label in CLASSES], *SHAPE).boxed().dense() == masks).all()
    counts = pd.read_csv(paths.VALIDATION_COUNTS)
    for key in FOLD_OF:
        areas = (dense("oof", key) > 0.5 * 255 * 4 * SHAPE[0] * SHAPE[1] * 6).sum((1, 2))
        assert counts.loc[counts["key"] == key, ["tp", "fp"]].sum(axis=1).tolist() == areas.tolist()


def test_lineage_names_the_members_and_their_models(joined_run: ChangeParams) -> None:
    validate.main()
    submit.main()
    lineage = read_json(paths.LINEAGE)
    assert lineage["decision"]["members"] == {"current": 1, "fpn": 2, "large": 3}
    assert list(lineage["members"]) == ["fpn", "large"] and list(lineage["models"]) == ["0", "1"]
    assert lineage["members"]["fpn"]["commit"] == "c" * 40 and lineage["members"]["fpn"]["models"]["0"]["spec"]["arch"] == "FPN"


def test_two_runs_write_the_same_bytes(joined_run: ChangeParams) -> None:
    files = [paths.DECISION, paths.VALIDATION_COUNTS, paths.SUBMISSION, paths.LINEAGE]
    written = []
    for _ in range(2):
        validate.main()
        submit.main()
        written.append([file.read_bytes() for file in files])
    assert written[0] == written[1]


def test_one_member_alone_gives_what_its_own_run_gives(joined_run: ChangeParams) -> None:
    """And the predictions of the current run, which is no member, need not exist."""
    joined_run({"decide.members": {"current": 1}})
    validate.main()
    submit.main()
    alone = paths.SUBMISSION.read_bytes()
    joined_run({"decide.members": {}})
    validate.main()
    submit.main()
    assert paths.SUBMISSION.read_bytes() == alone
    write_member("same", 24, seed=0)
    for subset, keys in KEYS.items():
        for key in keys:
            shutil.copy(paths.prediction(subset, key), paths.prediction(subset, key, "same"))
        record = read_json(paths.prediction_record(subset))
        write_json(paths.prediction_record(subset, "same"), record)
    pin = yaml.safe_load(paths.pin("same").read_text())
    pin["meta"]["records"] = {subset: file_hash(paths.prediction_record(subset, "same")) for subset in KEYS}
    paths.pin("same").write_text(yaml.safe_dump(pin))
    shutil.rmtree(paths.PREDICTIONS)
    joined_run({"decide.members": {"same": 5}})
    validate.main()
    submit.main()
    assert paths.SUBMISSION.read_bytes() == alone
    assert read_json(paths.LINEAGE)["models"] == {}


def test_everything_that_is_missing_is_one_error(joined_run: ChangeParams, fails: Fails) -> None:
    paths.prediction("oof", "A/a1", "fpn").unlink()
    paths.prediction("oof", "B/b2", "large").unlink()
    with fails("members.missing", "fpn/oof/A/a1.npz", "large/oof/B/b2.npz") as error:
        validate.main()
    assert "dvc pull members/fpn.dvc" in str(error.value) and "dvc pull members/large.dvc" in str(error.value)
    assert not paths.DECISION.exists()


def test_a_member_without_a_pin_is_an_error(joined_run: ChangeParams, fails: Fails) -> None:
    joined_run({"decide.members": {"current": 1, "fpm": 1}})
    with fails("members.unknown", "params.yaml: decide.members: fpm") as error:
        validate.main()
    assert "did you mean fpn?" in str(error.value)


def test_submit_joins_what_validate_decided(joined_run: ChangeParams) -> None:
    validate.main()
    submit.main()
    before = paths.SUBMISSION.read_bytes()
    joined_run({"decide.members": {"large": 1, "current": 1}})
    submit.main()
    assert paths.SUBMISSION.read_bytes() == before, "the stored decision counts, not the parameter"
    assert Decision.load(paths.DECISION, CLASSES, *paths.DECIDED_WITH).names == ["current", "fpn", "large"]


@pytest.mark.parametrize("weights", ["greedy", "per_class"])
def test_a_search_for_weights_is_recorded_and_with_two_people_it_is_not_accepted(joined_run: ChangeParams, weights: str) -> None:
    joined_run({"decide.weights": weights})
    validate.main()
    document = read_json(paths.DECISION)
    assert document["members"] == {"current": 1, "fpn": 2, "large": 3}
    assert not document["searches"]["weights"]["accepted"]
    submit.main()

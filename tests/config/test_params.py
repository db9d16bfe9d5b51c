"""params.yaml is read strictly, by the rules of YAML 1.2."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from conftest import Fails
from handbone.config.params import BONES, Params, load_params, parameter_names, parse_params, sections
from handbone.utils.errors import UserError
from imports import ROOT

DEFAULTS = Params()


def write(folder: Path, changes: dict[str, Any]) -> Path:
    """A params.yaml with the defaults, and changes such as {"train.lr": 1}."""
    document = DEFAULTS.model_dump()
    for name, value in changes.items():
        *section, key = name.split(".")
        (document[section[0]] if section else document)[key] = value
    (folder / "params.yaml").write_text(yaml.safe_dump(document))
    return folder / "params.yaml"


def replaced(folder: Path, old: str, new: str) -> Path:
    """This project's params.yaml, edited as a text."""
    text = (ROOT / "params.yaml").read_text()
    assert old in text
    (folder / "params.yaml").write_text(text.replace(old, new, 1))
    return folder / "params.yaml"


def test_defaults_keep_their_own_bounds(tmp_path: Path) -> None:
    """pydantic itself does not check defaults."""
    assert load_params(write(tmp_path, {})) == DEFAULTS


def test_every_section_and_key_has_a_description() -> None:
    assert all(section.__doc__ for section in sections().values())
    fields = [*(field for section in sections().values() for field in section.model_fields.values())]
    fields += [field for name, field in Params.model_fields.items() if name not in sections()]
    assert len(fields) == len(parameter_names())
    assert all(field.description for field in fields)


def test_the_file_of_the_project_has_every_key() -> None:
    document = yaml.safe_load((ROOT / "params.yaml").read_text())
    keys = [f"{name}.{key}" for name, section in document.items() if isinstance(section, dict) for key in section]
    assert sorted([*keys, "seed", "folds"]) == sorted(parameter_names())


@pytest.mark.parametrize(("written", "value"), [("1e-3", 1e-3), ("1E-3", 1e-3), (".5", 0.5), ("2", 2.0), ("5.", 5.0)])
def test_numbers_are_read_as_dvc_reads_them(tmp_path: Path, written: str, value: float) -> None:
    assert load_params(replaced(tmp_path, "  lr: 0.003", f"  lr: {written}")).train.lr == value


def test_on_is_a_text(tmp_path: Path, fails: Fails) -> None:
    with fails("params.value", "params.yaml: infer.hflip"):
        load_params(replaced(tmp_path, "  hflip: true", "  hflip: on"))


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"data.root": ""}, "data.root"),
        ({"machine.resume_dir": ""}, "machine.resume_dir"),
        ({"train.epochs": "many"}, "train.epochs"),
        ({"train.epochs": 1.5}, "train.epochs"),
        ({"train.epochs": True}, "train.epochs"),
        ({"train.swa_epochs": 0}, "train.swa_epochs"),
        ({"train.lr": float("nan")}, "train.lr"),
        ({"train.loss": {"bce": "x"}}, "train.loss.bce"),
        ({"train.loss": {"bce": [[2, 1.0], [1, 0.0]]}}, "train.loss.bce"),
        ({"train.loss": {"bce": [[1]]}}, "train.loss.bce"),
        ({"train.loss": {}}, "train.loss"),
        ({"train.loss": {"bce": float("inf")}}, "train.loss.bce"),
        ({"train.loss": {"bce": 0.0, "dice": [[1, 0.0], [9, 0.0]]}}, "train.loss"),
        ({"train.lr": float("inf")}, "train.lr"),
        ({"train.oversample": {"Ulna": float("inf")}}, "train.oversample.Ulna"),
        ({"train.oversample": {"Ulna": 1e9}}, "train.oversample.Ulna"),
        ({"train.class_weights": {"Ulna": float("inf")}}, "train.class_weights.Ulna"),
        ({"train.class_weights": dict.fromkeys(BONES, 0.0)}, "train.class_weights"),
        ({"machine.num_workers": 100_000}, "machine.num_workers"),
        ({"train.augment": "lite"}, "train.augment"),
        ({"train.crop": 513}, "train.crop"),
        ({"train.swa_epochs": 60}, "train.swa_epochs"),
        ({"train.swa_epochs": 3, "train.patience": 2}, "train.patience"),
        ({"train.class_weights": {"Sesamoid": 2.0}}, "train.class_weights"),
        ({"decide.threshold": 50}, "decide.threshold"),
        ({"decide": 0.5}, "decide"),
        ({"submission.columns": ["a", "b"]}, "submission.columns"),
        ({"submission.columns": ["a", "b", "a"]}, "submission.columns"),
        ({"submission.order": "rows"}, "submission.order"),
        ({"submission.base": 2}, "submission.base"),
        ({"submission.empty": "1 1"}, "submission.empty"),
        ({"submission.empty": "-1,-1"}, "submission.empty"),
        ({"submission.empty": '"'}, "submission.empty"),
        ({"decide.members": {"current": 1.5}}, "decide.members.current"),
        ({"decide.members": {"unet": -1}}, "decide.members.unet"),
        ({"decide.members": {"current": 0, "unet": 0}}, "decide.members"),
        ({"decide.weights": "greedy"}, "decide.weights"),
        ({"decide.weights": "best", "decide.members": {"current": 1, "unet": 1}}, "decide.weights"),
        ({"model.in_channels": 2}, "model.in_channels"),
        ({"data.classes": ["a", "b", "a"]}, "data.classes"),
        ({"data.classes": ["a", "\ud800"]}, "data.classes"),
        ({"data.classes": ["K\u00f6", "Ko\u0308"]}, "data.classes"),
        ({"train.oversample": {"K\u00f6": 1.0, "Ko\u0308": 2.0}}, "train.oversample"),
        ({"split.stratify": ["sex", "sex"]}, "split.stratify"),
        ({"decide.clean_up": ["largest", "largest"]}, "decide.clean_up"),
        ({"data.mirror": {"Radius": "Ulnar"}}, "data.mirror"),
        ({"data.mirror": {"Radius": "Radius"}}, "data.mirror"),
        ({"data.mirror": {"Radius": "Ulna", "Ulna": "Radius"}}, "data.mirror"),
        ({"data.mirror": {"Radius": "Ulna", "Lunate": "Ulna"}}, "data.mirror"),
        ({"data.mirror": ["Radius", "Ulna"]}, "data.mirror"),
        ({"data.mirror": {"Radius": 21}}, "data.mirror"),
        ({"data.mirror": {11: "Radius"}}, "data.mirror"),
        ({"data.classes": [11, "12", True]}, "data.classes"),
        ({"data.exclude": [58]}, "data.exclude"),
        ({"train.exclude": [58]}, "train.exclude"),
        ({"split.stratify": [1.5]}, "split.stratify"),
        ({"folds": [0, 9]}, "folds"),
        ({"folds": [1, 1]}, "folds"),
        ({"preprocess.size": 64}, "preprocess.size"),
        ({"infer.window_size": 64}, "infer.window_stride"),
        ({"infer.window_size": 64, "infer.window_stride": 65}, "infer.window_stride"),
        ({"infer.crf": {"iterations": 0}}, "infer.crf.iterations"),
    ],
)
def test_a_wrong_value_is_an_error_at_its_key(tmp_path: Path, fails: Fails, changes: dict[str, Any], place: str) -> None:
    with fails("params.value") as error:
        load_params(write(tmp_path, changes))
    assert error.value.places == [f"{tmp_path / 'params.yaml'}: {place}"]


@pytest.mark.parametrize(
    ("key", "written", "nearest"),
    [("train.augment", "mediun", "medium"), ("train.optimizer", "adam", "adamw"), ("decide.threshold", "perclass", "per_class")],
)
def test_a_misspelled_choice_is_answered_by_the_nearest_one(tmp_path: Path, fails: Fails, key: str, written: str, nearest: str) -> None:
    with fails("params.value") as error:
        load_params(write(tmp_path, {key: written}))
    assert nearest in error.value.problems[0].fix


@pytest.mark.parametrize(("key", "value"), [("submission.empty", -1), ("pseudo.labels", 7), ("model.arch", 1.5)])
def test_a_number_in_the_place_of_a_text_is_answered_by_quotes(tmp_path: Path, fails: Fails, key: str, value: float) -> None:
    with fails("params.value", key) as error:
        load_params(write(tmp_path, {key: value}))
    assert f'"{value}"' in error.value.problems[0].fix


def test_a_misspelled_key_of_a_name_is_shown(tmp_path: Path, fails: Fails) -> None:
    with fails("params.value") as error:
        load_params(write(tmp_path, {"decide.members": {"1st": 2}}))
    assert error.value.problems[0].found == "1st"


@pytest.mark.parametrize(
    ("key", "suggestion"),
    [
        ("model.archh", "model.arch"),
        ("infer.crf.iteratons", "infer.crf.iterations"),
        ("model.option", "model.options"),
        ("foldss", "folds"),
    ],
)
def test_a_misspelled_key_is_rejected_with_a_suggestion(tmp_path: Path, fails: Fails, key: str, suggestion: str) -> None:
    name = {"infer.crf.iteratons": "infer.crf"}.get(key, key)
    with fails("params.unknown", f"params.yaml: {key}") as error:
        load_params(write(tmp_path, {name: {"iteratons": 1} if name == "infer.crf" else 1}))
    assert f"did you mean {suggestion}?" in str(error.value)


def test_every_key_must_be_in_the_file(tmp_path: Path, fails: Fails) -> None:
    """DVC reads the same file, and knows no defaults."""
    document = DEFAULTS.model_dump()
    del document["machine"], document["train"]["lr"], document["seed"]
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(document))
    with fails("params.missing", "machine", "train.lr", "seed") as error:
        load_params(tmp_path / "params.yaml")
    assert len(error.value.problems) == 3


@pytest.mark.parametrize("name", ["../unet", "a.b", "", "2", "a b"])
def test_names_of_members_are_names_of_files_and_of_keys(tmp_path: Path, fails: Fails, name: str) -> None:
    with fails("params.value", "decide.members"):
        load_params(write(tmp_path, {"decide.members": {name: 1}}))


def test_without_members_the_current_run_is_the_ensemble() -> None:
    assert DEFAULTS.decide.ensemble == {"current": 1}


def test_keys_inside_a_value_have_defaults(tmp_path: Path) -> None:
    crf = load_params(write(tmp_path, {"infer.crf": {"iterations": 3}})).infer.crf
    assert crf is not None
    assert (crf.iterations, crf.stride) == (3, 4)


def test_all_mistakes_are_reported_at_once(tmp_path: Path) -> None:
    document = DEFAULTS.model_dump()
    document["train"]["lr"] = "fast"
    document["infer"]["hfilp"] = document["infer"].pop("hflip")
    document["seed"] = -1
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(document))
    with pytest.raises(UserError) as error:
        load_params(tmp_path / "params.yaml")
    assert error.value.codes == {"params.value", "params.unknown", "params.missing"}
    assert {place.split(": ")[1] for place in error.value.places} == {"train.lr", "infer.hfilp", "infer.hflip", "seed"}


def test_a_file_that_does_not_exist_is_an_error(tmp_path: Path, fails: Fails) -> None:
    with fails("params.file", "params.yaml"):
        load_params(tmp_path / "params.yaml")


@pytest.mark.parametrize("text", ["seed: [", "a: b: c", "\tseed: 1"])
def test_a_file_that_is_not_yaml_is_an_error(tmp_path: Path, fails: Fails, text: str) -> None:
    (tmp_path / "params.yaml").write_text(text)
    with fails("params.yaml", "params.yaml"):
        load_params(tmp_path / "params.yaml")


@pytest.mark.parametrize("document", [None, [], "text"])
def test_another_document_is_an_error(tmp_path: Path, fails: Fails, document: Any) -> None:
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(document))
    with fails("params.value", "params.yaml"):
        load_params(tmp_path / "params.yaml")


def test_parameters_cannot_change_after_loading() -> None:
    with pytest.raises(ValidationError):
        parse_params({}, "nothing").train.lr = 1.0  # type: ignore[misc]


EXCLUSIVE = {"data.exclusive": True, "train.loss": {"cross_entropy": 1.0, "dice": 1.0}, "decide.threshold": None}


def test_exclusive_classes_have_their_own_losses_and_no_threshold(tmp_path: Path) -> None:
    assert load_params(write(tmp_path, EXCLUSIVE)).data.exclusive


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        (EXCLUSIVE | {"train.loss": {"bce": 1.0, "dice": 1.0}}, "train.loss.bce"),
        (EXCLUSIVE | {"train.loss": {"lovasz": 1.0}}, "train.loss.lovasz"),
        (EXCLUSIVE | {"decide.threshold": 0.5}, "decide.threshold"),
        (EXCLUSIVE | {"decide.threshold": "per_class"}, "decide.threshold"),
        (EXCLUSIVE | {"decide.clean_up": ["largest"]}, "decide.clean_up"),
        (EXCLUSIVE | {"decide.weights": "per_class", "decide.members": {"current": 1, "unet": 1}}, "decide.weights"),
        (EXCLUSIVE | {"infer.crf": {}}, "infer.crf"),
        ({"decide.threshold": None}, "decide.threshold"),
        ({"train.loss": {"cross_entropy": 1.0}}, "train.loss.cross_entropy"),
    ],
)
def test_what_does_not_fit_the_kind_of_classes_is_refused_by_name(
    tmp_path: Path, fails: Fails, changes: dict[str, Any], place: str
) -> None:
    with fails("params.value", f"params.yaml: {place}"):
        load_params(write(tmp_path, changes))

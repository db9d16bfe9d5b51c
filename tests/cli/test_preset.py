"""`handbone preset NAME` writes the whole params.yaml, and loses no changes without being asked to."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from conftest import Fails
from handbone.cli.preset import list_presets, preset_names, preset_params, preset_text, write_preset
from handbone.config.params import Params, load_params
from imports import ROOT

PRESETS = ROOT / "presets"
NAMES = preset_names(PRESETS)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two small presets; params.yaml is beside the folder."""
    folder = tmp_path / "presets"
    folder.mkdir()
    (folder / "one.yaml").write_text("# For one.\n\nfolds:\n- 0\n\ntrain:\n  loss: {focal: 2.0}\n  lr: 1e-3\n")
    (folder / "two.yaml").write_text("# For two.\n")
    return folder


def test_the_project_comes_with_the_demo_presets_for_two_sizes_of_gpu_and_one_for_windows() -> None:
    assert {"demo", "gpu24", "gpu80", "windows24"} <= set(NAMES)
    assert preset_text("demo", PRESETS).encode() == (ROOT / "params.yaml").read_bytes()


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_has_a_purpose_and_only_what_differs_from_the_defaults_with_reasons(name: str) -> None:
    assert preset_params(name, PRESETS).folds
    text = (PRESETS / f"{name}.yaml").read_text()
    assert text.startswith("# For ")
    document, defaults = yaml.safe_load(text), Params().model_dump()
    for section, values in document.items():
        pairs = [(key, value, defaults[section][key]) for key, value in values.items()] if isinstance(values, dict) else []
        for key, value, default in pairs or [(section, values, defaults[section])]:
            assert value != default, key
            assert any(line.lstrip().startswith(f"{key}:") and "#" in line for line in text.splitlines()), f"{key}: no reason"


def test_a_preset_is_the_defaults_with_its_changes(folder: Path, tmp_path: Path) -> None:
    """A value is replaced as a whole: the loss is not added to the default losses."""
    write_preset("one", folder=folder, path=tmp_path / "params.yaml")
    params, defaults = load_params(tmp_path / "params.yaml"), Params()
    train = defaults.train.model_copy(update={"loss": {"focal": 2.0}, "lr": 0.001})
    assert params == defaults.model_copy(update={"folds": [0], "train": train})
    assert preset_params("two", folder) == defaults


def test_the_list_says_what_each_preset_is_for(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    list_presets(folder)
    assert capsys.readouterr().out == "one  For one.\ntwo  For two.\n"


def test_an_unknown_preset_is_an_error_with_a_suggestion(folder: Path, fails: Fails) -> None:
    with fails("preset.name", "tow") as error:
        preset_params("tow", folder)
    assert "did you mean two?" in str(error.value)


def test_no_presets_at_all_is_an_error(tmp_path: Path, fails: Fails) -> None:
    with fails("preset.folder", str(tmp_path / "presets")):
        list_presets(tmp_path / "presets")


@pytest.mark.parametrize(
    ("text", "code", "place"),
    [
        ("train:\n  epoch: 3\n", "params.unknown", "one.yaml: train.epoch"),
        ("trian:\n  epochs: 3\n", "params.unknown", "one.yaml: trian"),
        ("train: 3\n", "params.value", "one.yaml: train"),
        ("- 3\n", "params.value", "one.yaml"),
        ("a: [\n", "params.yaml", "one.yaml"),
    ],
)
def test_a_fault_in_a_preset_names_its_file(folder: Path, fails: Fails, text: str, code: str, place: str) -> None:
    (folder / "one.yaml").write_text(text)
    with fails(code, place):
        preset_params("one", folder)


def test_another_preset_is_replaced_and_the_changed_values_are_printed(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "params.yaml"
    write_preset("two", folder=folder, path=path)
    assert len(capsys.readouterr().out.splitlines()) == 1
    write_preset("one", folder=folder, path=path)
    changes = capsys.readouterr().out.splitlines()[1:]
    assert [line.split(":")[0].strip() for line in changes] == ["folds", "train.lr", "train.loss"]
    assert changes[1] == "  train.lr: 0.0003 -> 0.001"
    assert path.read_text() == preset_text("one", folder)


def test_changes_are_not_lost_unless_forced(folder: Path, tmp_path: Path, fails: Fails) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(preset_text("two", folder).replace("epochs: 60", "epochs: 61"))
    with fails("preset.overwrite", str(path)):
        write_preset("one", folder=folder, path=path)
    assert load_params(path).train.epochs == 61
    write_preset("one", force=True, folder=folder, path=path)
    assert path.read_text() == preset_text("one", folder)


def test_changes_that_git_has_may_be_overwritten(folder: Path, tmp_path: Path, fails: Fails) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("seed: 1\n")
    for arguments in (["init", "-q"], ["add", "params.yaml"], ["-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "start"]):
        subprocess.run(["git", *arguments], cwd=tmp_path, check=True)
    write_preset("one", folder=folder, path=path)
    path.write_text("seed: 2\n")
    with fails("preset.overwrite", str(path)):
        write_preset("one", folder=folder, path=path)


def test_a_file_that_cannot_be_read_is_replaced_if_forced(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("seed: [")
    write_preset("one", force=True, folder=folder, path=tmp_path / "params.yaml")
    assert load_params(tmp_path / "params.yaml").folds == [0]

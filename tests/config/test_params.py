"""params.yaml is read strictly, by YAML 1.2's rules."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from handbone.config.params import load_params, parameter_names
from handbone.utils.errors import UserError

ROOT = Path(__file__).resolve().parent.parent
PRESETS = sorted((ROOT / "presets").glob("*.yaml"))


def rewritten(tmp_path: Path, *replacements: tuple[str, str]) -> Path:
    text = (ROOT / "params.yaml").read_text()
    for old, new in replacements:
        assert old in text
        text = text.replace(old, new, 1)
    (tmp_path / "params.yaml").write_text(text)
    return tmp_path / "params.yaml"


def test_the_demo_is_the_default() -> None:
    assert (ROOT / "presets/demo.yaml").read_bytes() == (ROOT / "params.yaml").read_bytes()


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)
def test_every_preset_can_be_loaded(preset: Path) -> None:
    assert load_params(preset).folds


def test_there_are_presets_for_the_demo_and_two_sizes_of_gpu() -> None:
    assert {path.stem for path in PRESETS} >= {"demo", "gpu24", "gpu80"}


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)
def test_every_key_is_commented(preset: Path) -> None:
    """Each key of a section has a comment behind it; lists' and options' own keys need none."""
    bare = [line for line in preset.read_text().splitlines() if line.startswith("  ") and line[2].isalpha() and "#" not in line]
    assert not bare


def test_every_key_stands_in_the_file() -> None:
    document = yaml.safe_load((ROOT / "params.yaml").read_text())
    keys = [f"{name}.{key}" for name, section in document.items() if isinstance(section, dict) for key in section]
    assert sorted([*keys, "seed", "folds"]) == sorted(parameter_names())


@pytest.mark.parametrize(("written", "value"), [("1e-3", 1e-3), ("1E-3", 1e-3), (".5", 0.5), ("2", 2.0), ("5.", 5.0)])
def test_numbers_as_dvc_reads_them(tmp_path: Path, written: str, value: float) -> None:
    assert load_params(rewritten(tmp_path, ("  lr: 0.003", f"  lr: {written}"))).train.lr == value


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("  arch: Unet", "  archh: Unet", "did you mean model.arch?"),
        ("  arch: Unet", "  archh: Unet", "model.arch: expected a value"),
        ("  epochs: ", "  epochs: many # ", "train.epochs"),
        ("  epochs: ", "  epochs: 1.5 # ", "train.epochs"),
        ("  epochs: ", "  epochs: true # ", "train.epochs"),
        ("  hflip: true", "  hflip: on", "predict.hflip"),
        ("  threshold: 0.5", "  threshold: 50", "predict.threshold"),
        ("  in_channels: 1", "  in_channels: 2", "model.in_channels"),
        ("  - finger-2\n", "  - finger-1\n", "finger-1 stands there more than once"),
        ("\n- 0\n", "\n- 9\n", "folds to be different numbers from 0 to"),
        ("\n- 1\n", "\n- 0\n", "folds to be different numbers from 0 to"),
        ("  size: 0 ", "  size: 64 ", "preprocess.size"),
        ("  labels: none", "  labels: unchecked", "none or a CSV"),
        ("seed: 21", "seed: [", "YAML"),
    ],
)
def test_a_mistake_is_told_with_its_key(tmp_path: Path, old: str, new: str, told: str) -> None:
    with pytest.raises(UserError) as error:
        load_params(rewritten(tmp_path, (old, new)))
    assert told in str(error.value)
    assert "params.yaml" in str(error.value)


def test_what_does_not_fit_together_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="swa_epochs or patience to be 0"):
        load_params(rewritten(tmp_path, ("  swa_epochs: 0", "  swa_epochs: 3"), ("  patience: 0", "  patience: 2")))


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        load_params(rewritten(tmp_path, ("  lr: 0.003", "  lr: fast"), ("  hflip: true", "  hfilp: true"), ("seed: 21", "seed: -1")))
    assert all(key in str(error.value) for key in ("train.lr", "predict.hfilp", "predict.hflip", "seed"))


def test_no_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="presets/"):
        load_params(tmp_path / "params.yaml")


@pytest.mark.parametrize("document", [None, [], "text"])
def test_another_document_is_an_error(tmp_path: Path, document: Any) -> None:
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(document))
    with pytest.raises(UserError, match=r"params\.yaml"):
        load_params(tmp_path / "params.yaml")

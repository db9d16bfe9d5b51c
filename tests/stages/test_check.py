"""Names that do not exist are refused before anything long runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from handbone.utils.errors import UserError
from params_file import write_params
from stages import check

if TYPE_CHECKING:
    from conftest import Fails


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the demo's params.yaml and the files that it names."""
    monkeypatch.chdir(tmp_path)
    write_params({})
    for name in ("weights/None", "pseudo/None"):
        Path(name).parent.mkdir()
        Path(name).touch()
    return tmp_path


def test_every_unknown_name_is_an_error_at_once(here: Path, fails: Fails) -> None:
    write_params({"model.arch": "Unte", "model.weights": "lost.safetensors", "pseudo.labels": "lost.csv"})
    write_params({"train.loss": {"dic": 1.0}, "train.augment": [{"Flipp": {}}], "decide.members": {"current": 1, "lost": 1}})
    with pytest.raises(UserError) as error:
        check.main()
    assert error.value.codes == {"model.arch", "params.source", "train.loss", "train.augment", "members.unknown"}
    assert {"weights/lost.safetensors", "pseudo/lost.csv"} <= set(error.value.places)


def test_an_unknown_encoder_is_an_error(here: Path, fails: Fails) -> None:
    write_params({"model.encoder": "resnet35"})
    with fails("model.encoder"):
        check.main()


def test_what_has_passed_is_not_checked_again(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check.main()
    monkeypatch.setattr(check, "network_checks", None)  # an error if it were called
    check.main()
    write_params({"decide.threshold": 0.4})
    check.main()


def test_a_file_that_failed_is_checked_again(here: Path, fails: Fails) -> None:
    write_params({"train.loss": {"dic": 1.0}})
    for _ in range(2):
        with fails("train.loss"):
            check.main()


def test_without_parameters_the_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: Fails) -> None:
    monkeypatch.chdir(tmp_path)
    with fails("params.file", "params.yaml"):
        check.main()

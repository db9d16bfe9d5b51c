"""The stage phantom: only if the phantom is the data root, and only with its classes."""

from pathlib import Path

import pytest
from stages.phantom import main

from conftest import Fails
from handbone.config import paths
from handbone.config.params import BONES
from params_file import write_params


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_one_process: None) -> Path:
    """An empty project."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_small_params(root: str, classes: list[str]) -> None:
    small = {"phantom.size": 64, "phantom.train_people": 1, "phantom.test_people": 1}
    write_params({"data.root": root, "data.classes": classes} | small)


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_it_writes_the_phantom_if_that_is_the_data_root() -> None:
    write_small_params(str(paths.PHANTOM), list(reversed(BONES)))
    main()
    assert len([name for name in files(paths.PHANTOM) if name.endswith(".png")]) == 4


def test_it_removes_the_files_of_an_earlier_phantom() -> None:
    old = paths.PHANTOM / "people.csv"
    old.parent.mkdir(parents=True)
    old.write_text("person,wrist\n")
    write_small_params(str(paths.PHANTOM), list(BONES))
    main()
    assert not old.exists()


def test_it_writes_a_note_if_the_data_root_is_another_folder(capsys: pytest.CaptureFixture[str]) -> None:
    write_small_params("data/raw", ["left", "right"])
    Path("data/raw").mkdir(parents=True)
    main()
    assert files(paths.PHANTOM) == ["README.txt"] and not capsys.readouterr().err


def test_a_data_root_that_does_not_exist_is_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    """DVC stops at the next stage, and names neither the parameter nor what to do."""
    write_small_params("data/rwa", list(BONES))
    main()
    assert "data.root: expected the folder of the data set; found no folder data/rwa" in capsys.readouterr().err


def test_a_data_root_that_links_to_nothing_is_a_warning_with_the_target(capsys: pytest.CaptureFixture[str]) -> None:
    write_small_params("data/raw", list(BONES))
    Path("data").mkdir(exist_ok=True)
    Path("data/raw").symlink_to("hands")
    main()
    assert "data.root: expected the folder of the data set; found data/raw, a link to hands" in capsys.readouterr().err


def test_it_refuses_classes_that_the_phantom_does_not_have(fails: Fails) -> None:
    write_small_params(str(paths.PHANTOM), [*BONES[1:], "Sesamoid"])
    with fails("phantom.classes", "data.classes") as error:
        main()
    assert all(name in error.value.problems[0].found for name in ("finger-1", "Sesamoid"))
    assert not paths.PHANTOM.exists()

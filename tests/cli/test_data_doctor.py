"""`handbone doctor DATA` on a small phantom: what it prints, its exit status, and its page."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from html import escape
from pathlib import Path
from typing import Any

import cv2
import pytest

from conftest import Fails
from handbone.cli.data_doctor import examine_data
from handbone.cli.doctor import examine_path
from handbone.config.params import BONES, PhantomParams, load_params
from handbone.phantom.dataset import write_phantom
from handbone.utils.errors import UserError
from imports import ROOT
from pages import section

SHIFTED = "ID002/image1661130925374"


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 images of 128 px to train, 2 to test."""
    folder = tmp_path_factory.mktemp("phantom")
    write_phantom(PhantomParams(size=128, train_people=10, test_people=1, bent_train=0, bent_test=0, seed=3), folder, 2)
    return folder


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, phantom: Path, in_one_process: None) -> Path:
    """A copy of the phantom, beside a params.yaml that names it."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(phantom, tmp_path / "data")
    write_params({})
    return tmp_path / "data"


def write_params(data: dict[str, Any]) -> None:
    params = load_params(ROOT / "params.yaml").model_dump()
    params["data"] |= {"root": "data", "classes": list(BONES)} | data
    params["machine"]["preprocess_workers"] = 1
    Path("params.yaml").write_text(json.dumps(params))  # JSON is YAML


def annotation(root: Path, key: str = SHIFTED) -> Path:
    return root / "train/outputs_json" / f"{key}.json"


def exchange(root: Path, one: str, other: str) -> None:
    """Exchange two labels of one image."""
    document = json.loads(annotation(root).read_text())
    for polygon in document["annotations"]:
        polygon["label"] = {one: other, other: one}.get(polygon["label"], polygon["label"])
    annotation(root).write_text(json.dumps(document))


def test_a_data_set_without_faults(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    examine_data(root)
    assert capsys.readouterr().out.endswith("data: nothing found in 22 images\n")


def test_classes_of_another_data_set_are_one_error(root: Path, fails: Fails) -> None:
    write_params({"classes": ["11", "12"]})
    with fails("annotation.labels", "params.yaml: data.classes"):
        examine_data(root)


def test_images_that_cannot_be_read_do_not_count_as_examined(root: Path, capsys: pytest.CaptureFixture[str], fails: Fails) -> None:
    (root / "train/DCM" / f"{SHIFTED}.png").write_bytes(b"no picture")
    with fails("image.decode", SHIFTED):
        examine_data(root)
    assert capsys.readouterr().out.endswith("data: nothing found in 21 images, 1 not read\n")


def test_exchanged_labels_are_an_error_with_a_line_for_params(root: Path, capsys: pytest.CaptureFixture[str], fails: Fails) -> None:
    exchange(root, "Radius", "finger-4")
    with fails("labels.faults", "data"):
        examine_data(root, root.parent / "out/page.html")
    lines = capsys.readouterr().out.splitlines()
    assert f"1. ERROR {SHIFTED}: labels exchanged (" in lines[1]
    assert lines[-2] == "exclude:" and lines[-1].startswith(f'- "{SHIFTED}"')
    page = (root.parent / "out/page.html").read_text()
    assert page.count("<figure>") == 1 and "data:image/jpeg" in page and ">Radius</text>" in page
    assert "http:" not in page and "https:" not in page


def test_the_document_has_each_finding(root: Path, capsys: pytest.CaptureFixture[str], fails: Fails) -> None:
    exchange(root, "Radius", "finger-4")
    with fails("labels.faults", "data"):
        examine_data(root, as_json=True)
    document = json.loads(capsys.readouterr().out)
    assert [(found["key"], set(found["classes"]), found["certain"]) for found in document["findings"]] == [
        (SHIFTED, {"Radius", "finger-4"}, True)
    ]


def test_names_on_the_page_are_escaped(root: Path, fails: Fails) -> None:
    evil = '<script>"&'
    for file in (root / "train/outputs_json").rglob("*.json"):
        file.write_text(file.read_text().replace('"Radius"', json.dumps(evil)))
    write_params({"classes": [evil if name == "Radius" else name for name in BONES]})
    exchange(root, evil, "finger-4")
    with fails("labels.faults"):
        examine_data(root, Path("page.html"))
    assert evil not in Path("page.html").read_text() and escape(evil) in Path("page.html").read_text()


def test_an_excluded_image_is_not_examined(root: Path) -> None:
    exchange(root, "Radius", "finger-4")
    write_params({"exclude": [SHIFTED]})
    examine_data(root)


def test_files_that_cannot_be_read_are_errors_beside_the_findings(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    exchange(root, "Radius", "finger-4")
    annotation(root, "ID003/image1661131022596").write_text("{")
    (root / "train/DCM/ID004/image1661131119818.png").write_bytes(b"")
    with pytest.raises(UserError) as caught:
        examine_data(root)
    assert caught.value.codes == {"labels.faults", "annotation.json", "image.decode"}
    assert "labels exchanged" in capsys.readouterr().out


def test_the_same_picture_in_train_and_test(root: Path, fails: Fails, capsys: pytest.CaptureFixture[str]) -> None:
    image = cv2.imread(str(root / "train/DCM" / f"{SHIFTED}.png"))
    (test,) = sorted((root / "test/DCM/ID011").iterdir())[:1]
    cv2.imwrite(str(test), cv2.convertScaleAbs(image, alpha=1.05, beta=3))
    with fails("labels.faults"):
        examine_data(root, Path("page.html"))
    assert f"ERROR {SHIFTED}: in train and test" in capsys.readouterr().out
    assert Path("page.html").read_text().count("<image ") == 2


def test_too_few_images_are_a_warning(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_params({"exclude": [f"ID{number:03d}" for number in range(4, 11)]})
    examine_data(root)
    assert "4 classes or more" in capsys.readouterr().err


def test_a_file_is_no_data_set(root: Path, fails: Fails) -> None:
    with fails("layout.missing"):
        examine_data(root / "people.csv")


def test_options_of_a_submission_do_not_fit_a_data_set(root: Path, fails: Fails) -> None:
    csv = root.parent / "submission.csv"
    csv.write_text("image_name,class,rle\n")
    with fails("doctor.option", "--fix"):
        examine_path(root, csv.with_name("fixed.csv"), None, as_json=False)
    with fails("doctor.option", "--html"):
        examine_path(csv, None, csv.with_name("page.html"), as_json=False)


def test_findings_are_printed_if_their_page_cannot_be_written(root: Path, capsys: pytest.CaptureFixture[str], fails: Fails) -> None:
    with fails("io.folder", str(root)):
        examine_data(root, root)
    assert f"{root}: nothing found" in capsys.readouterr().out


def test_the_commands_of_the_documentation(root: Path) -> None:
    """Exit status 0 without a finding, 1 after an error; options of a submission do not fit a data set."""
    (block,) = section("docs/data.md", "Faults of the labels")
    plain, with_page = (command.split()[1:] for command in block.commands)
    root.rename("raw")
    Path("data").mkdir()
    Path("raw").rename("data/raw")
    write_params({"root": "data/raw"})
    assert "nothing found" in handbone(*plain).stdout
    exchange(Path("data/raw"), "Radius", "finger-4")
    done = handbone(*with_page)
    assert done.returncode == 1 and "ERROR" in done.stderr and "Traceback" not in done.stderr
    assert Path("faults.html").is_file()
    assert handbone("doctor", "data/raw", "--html", "a.html", "--fix", "b.csv").returncode == 2
    assert "submission" in handbone("doctor", "data/raw", "--fix", "b.csv").stderr


def handbone(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([Path(sys.executable).parent / "handbone", *arguments], capture_output=True, text=True)

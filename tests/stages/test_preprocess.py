"""Bad data end in one error that tells everything, and leave nothing half made."""

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import yaml
from stages.preprocess import main

from handbone.cache.sample import read_masks, read_sample
from handbone.utils.errors import UserError, run
from handbone.utils.io import read_table
from imports import ROOT

CLASSES = ["left", "right"]
COLUMNS = ["key", "person", "image_name", "height", "width", "sha256"]
SQUARE = [[2, 2], [12, 2], [12, 12], [2, 12]]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small sound data set, in a folder of its own that is the working directory."""
    monkeypatch.chdir(tmp_path)
    for subset, people in [("train", ["A", "B"]), ("test", ["C"])]:
        for person in people:
            add(tmp_path / "data/raw", subset, f"{person}/{person.lower()}1")
    write_params(tmp_path)
    return tmp_path / "data/raw"


def add(root: Path, subset: str, key: str) -> None:
    image = root / subset / "DCM" / f"{key}.png"
    image.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(image), np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8))
    if subset == "train":
        annotate(root, key, [(name, SQUARE) for name in CLASSES])


def annotate(root: Path, key: str, polygons: list[tuple[str, list[list[int]]]]) -> None:
    path = root / "train/outputs_json" / f"{key}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"annotations": [{"label": label, "points": points} for label, points in polygons]}))


def write_params(folder: Path, **data: object) -> None:
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["data"] |= {"root": "data/raw", "classes": CLASSES} | data
    params["machine"]["workers"] = 2
    (folder / "params.yaml").write_text(yaml.safe_dump(params))


def unreadable_png(root: Path) -> None:
    (root / "train/DCM/A/a1.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")


def broken_json(root: Path) -> None:
    (root / "train/outputs_json/A/a1.json").write_text('{"annotations": [')


def unknown_label(root: Path) -> None:
    annotate(root, "A/a1", [("left", SQUARE), ("right", SQUARE), ("rigth", SQUARE)])


def missing_class(root: Path) -> None:
    annotate(root, "A/a1", [("left", SQUARE)])


def too_few_points(root: Path) -> None:
    annotate(root, "A/a1", [("left", SQUARE[:2]), ("right", SQUARE)])


def points_outside(root: Path) -> None:
    annotate(root, "A/a1", [("left", [[2, 2], [32, 2], [5, 9]]), ("right", SQUARE)])


def image_without_annotation(root: Path) -> None:
    (root / "train/outputs_json/A/a1.json").unlink()


def annotation_without_image(root: Path) -> None:
    (root / "train/DCM/A/a1.png").unlink()


def two_images_of_one_name(root: Path) -> None:
    add(root, "train", "A/b1")


FAULTS: dict[Callable[[Path], None], tuple[str, ...]] = {
    unreadable_png: ("train/DCM/A/a1.png", "an image that OpenCV can decode"),
    broken_json: ("train/outputs_json/A/a1.json", "JSON"),
    unknown_label: ("train/outputs_json/A/a1.json", "rigth", "did you mean right?"),
    missing_class: ("train/outputs_json/A/a1.json", "all 2 classes", "without right", "data.allow_missing"),
    too_few_points: ("train/outputs_json/A/a1.json", "annotation 0 (left)", "at least 3", "found 2"),
    points_outside: ("train/outputs_json/A/a1.json", "annotation 0 (left)", "32x24", "(32, 2)"),
    image_without_annotation: ("train/DCM/A/a1.png", "annotation"),
    annotation_without_image: ("train/outputs_json/A/a1.json", "an image"),
    two_images_of_one_name: ("A/b1", "B/b1"),
}


@pytest.mark.parametrize("spoil", FAULTS, ids=lambda spoil: spoil.__name__)
def test_each_kind_of_bad_data_is_one_clear_error(root: Path, spoil: Callable[[Path], None]) -> None:
    spoil(root)
    with pytest.raises(UserError) as error:
        main()
    told = str(error.value)
    assert "1 problem\n" in told
    assert all(part in told for part in (*FAULTS[spoil], "expected", "found"))
    assert not Path("data/cache").exists()


def test_all_bad_samples_are_told_at_once(root: Path) -> None:
    for key in ["A/a2", "A/a3", "B/b2"]:
        add(root, "train", key)
    unreadable_png(root)
    annotate(root, "A/a2", [("left", SQUARE)])
    annotate(root, "A/a3", [("left", SQUARE[:1]), ("wrong", SQUARE)])
    (root / "test/DCM/C/c1.png").write_bytes(b"")
    with pytest.raises(UserError) as error:
        main()
    told = str(error.value)
    assert all(name in told for name in ("A/a1.png", "A/a2.json", "A/a3.json", "test/DCM/C/c1.png", "wrong", "found 1"))
    assert "b2" not in told


def test_a_mistake_ends_without_a_traceback(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    unreadable_png(root)
    with pytest.raises(SystemExit) as end:
        run(main)
    assert "a1.png" in str(end.value.code)
    assert "Traceback" not in str(end.value.code) + capsys.readouterr().err


@pytest.mark.parametrize("name", ["A", "A/a1"])
def test_a_bad_sample_can_be_left_out(root: Path, name: str) -> None:
    add(root, "train", "B/b2")
    unreadable_png(root)
    write_params(Path(), exclude=[name])
    main()
    assert read_table(Path("data/cache/train/index.csv"))["key"].tolist() == ["B/b1", "B/b2"]
    assert read_table(Path("data/cache/test/index.csv"))["key"].tolist() == ["C/c1"]


def test_absent_classes_are_admitted_where_params_say_so(root: Path) -> None:
    missing_class(root)
    annotate(root, "B/b1", [])
    write_params(Path(), allow_missing=True)
    main()
    areas = read_table(Path("data/cache/train/areas.csv"))
    assert areas.groupby("key")["pixels"].agg(list).to_dict() == {"A/a1": [121, 0], "B/b1": [0, 0]}
    masks = read_masks(Path("data/cache/train/B/b1.npz"))
    assert masks is not None and not masks.unpack().dense().any()


def test_the_index_and_the_reports_say_what_is_there(root: Path) -> None:
    main()
    train, test = (pd.read_csv(f"data/cache/{subset}/index.csv") for subset in ("train", "test"))
    assert train.columns.tolist() == test.columns.tolist() == COLUMNS
    assert train[COLUMNS[:-1]].to_numpy().tolist() == [["A/a1", "A", "a1.png", 24, 32], ["B/b1", "B", "b1.png", 24, 32]]
    assert test[COLUMNS[:-1]].to_numpy().tolist() == [["C/c1", "C", "c1.png", 24, 32]]
    report = json.loads(Path("reports/data.json").read_text())
    assert report["train"] == {"images": 2, "people": 2}
    assert report["classes"]["left"] == {"images": 2, "mean_area_px": 121.0}
    assert report["sizes"] == {"32x24": 3}
    assert report["painter"].startswith("OpenCV 4.")


def test_what_is_known_of_people_stands_in_the_index(root: Path) -> None:
    (root / "people.csv").write_text("person,wrist,group name\nC,bent,\nZ,bent,1\nA,straight,2\n")
    main()
    tables = [pd.read_csv(f"data/cache/{subset}/index.csv", dtype=str, keep_default_na=False) for subset in ("train", "test")]
    assert all(table.columns.tolist() == [*COLUMNS, "person_wrist", "person_group name"] for table in tables)
    columns = ["person", "person_wrist", "person_group name"]
    assert pd.concat(tables)[columns].to_numpy().tolist() == [["A", "straight", "2"], ["B", "", ""], ["C", "bent", ""]]


def test_a_bad_table_of_people_is_told_before_anything_is_made(root: Path) -> None:
    (root / "people.csv").write_text("name,wrist\nC,bent\n")
    with pytest.raises(UserError, match=r"people\.csv.*\n.*a column person"):
        main()
    assert not Path("data/cache").exists()


def test_clahe_is_applied_to_both_subsets(root: Path) -> None:
    params = yaml.safe_load(Path("params.yaml").read_text())
    params["preprocess"]["clahe"] = 2.0
    Path("params.yaml").write_text(yaml.safe_dump(params))
    main()
    for subset, key in [("train", "A/a1"), ("test", "C/c1")]:
        grey = cv2.cvtColor(cv2.imread(str(root / subset / "DCM" / f"{key}.png")), cv2.COLOR_BGR2GRAY)
        image = read_sample(Path(f"data/cache/{subset}/{key}.npz")).image
        assert np.array_equal(image, cv2.createCLAHE(2.0, (8, 8)).apply(grey))


def test_the_same_data_give_the_same_bytes(root: Path) -> None:
    main()
    first = {path: path.read_bytes() for path in Path("data/cache").rglob("*.*")}
    main()
    assert first == {path: path.read_bytes() for path in Path("data/cache").rglob("*.*")}

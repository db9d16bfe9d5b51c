"""Bad data end in one error that lists every fault, and leave no cache behind."""

import json
import os
import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from stages.preprocess import main

from conftest import Fails
from handbone.cache.sample import read_masks, read_sample
from handbone.utils.errors import UserError, run_cli
from handbone.utils.io import read_table
from params_file import write_params

CLASSES = ["left", "right"]
COLUMNS = ["key", "person", "image_name", "height", "width", "sha256"]
SQUARE = [[2, 2], [12, 2], [12, 12], [2, 12]]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_one_process: None) -> Path:
    """A small data set without faults; the working directory is its project."""
    monkeypatch.chdir(tmp_path)
    for subset, people in [("train", ["A", "B"]), ("test", ["C"])]:
        for person in people:
            add(tmp_path / "data/raw", subset, f"{person}/{person.lower()}1")
    write_params({"data.root": "data/raw", "data.classes": CLASSES})
    return tmp_path / "data/raw"


def add(root: Path, subset: str, key: str) -> None:
    image = root / subset / "DCM" / f"{key}.png"
    image.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(image), np.random.default_rng(list(key.encode())).integers(0, 256, (24, 32, 3), np.uint8))
    if subset == "train":
        annotate(root, key, [(name, SQUARE) for name in CLASSES])


def annotate(root: Path, key: str, polygons: list[tuple[str, list[list[int]]]]) -> None:
    path = root / "train/outputs_json" / f"{key}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"annotations": [{"label": label, "points": points} for label, points in polygons]}))


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
    annotate(root, "A/a1", [("left", [[2, 2], [33, 2], [5, 9]]), ("right", SQUARE)])


def image_without_annotation(root: Path) -> None:
    (root / "train/outputs_json/A/a1.json").unlink()


def annotation_without_image(root: Path) -> None:
    (root / "train/DCM/A/a1.png").unlink()


def two_images_of_one_name(root: Path) -> None:
    add(root, "train", "A/b1")


FAULTS: dict[Callable[[Path], None], tuple[str, str]] = {
    unreadable_png: ("image.decode", "train/DCM/A/a1.png"),
    broken_json: ("annotation.json", "train/outputs_json/A/a1.json"),
    unknown_label: ("annotation.label", "train/outputs_json/A/a1.json: annotation 2"),
    missing_class: ("annotation.class_missing", "train/outputs_json/A/a1.json"),
    too_few_points: ("annotation.points", "train/outputs_json/A/a1.json: annotation 0"),
    points_outside: ("annotation.outside", "train/outputs_json/A/a1.json: annotation 0"),
    image_without_annotation: ("layout.pairing", "train/DCM/A/a1.png"),
    annotation_without_image: ("layout.pairing", "train/outputs_json/A/a1.json"),
    two_images_of_one_name: ("layout.image_name", "A/b1.png"),
}


@pytest.mark.parametrize("spoil", FAULTS, ids=lambda spoil: spoil.__name__)
def test_each_kind_of_bad_data_is_one_clear_error(root: Path, spoil: Callable[[Path], None], fails: Fails) -> None:
    spoil(root)
    with fails(*FAULTS[spoil]) as error:
        main()
    assert len(error.value.problems) == 1
    assert not Path("data/cache").exists()


def test_without_a_test_set_the_index_is_empty_and_a_warning_says_so(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(root / "test")
    main()
    index = read_table(Path("data/cache/test/index.csv"))
    assert list(index.columns) == COLUMNS and index.empty
    assert len(read_table(Path("data/cache/train/index.csv"))) == 2
    assert "data/raw/test/DCM: expected test images; found none" in capsys.readouterr().err
    report = json.loads(Path("reports/data.json").read_text())
    assert "test" not in report and len(report["warnings"]) == 1


def test_the_faults_of_all_samples_are_in_one_error(root: Path) -> None:
    for key in ["A/a2", "A/a3", "B/b2"]:
        add(root, "train", key)
    unreadable_png(root)
    annotate(root, "A/a2", [("left", SQUARE)])
    annotate(root, "A/a3", [("left", SQUARE[:1]), ("wrong", SQUARE)])
    (root / "test/DCM/C/c1.png").write_bytes(b"")
    with pytest.raises(UserError) as error:
        main()
    found = [(problem.code, Path(problem.place.split(":")[0]).name) for problem in error.value.problems]
    assert found == [
        ("image.decode", "a1.png"),
        ("annotation.class_missing", "a2.json"),
        ("annotation.points", "a3.json"),
        ("annotation.label", "a3.json"),
        ("annotation.class_missing", "a3.json"),
        ("image.decode", "c1.png"),
    ]
    assert not Path("data/cache").exists()


def test_a_mistake_ends_without_a_traceback(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    unreadable_png(root)
    with pytest.raises(SystemExit) as end:
        run_cli(main)
    assert "a1.png" in str(end.value.code)
    assert "Traceback" not in str(end.value.code) + capsys.readouterr().err


@pytest.mark.parametrize("name", ["A", "A/a1"])
def test_a_bad_sample_can_be_excluded(root: Path, name: str) -> None:
    add(root, "train", "B/b2")
    unreadable_png(root)
    write_params({"data.exclude": [name]})
    main()
    assert read_table(Path("data/cache/train/index.csv"))["key"].tolist() == ["B/b1", "B/b2"]
    assert read_table(Path("data/cache/test/index.csv"))["key"].tolist() == ["C/c1"]


def test_missing_classes_can_be_allowed_by_params(root: Path) -> None:
    missing_class(root)
    annotate(root, "B/b1", [])
    write_params({"data.allow_missing": True})
    main()
    areas = read_table(Path("data/cache/train/areas.csv"))
    assert areas.groupby("key")["pixels"].agg(list).to_dict() == {"A/a1": [121, 0], "B/b1": [0, 0]}
    assert not read_masks(Path("data/cache/train/B/b1.npz")).unpack().dense().any()


def test_the_indexes_and_the_report_describe_the_data(root: Path) -> None:
    main()
    train, test = (pd.read_csv(f"data/cache/{subset}/index.csv") for subset in ("train", "test"))
    assert train.columns.tolist() == test.columns.tolist() == COLUMNS
    assert train[COLUMNS[:-1]].to_numpy().tolist() == [["A/a1", "A", "a1.png", 24, 32], ["B/b1", "B", "b1.png", 24, 32]]
    assert test[COLUMNS[:-1]].to_numpy().tolist() == [["C/c1", "C", "c1.png", 24, 32]]
    report = json.loads(Path("reports/data.json").read_text())
    assert report["train"] == {"images": 2, "people": 2}
    assert report["classes"]["left"] == {"images": 2, "mean_area_px": 121.0}
    assert report["sizes"] == {"32x24": 3}
    assert report["points"]["left"] == {"polygons": 2, "min": 4, "median": 4.0, "max": 4}
    assert report["rasterizer"].startswith("OpenCV 4.")
    assert report["warnings"] == []


def test_attributes_of_people_are_in_both_indexes(root: Path) -> None:
    (root / "train/people.csv").write_text("person,wrist,group name\nC,bent,\nZ,bent,1\nA,straight,2\n")
    main()
    tables = [pd.read_csv(f"data/cache/{subset}/index.csv", dtype=str, keep_default_na=False) for subset in ("train", "test")]
    assert all(table.columns.tolist() == [*COLUMNS, "person_wrist", "person_group name"] for table in tables)
    columns = ["person", "person_wrist", "person_group name"]
    assert pd.concat(tables)[columns].to_numpy().tolist() == [["A", "straight", "2"], ["B", "", ""], ["C", "bent", ""]]


def test_a_bad_table_of_people_is_an_error_before_any_sample_is_cached(root: Path, fails: Fails) -> None:
    (root / "train/people.csv").write_text("name,wrist\nC,bent\n")
    with fails("people.column", "train/people.csv"):
        main()
    assert not Path("data/cache").exists()


def test_classes_of_another_data_set_are_one_error_before_any_image_is_read(root: Path, fails: Fails) -> None:
    write_params({"data.classes": ["Radius", "Ulna"]})
    unreadable_png(root)
    with fails("annotation.labels", "params.yaml: data.classes") as error:
        main()
    assert '["left", "right"]' in error.value.problems[0].fix


def test_files_of_editors_and_systems_do_not_change_the_cache(root: Path) -> None:
    """DVC ignores these files, so they must not matter."""
    main()
    first = cached_files()
    for name in ("train/DCM/A/._a1.png", "train/outputs_json/A/._a1.json", "test/DCM/C/.DS_Store", "train/Thumbs.db", "test/DCM/C/c1.png~"):
        (root / name).write_bytes(b"not an image")
    main()
    assert cached_files() == first


def test_clahe_is_applied_to_both_subsets(root: Path) -> None:
    write_params({"preprocess.clahe": 2.0})
    main()
    for subset, key in [("train", "A/a1"), ("test", "C/c1")]:
        grey = cv2.cvtColor(cv2.imread(str(root / subset / "DCM" / f"{key}.png")), cv2.COLOR_BGR2GRAY)
        image = read_sample(Path(f"data/cache/{subset}/{key}.npz")).image
        assert np.array_equal(image, cv2.createCLAHE(2.0, (8, 8)).apply(grey))


def test_the_same_data_give_the_same_bytes(root: Path) -> None:
    main()
    first = cached_files()
    main()
    assert cached_files() == first


def cached_files() -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in Path("data/cache").rglob("*.*")}


@pytest.mark.parametrize("label", [["left"], {"left": True}, 7, None])
def test_a_label_that_is_no_text_does_not_hide_the_other_faults(root: Path, label: object) -> None:
    (root / "train/outputs_json/A/a1.json").write_text(json.dumps({"annotations": [{"label": label, "points": SQUARE}]}))
    unknown = {"annotations": [{"label": "lft", "points": SQUARE}, {"label": "right", "points": SQUARE}]}
    (root / "train/outputs_json/B/b1.json").write_text(json.dumps(unknown))
    with pytest.raises(UserError) as error:
        main()
    assert {problem.code for problem in error.value.problems if "a1.json" in problem.place} == {
        "annotation.polygon",
        "annotation.class_missing",
    }
    assert {problem.code for problem in error.value.problems if "b1.json" in problem.place} == {
        "annotation.label",
        "annotation.class_missing",
    }


def test_special_files_and_bombs_do_not_hide_the_other_faults(root: Path) -> None:
    for key in ("A/a2", "A/a3"):
        add(root, "train", key)
    (root / "train/DCM/A/a1.png").unlink()
    os.mkfifo(root / "train/DCM/A/a1.png")
    (root / "train/outputs_json/A/a2.json").unlink()
    os.mkfifo(root / "train/outputs_json/A/a2.json")
    annotate(root, "A/a3", [("left", SQUARE[:2]), ("right", SQUARE)])
    with pytest.raises(UserError) as error:
        main()
    assert [problem.code for problem in error.value.problems] == ["image.read", "annotation.json", "annotation.points"]


def test_the_limit_of_pixels_is_a_parameter(root: Path, fails: Fails) -> None:
    write_params({"preprocess.max_pixels": 24 * 32 - 1})
    with fails("image.pixels", "a1.png", "b1.png", "c1.png"):
        main()


def test_points_on_the_right_and_lower_edge_are_the_last_pixels(root: Path) -> None:
    annotate(
        root, "A/a1", [("left", [[20, 10], [32, 10], [32, 24], [20, 24]]), ("right", [[20, 10], [31.6, 10], [31.6, 23.6], [20, 23.6]])]
    )
    main()
    areas = read_table(Path("data/cache/train/areas.csv"))
    assert areas[areas["key"] == "A/a1"]["pixels"].tolist() == [12 * 14, 12 * 14]


def warnings(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The warnings on stderr, which are the ones in the report."""
    lines = [line.removeprefix("WARNING: ") for line in capsys.readouterr().err.splitlines() if line.startswith("WARNING: ")]
    assert json.loads(Path("reports/data.json").read_text())["warnings"] == lines
    return lines


def test_what_the_whole_set_shows_is_a_warning(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_params({"data.classes": [*CLASSES, "middle"], "data.allow_missing": True})
    (root / "test/DCM/C/c1.png").write_bytes((root / "train/DCM/A/a1.png").read_bytes())
    cv2.imwrite(str(root / "train/DCM/B/b1.png"), np.full((24, 32), 9, np.uint8))
    (root / "train/people.csv").write_text("person,sex\nC,f\n")
    main()
    people, never, constant, equal = warnings(capsys)
    assert people.startswith("data/raw/train/people.csv: ")
    assert never.startswith("class middle: ")
    assert constant.startswith("train/B/b1: ")
    assert equal.startswith("train/A/a1 = test/C/c1: ")


def test_exclusive_classes_do_not_overlap_in_the_cache(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_params({"data.exclusive": True, "train.loss": {"cross_entropy": 1.0}, "decide.threshold": None})
    annotate(root, "A/a1", [("right", SQUARE), ("left", [[2, 2], [12, 2], [12, 20], [2, 20]])])
    main()
    masks = read_masks(Path("data/cache/train/A/a1.npz")).unpack()
    assert masks.boxes.tolist() == [[13, 2, 21, 13], [2, 2, 13, 13]], "the later class of data.classes is in front"
    assert "42.31% of the drawn pixels in 2 images" in capsys.readouterr().err
    areas = read_table(Path("data/cache/train/areas.csv")).set_index(["key", "class"])["pixels"]
    assert areas["A/a1", "left"] == 8 * 11 and areas["A/a1", "right"] == 11 * 11


def test_sound_data_have_no_warning(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main()
    assert warnings(capsys) == []


def test_a_table_that_fits_nobody_is_an_error_that_names_both_sides(root: Path, fails: Fails) -> None:
    (root / "train/people.csv").write_text("person,sex\n001,f\n")
    with fails("people.nobody", "people.csv") as error:
        main()
    assert all(name in error.value.problems[0].found for name in ("001", "A", "B", "C"))
    write_params({"data.exclude": ["A"]})
    (root / "train/people.csv").write_text("person,sex\nA,f\n")
    main()


def test_faults_of_folders_and_of_the_table_are_in_one_error(root: Path) -> None:
    (root / "people.csv").write_text("person,sex\n1,f\n")
    (root / "test/DCM/C/c2.jpg").write_bytes(b"")
    with pytest.raises(UserError) as error:
        main()
    assert error.value.codes == {"layout.unknown", "people.place"}


def test_decomposed_names_give_one_sample(root: Path) -> None:
    """As macOS and its archives write Hangul."""
    apart = unicodedata.normalize("NFD", "홍길동")
    add(root, "train", f"{apart}/{apart}1")
    (root / f"train/outputs_json/{apart}").rename(root / "train/outputs_json/홍길동")
    (root / "train/people.csv").write_text("person,sex\n홍길동,m\n", encoding="utf-8")
    main()
    index = read_table(Path("data/cache/train/index.csv"))
    assert index["person_sex"].tolist() == ["", "", "m"]
    assert index["key"].tolist()[2] == f"{apart}/{apart}1"


def test_a_cache_that_cannot_be_written_leaves_none(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        Path("data/cache/train/A").mkdir(parents=True)
        raise KeyboardInterrupt

    monkeypatch.setattr("stages.preprocess.map_samples", interrupt)
    with pytest.raises(KeyboardInterrupt):
        main()
    assert not Path("data/cache").exists()

"""JSON to polygons, and every fault of a file."""

import json
from pathlib import Path
from typing import Any

import pytest

from handbone.dataset.annotation import read_polygons

CLASSES = ["a", "b", "c"]
TRIANGLE = [[1, 1], [5, 1], [1, 5]]


def write(path: Path, annotations: Any) -> Path:
    document = {"annotations": annotations, "metadata": {"height": 3060, "width": 3060}, "filename": "x.jpg"}
    path.write_text(json.dumps(document))
    return path


def faults(path: Path, allow_missing: bool = False) -> str:
    return "\n".join(map(str, read_polygons(path, CLASSES, (8, 10), allow_missing)[1]))


def polygon(label: Any, points: Any = TRIANGLE) -> dict[str, Any]:
    return {"type": "poly_seg", "label": label, "points": points}


def test_polygons_come_in_class_order_whatever_the_files(tmp_path: Path) -> None:
    path = write(
        tmp_path / "x.json", [polygon("c"), polygon("a", [[0, 0], [9, 0], [9, 7]]), polygon("b"), polygon("c", [[2, 2], [3, 2], [3, 3]])]
    )
    polygons, problems = read_polygons(path, CLASSES, (8, 10), allow_missing=False)
    assert not problems
    assert [len(own) for own in polygons] == [1, 1, 2]
    assert polygons[0][0].tolist() == [[0, 0], [9, 0], [9, 7]]


def test_points_are_rounded(tmp_path: Path) -> None:
    path = write(tmp_path / "x.json", [polygon("a", [[0.4, 0.6], [9.2, 0], [4, 7.4]])])
    polygons, problems = read_polygons(path, CLASSES, (8, 10), allow_missing=True)
    assert not problems
    assert polygons[0][0].tolist() == [[0, 1], [9, 0], [4, 7]]


@pytest.mark.parametrize(
    ("annotation", "told"),
    [
        (polygon("d"), "unknown label 'd'"),
        (polygon("a", [[1, 1], [2, 2]]), "found 2"),
        (polygon("a", []), "found 0"),
        (polygon("a", [[1, 1], [10, 1], [1, 5]]), "(10, 1)"),
        (polygon("a", [[1, 1], [9, 8], [1, 5]]), "(9, 8)"),
        (polygon("a", [[-1, 1], [9, 7], [1, 5]]), "(-1, 1)"),
        (polygon("a", "round"), "round"),
        (polygon("a", [[1, 1], [2], [1, 5]]), "[2]"),
        (polygon("a", [[1, 1, 2], [5, 1, 2], [5, 5, 2], [1, 5, 2]]), "[[x, y], ...]"),
        (polygon("a", [1, 1, 5, 1, 1, 5]), "[[x, y], ...]"),
        (polygon("a", [[1, 1], [None, 3], [1, 5]]), "3 finite points"),
        (polygon(7), "label"),
        ("text", "text"),
    ],
)
def test_a_bad_polygon_is_told(tmp_path: Path, annotation: Any, told: str) -> None:
    path = write(tmp_path / "x.json", [polygon("b"), annotation, polygon("c")])
    assert told in faults(path, allow_missing=True)
    assert "x.json: annotation 1" in faults(path, allow_missing=True)


def test_all_faults_of_a_file_are_told(tmp_path: Path) -> None:
    path = write(tmp_path / "x.json", [polygon("d", [[99, 0], [1, 1]]), polygon("a")])
    told = faults(path)
    assert "unknown label" in told and "found 2" in told and "(99, 0)" in told and "without b, c" in told


def test_absent_classes_may_be_admitted(tmp_path: Path) -> None:
    for annotations in ([polygon("a")], []):
        assert not faults(write(tmp_path / "x.json", annotations), allow_missing=True)
        assert "without" in faults(write(tmp_path / "x.json", annotations))


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"annotations": 3}', "\x00"])
def test_what_is_no_annotation_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    assert "x.json" in faults(tmp_path / "x.json")


def test_bytes_that_are_no_text_are_told(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_bytes(b"\xff\xfe\x00")
    assert "x.json" in faults(tmp_path / "x.json")

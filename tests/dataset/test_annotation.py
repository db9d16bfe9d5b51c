"""JSON to polygons, and every fault of a file."""

import json
from pathlib import Path
from typing import Any

import pytest

from handbone.dataset.annotation import read_polygons
from handbone.utils.errors import Problem

CLASSES = ["a", "b", "c"]
TRIANGLE = [[1, 1], [5, 1], [1, 5]]


def write(path: Path, annotations: Any) -> Path:
    document = {"annotations": annotations, "metadata": {"height": 3060, "width": 3060}, "filename": "x.jpg"}
    path.write_text(json.dumps(document))
    return path


def problems_of(path: Path, allow_missing: bool = False) -> list[Problem]:
    return read_polygons(path, CLASSES, (8, 10), allow_missing)[1]


def polygon(label: Any, points: Any = TRIANGLE) -> dict[str, Any]:
    return {"type": "poly_seg", "label": label, "points": points}


def test_polygons_come_in_class_order_with_any_order_in_the_file(tmp_path: Path) -> None:
    path = write(
        tmp_path / "x.json", [polygon("c"), polygon("a", [[0, 0], [9, 0], [9, 7]]), polygon("b"), polygon("c", [[2, 2], [3, 2], [3, 3]])]
    )
    polygons, problems = read_polygons(path, CLASSES, (8, 10), allow_missing=False)
    assert not problems
    assert [len(of_class) for of_class in polygons] == [1, 1, 2]
    assert polygons[0][0].tolist() == [[0, 0], [9, 0], [9, 7]]


def test_points_are_rounded(tmp_path: Path) -> None:
    path = write(tmp_path / "x.json", [polygon("a", [[0.4, 0.6], [9.2, 0], [4, 7.4]])])
    polygons, problems = read_polygons(path, CLASSES, (8, 10), allow_missing=True)
    assert not problems
    assert polygons[0][0].tolist() == [[0, 1], [9, 0], [4, 7]]


@pytest.mark.parametrize(
    ("annotation", "code", "found"),
    [
        (polygon("d"), "annotation.label", "'d'"),
        (polygon("a", [[1, 1], [2, 2]]), "annotation.points", "2"),
        (polygon("a", []), "annotation.points", "0"),
        (polygon("a", [[1, 1], [10, 1], [1, 5]]), "annotation.outside", "(10, 1)"),
        (polygon("a", [[1, 1], [9, 8], [1, 5]]), "annotation.outside", "(9, 8)"),
        (polygon("a", [[-1, 1], [9, 7], [1, 5]]), "annotation.outside", "(-1, 1)"),
        (polygon("a", "round"), "annotation.points", "round"),
        (polygon("a", [[1, 1], [2], [1, 5]]), "annotation.points", "[2]"),
        (polygon("a", [[1, 1, 2], [5, 1, 2], [5, 5, 2], [1, 5, 2]]), "annotation.points", "[1, 1, 2]"),
        (polygon("a", [1, 1, 5, 1, 1, 5]), "annotation.points", "[1, 1, 5, 1, 1, 5]"),
        (polygon("a", [[1, 1], [None, 3], [1, 5]]), "annotation.points", "1"),
        (polygon(7), "annotation.polygon", "7"),
        ("text", "annotation.polygon", "text"),
    ],
)
def test_a_bad_polygon_is_a_problem(tmp_path: Path, annotation: Any, code: str, found: str) -> None:
    (problem,) = problems_of(write(tmp_path / "x.json", [polygon("b"), annotation, polygon("c")]), allow_missing=True)
    assert problem.code == code
    assert found in problem.found
    assert "x.json: annotation 1" in problem.place


def test_the_nearest_class_is_offered_for_an_unknown_label(tmp_path: Path) -> None:
    path = write(tmp_path / "x.json", [polygon("rigth")])
    _, (problem,) = read_polygons(path, ["left", "right"], (8, 10), allow_missing=True)
    assert "right" in problem.fix


def test_all_faults_of_a_file_are_collected(tmp_path: Path) -> None:
    problems = problems_of(write(tmp_path / "x.json", [polygon("d", [[99, 0], [1, 1]]), polygon("a")]))
    assert [problem.code for problem in problems] == [
        "annotation.label",
        "annotation.points",
        "annotation.outside",
        "annotation.class_missing",
    ]
    assert "b, c" in problems[-1].found


def test_missing_classes_can_be_allowed(tmp_path: Path) -> None:
    for annotations in ([polygon("a")], []):
        path = write(tmp_path / "x.json", annotations)
        assert not problems_of(path, allow_missing=True)
        assert [problem.code for problem in problems_of(path)] == ["annotation.class_missing"]


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "annotation.json"),
        (b"{", "annotation.json"),
        (b"\x00", "annotation.json"),
        (b"\xff\xfe\x00", "annotation.json"),
        (b"[]", "annotation.list"),
        (b"{}", "annotation.list"),
        (b'{"annotations": 3}', "annotation.list"),
    ],
)
def test_a_file_that_is_no_annotation_is_one_problem(tmp_path: Path, content: bytes, code: str) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(content)
    (problem,) = problems_of(path)
    assert (problem.code, problem.place) == (code, str(path))


def test_a_file_that_is_missing_is_one_problem(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path / "x.json")
    assert (problem.code, problem.place) == ("annotation.json", str(tmp_path / "x.json"))

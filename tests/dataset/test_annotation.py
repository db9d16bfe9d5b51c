"""JSON to polygons, and every fault of a file."""

import json
import os
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from handbone.dataset.annotation import read_polygons
from handbone.masks.rasterize import rasterize
from handbone.utils.errors import Problem

CLASSES = ["a", "b", "c"]
TRIANGLE = [[1, 1], [5, 1], [1, 5]]


def write(path: Path, annotations: Any) -> Path:
    document = {"annotations": annotations, "metadata": {"height": 3060, "width": 3060}, "filename": "x.jpg"}
    path.write_text(json.dumps(document))
    return path


def write_bytes(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
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
        (polygon("a", [[1, 1], [11, 1], [1, 5]]), "annotation.outside", "(11, 1)"),
        (polygon("a", [[1, 1], [9, 8.6], [1, 5]]), "annotation.outside", "(9, 8.6)"),
        (polygon("a", [[-1, 1], [9, 7], [1, 5]]), "annotation.outside", "(-1, 1)"),
        (polygon("a", [[1, 1], [-0.6, 7], [1, 5]]), "annotation.outside", "(-0.6, 7)"),
        (polygon("a", [[1, 1], [1e300, 7], [1, 5]]), "annotation.outside", "(1e+300, 7)"),
        (polygon("a", [[1, 1], [float("nan"), 7], [1, 5]]), "annotation.points", "point 1 is (nan, 7)"),
        (polygon("a", [[1, 1], [2, 7], [1, float("-inf")]]), "annotation.points", "point 2 is (1, -inf)"),
        (polygon("a", [[1, 1], [10**400, 7], [1, 5]]), "annotation.points", "[[1, 1]"),
        (polygon("a", [["1", "1"], ["5", "1"], ["1", "5"]]), "annotation.points", "'1'"),
        (polygon("a", [[True, False], [5, 1], [1, 5]]), "annotation.points", "True"),
        (polygon("a", {"x": 1}), "annotation.points", "{'x': 1}"),
        (polygon("a", [[3, 3], [3, 3], [3, 3]]), "annotation.no_area", "a line"),
        (polygon("a", [[1, 1], [5, 5], [3, 3], [1, 1]]), "annotation.no_area", "a line"),
        (polygon("a", [[3.1, 3.2], [3.3, 3.1], [3.2, 2.9]]), "annotation.no_area", "a point"),
        (polygon("a", "round"), "annotation.points", "round"),
        (polygon("a", [[1, 1], [2], [1, 5]]), "annotation.points", "[2]"),
        (polygon("a", [[1, 1, 2], [5, 1, 2], [5, 5, 2], [1, 5, 2]]), "annotation.points", "[1, 1, 2]"),
        (polygon("a", [1, 1, 5, 1, 1, 5]), "annotation.points", "[1, 1, 5, 1, 1, 5]"),
        (polygon("a", [[1, 1], [None, 3], [1, 5]]), "annotation.points", "None"),
        (polygon(7), "annotation.polygon", "7"),
        (polygon(["a"]), "annotation.polygon", "['a']"),
        (polygon({"a": True}), "annotation.polygon", "{'a': True}"),
        (polygon("\ud800"), "annotation.label", "ud800"),
        (None, "annotation.polygon", "None"),
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
        (b'{"annotations": [], "annotations": [3]}', "annotation.json"),
        (b'{"annotations": [' + b"9" * 5000 + b"]}", "annotation.json"),
        (b"[" * 100_000, "annotation.json"),
        ('{"annotations": []}'.encode("utf-16"), "annotation.json"),
        ('{"annotations": []}'.encode("utf-16-le"), "annotation.json"),
        ('{"annotations": ["여"]}'.encode("cp949"), "annotation.json"),
    ],
)
def test_a_file_that_is_no_annotation_is_one_problem(tmp_path: Path, content: bytes, code: str) -> None:
    (problem,) = problems_of(write_bytes(tmp_path / "x.json", content))
    assert (problem.code, problem.place) == (code, str(tmp_path / "x.json"))


def test_a_file_that_is_missing_is_one_problem(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path / "x.json")
    assert (problem.code, problem.place) == ("annotation.json", str(tmp_path / "x.json"))


def test_points_on_the_edges_and_a_rounding_beyond_belong_to_the_last_pixel(tmp_path: Path) -> None:
    """As CVAT and labelme export them: x = width is the right edge of the last pixel."""
    path = write(tmp_path / "x.json", [polygon("a", [[-0.5, 0], [10, -0.4], [9.6, 8], [10.5, 8.5], [0, 7.6]])])
    polygons, problems = read_polygons(path, CLASSES, (8, 10), allow_missing=True)
    assert not problems
    assert polygons[0][0].tolist() == [[0, 0], [9, 0], [9, 7], [9, 7], [0, 7]]


def test_a_polygon_that_crosses_itself_has_an_area(tmp_path: Path) -> None:
    """Its two halves have opposite signs, so that the usual formula gives 0."""
    assert not problems_of(write(tmp_path / "x.json", [polygon("a", [[1, 1], [5, 5], [5, 1], [1, 5]])]), allow_missing=True)


def test_relative_coordinates_are_one_fault_of_the_file(tmp_path: Path) -> None:
    relative = [polygon(name, [[0.1, 0.2], [0.9, 0.2], [0.5, 1]]) for name in CLASSES]
    (problem,) = problems_of(write(tmp_path / "x.json", relative))
    assert (problem.code, problem.place) == ("annotation.relative", str(tmp_path / "x.json"))
    assert "multiply" in problem.fix
    assert not problems_of(write(tmp_path / "x.json", [polygon("a", [[0, 0], [1, 0], [1, 1]])]), allow_missing=True)  # pixels in the corner
    assert not problems_of(write(tmp_path / "x.json", [polygon("a", [[0.2, 0], [9, 0.3], [1, 5]])]), allow_missing=True)


def test_labels_are_compared_in_composed_form(tmp_path: Path) -> None:
    name = "요골"
    path = write(tmp_path / "x.json", [polygon(unicodedata.normalize("NFD", name))])
    for classes in ([name], [unicodedata.normalize("NFD", name)]):
        polygons, problems = read_polygons(path, classes, (8, 10), allow_missing=False)
        assert not problems
        assert len(polygons[0]) == 1


def test_a_byte_order_mark_is_not_part_of_the_json(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps({"annotations": [polygon("a")]}), encoding="utf-8-sig")
    assert not problems_of(path, allow_missing=True)


def test_a_named_pipe_does_not_wait_for_ever(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.json")
    (problem,) = problems_of(tmp_path / "x.json")
    assert (problem.code, problem.found) == ("annotation.json", "a named pipe")


def test_a_file_too_large_for_polygons_is_one_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("handbone.dataset.annotation.MAX_BYTES", 40)
    assert not problems_of(write_bytes(tmp_path / "x.json", b'{"annotations": []}'.ljust(40)), allow_missing=True)
    assert [problem.code for problem in problems_of(write_bytes(tmp_path / "x.json", b" " * 41))] == ["annotation.json"]


def test_the_number_of_polygons_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("handbone.dataset.annotation.MAX_POLYGONS", 2)
    assert not problems_of(write(tmp_path / "x.json", [polygon("a")] * 2), allow_missing=True)
    assert [problem.code for problem in problems_of(write(tmp_path / "x.json", [polygon("a")] * 3))] == ["annotation.list"]


def test_any_other_exception_is_a_fault_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    path = write(tmp_path / "x.json", [polygon("a")])
    monkeypatch.setattr(json, "loads", fail)
    (problem,) = problems_of(path)
    assert (problem.code, problem.place, problem.found) == ("sample.unreadable", str(path), "MemoryError")


def test_without_an_image_the_other_faults_are_found(tmp_path: Path) -> None:
    path = write(tmp_path / "x.json", [polygon("d"), polygon("a", [[9999, 1], [1, 1], [1, 5]])])
    assert [problem.code for problem in read_polygons(path, CLASSES, None, allow_missing=True)[1]] == ["annotation.label"]


def mask(label: str = "a", **changes: Any) -> dict[str, Any]:
    return {"label": label, "type": "rle", "size": [8, 10], "rle": "12 3 22 1 24 1 32 3 80 1"} | changes


def test_a_mask_is_read_to_the_pixel(tmp_path: Path) -> None:
    """Also with a hole, and with a single pixel, which as a polygon would have no area."""
    polygons, problems = read_polygons(write(tmp_path / "x.json", [mask(), polygon("b")]), CLASSES, (8, 10), allow_missing=True)
    assert not problems
    painted = rasterize(polygons, (8, 10)).dense()[0]
    expected = np.zeros(80, bool)
    expected[[11, 12, 13, 21, 23, 31, 32, 33, 79]] = True
    assert np.array_equal(painted.ravel(), expected)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"size": [10, 8]}, "annotation.mask_size"),
        ({"size": None}, "annotation.mask_size"),
        ({"size": [8.0, 10]}, "annotation.mask_size"),
        ({"rle": ""}, "annotation.mask"),
        ({"rle": None}, "annotation.mask"),
        ({"rle": "1 81"}, "annotation.mask"),
        ({"rle": "5 2 1 1"}, "annotation.mask"),
        ({"rle": "1 2 x"}, "annotation.mask"),
        ({"label": "d"}, "annotation.label"),
    ],
)
def test_a_bad_mask_is_a_problem(tmp_path: Path, changes: dict[str, Any], code: str) -> None:
    (problem,) = problems_of(write(tmp_path / "x.json", [polygon("b"), mask(**changes)]), allow_missing=True)
    assert problem.code == code
    assert "x.json: annotation 1" in problem.place


@pytest.mark.parametrize(
    ("content", "name"),
    [
        ('{"images": [], "annotations": [], "categories": []}', "coco"),
        ('{"version": "5", "shapes": [], "imagePath": "a.jpg"}', "labelme"),
        ('<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version></annotations>', "cvat"),
    ],
)
def test_a_file_of_another_tool_names_the_command_that_imports_it(tmp_path: Path, content: str, name: str) -> None:
    (tmp_path / "x.json").write_text(content)
    (problem,) = problems_of(tmp_path / "x.json")
    assert problem.code == "annotation.format"
    assert f"handbone import {name}" in problem.fix

"""The plan of the house: which room may import which, what a room is for, how long functions are."""

import ast
import re
from functools import cache
from pathlib import Path
from statistics import median

import pytest

from imports import ROOT, imported_names

PACKAGE = ROOT / "src" / "handbone"
# from the ground up: a room imports from floors below its floor, and from itself
FLOORS = [
    ["utils"],
    ["config"],
    ["masks"],
    ["cache"],
    ["dataset", "models"],
    ["phantom", "inference", "training"],
    ["evaluation"],
    ["deciding"],
    ["submission"],
    ["report"],
    ["doctor", "formats", "planning"],
    ["comparison", "prediction", "provenance"],
    ["cli"],
]
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
Function = ast.FunctionDef | ast.AsyncFunctionDef


def sources() -> list[Path]:
    return sorted([*PACKAGE.rglob("*.py"), *(ROOT / "stages").glob("*.py")])


@cache
def functions() -> list[tuple[str, Function]]:
    nodes = [(file, node) for file in sources() for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, Function)]
    return [(f"{file.relative_to(ROOT)}:{node.lineno} {node.name}", node) for file, node in nodes]


def test_every_room_is_on_a_floor() -> None:
    assert {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"} == set(FLOOR)
    assert [path.name for path in PACKAGE.glob("*.py")] == ["__init__.py"]


def test_the_page_for_contributors_has_these_floors() -> None:
    table = (ROOT / "CONTRIBUTING.md").read_text().split("| floor, from the top |")[1].split("\n\n")[0]
    rows = [set(re.findall(r"`(\w+)`", row)) & set(FLOOR) for row in table.splitlines()]
    assert [rooms for rooms in rows if rooms] == [set(rooms) for rooms in reversed(FLOORS)]


@pytest.mark.parametrize("room", FLOOR)
def test_imports_point_down(room: str) -> None:
    for file in (PACKAGE / room).rglob("*.py"):
        for name in imported_names(file):
            if name.startswith("handbone."):
                other = name.split(".")[1]
                assert other == room or FLOOR[other] < FLOOR[room], f"{file.relative_to(ROOT)} imports {name}"


def test_paths_of_the_graph_are_known_to_stages_and_commands_alone() -> None:
    users = {file.relative_to(PACKAGE).parts[0] for file in PACKAGE.rglob("*.py") if "handbone.config.paths" in set(imported_names(file))}
    assert users <= {"cli"}


@pytest.mark.parametrize("package", sorted(PACKAGE.rglob("__init__.py")), ids=lambda path: path.parent.name)
def test_every_package_says_in_one_line_what_it_is_for(package: Path) -> None:
    docstring = ast.get_docstring(ast.parse(package.read_text()))
    assert docstring
    assert len(docstring.splitlines()[0]) > 20


def test_functions_are_short() -> None:
    lengths = {place: node.end_lineno - node.lineno + 1 for place, node in functions() if node.end_lineno}
    assert median(lengths.values()) <= 12
    assert not {place: length for place, length in lengths.items() if length > 50}


def test_public_functions_are_documented_and_typed() -> None:
    for place, node in functions():
        if node.name.startswith("_"):
            continue
        given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        untyped = [argument.arg for argument in given if argument.annotation is None and argument.arg not in ("self", "cls")]
        assert node.returns is not None and not untyped, place


def test_a_stage_fits_on_a_screen() -> None:
    lengths = {file.name: len(file.read_text().splitlines()) for file in (ROOT / "stages").glob("*.py")}
    assert not {name: length for name, length in lengths.items() if length > 90}
    assert lengths["train.py"] < 80

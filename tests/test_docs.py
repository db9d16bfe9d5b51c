"""Each block of commands or code of the documentation is run by CI, make or a test, or a comment above it says why not.

    <!-- run by tests/test_evening.py -->   the test reads the block with `section` or `blocks`, or has its commands among its strings;
                                            several files are joined by `and`
    <!-- not run: needs a GPU -->           a reason

A block without a comment has only commands that are in one of `RUN_BY`. Comments and docstrings of these files do not count.
Of every block, run or not, the commands of handbone are parsed, and the parameters that `-S` sets are looked up.
"""

import ast
import re
import shlex
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

import pytest
import yaml

from handbone.cli.app import parser
from handbone.config.params import parameter_names
from imports import ROOT
from pages import PAGES, Block, blocks, section
from test_structure import FLOOR, FLOORS

RUN_BY = [".ci/run", "Makefile", *(f"tests/test_pipeline{name}.py" for name in ("", "_commands", "_trainings"))]
BLOCKS = [block for page in PAGES for block in blocks(page)]
by_place = pytest.mark.parametrize("block", BLOCKS, ids=str)


@cache
def texts(file: Path) -> str:
    """The strings of a Python file without docstrings, or the lines of a script without comments."""
    if file.suffix != ".py":
        return "\n".join(line for line in file.read_text().splitlines() if not line.startswith("#"))
    nodes = list(ast.walk(ast.parse(file.read_text())))
    docstrings = [node.value for node in nodes if isinstance(node, ast.Expr)]
    return "\n".join(
        node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in docstrings
    )


@cache
def blocks_read(file: Path) -> list[Block]:
    """The blocks that a test reads from pages: `section("docs/data.md", "People")`, `blocks(ROOT / "docs/evening.md")`."""
    if file.suffix != ".py":
        return []
    calls = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    words = [(call.func.id, [node.value for node in ast.walk(call) if isinstance(node, ast.Constant)]) for call in calls]
    sections = [block for name, given in words if name == "section" for block in section(*given)]
    return sections + [block for name, given in words if name == "blocks" for block in blocks(ROOT / given[0])]


@by_place
def test_every_block_is_run_or_says_why_not(block: Block) -> None:
    kind, _, detail = block.note.partition("run by " if block.note.startswith("run by ") else "not run: ")
    assert not kind, f"{block}: a comment above a block starts with 'run by' or 'not run:', not {block.note!r}"
    if block.note.startswith("not run: "):
        assert len(detail) > 5, f"{block}: no reason"
        return
    files = [ROOT / name for name in (detail.split(" and ") if detail else RUN_BY)]
    is_read = any(block in blocks_read(file) for file in files if detail)
    missing = [] if is_read else [line for line in block.commands if not any(line in texts(file) for file in files)]
    assert not missing, f"{block}: not run by {detail or RUN_BY}; name the test above the block: <!-- run by tests/FILE.py -->"


@by_place
def test_the_files_that_a_comment_names_exist(block: Block) -> None:
    for name in re.findall(r"(?:tests|\.ci)/[\w/.]*\w", block.note):
        assert (ROOT / name).exists(), f"{block}: {name}"


def handbone_commands(block: Block) -> list[list[str]]:
    """The words of each handbone command of a block, up to the next operator of the shell."""
    commands = []
    for line in block.commands if block.language != "python" else []:
        words = shlex.split(line)
        ends = [number for number, word in enumerate(words) if word in ("&&", "||", "|", "&")] + [len(words)]
        starts = [number for number, word in enumerate(words) if word == "handbone" and (number == 0 or words[number - 1] in ("&&", "||"))]
        commands += [words[start + 1 : min(end for end in ends if end > start)] for start in starts]
    return commands


@by_place
def test_every_command_of_handbone_exists(block: Block) -> None:
    for words in handbone_commands(block):
        assert parser().parse_args(words)


@by_place
def test_every_parameter_that_is_set_exists(block: Block) -> None:
    known = set(parameter_names())
    for name in re.findall(r"(?:-S|--set-param) '?\+?([a-z_.]+)[=.A-Z]", block.text):
        assert name in known or any(name.startswith(f"{free}.") for free in known), f"{block}: {name}"


def stages_by_parameter() -> dict[str, set[str]]:
    """Each parameter -> the stages of dvc.yaml that list it or its section."""
    graph = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    listed = {name: set(stage.get("do", stage).get("params", [])) for name, stage in graph.items()}
    return {key: {name for name, keys in listed.items() if {key, key.split(".")[0]} & keys} for key in parameter_names()}


def rows_of_what_a_change_reruns() -> list[tuple[list[str], list[str], bool]]:
    """Of each row with parameters: these (`train.*`, `seed`), the stages it names, and whether later ones follow."""
    table = (ROOT / "docs/dvc.md").read_text().split("## What a change reruns")[1].split("##")[0]
    cells = re.findall(r"^\| (.+?) \| (.+) \|$", table, re.M)
    names = "|".join(yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"])
    found = [
        (re.findall(r"`([a-z_.]+\*?)`", change), re.findall(rf"\b({names})\b", runs), "what follows" in runs) for change, runs in cells
    ]
    return [row for row in found if row[0]]


def test_what_a_change_reruns_is_what_dvc_yaml_lists() -> None:
    """The row that names a parameter most exactly: its first stage lists it, and every stage that lists it is named or follows."""
    stages, order = stages_by_parameter(), list(yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"])
    rows = rows_of_what_a_change_reruns()
    for parameter, listing in stages.items():
        matching = [(len(key), row) for row in rows for key in row[0] if fnmatch(parameter, key)]
        assert matching, f"docs/dvc.md does not say what {parameter} reruns"
        _, (_, named, follows) = max(matching)
        later = order[order.index(named[0]) :] if follows else []
        assert listing <= {*named, *later} and (not named or named[0] in listing), f"docs/dvc.md, What a change reruns: {parameter}"


def test_the_page_about_the_report_has_every_section_and_no_other() -> None:
    sections = {
        name for file in (ROOT / "src/handbone/report").glob("*.py") for name in re.findall(r'Section\("([^"]+)"', file.read_text())
    }
    table = (ROOT / "docs/report.md").read_text().split("##")[0]
    assert set(re.findall(r"^\| ([A-Z][\w ]+) \|", table, re.M)) == sections


def test_the_floors_of_the_code_are_those_that_imports_are_held_to() -> None:
    rows = re.findall(
        r"^\| [^|]+ \| (.+) \|$", (ROOT / "CONTRIBUTING.md").read_text().split("| floor, from the top |")[1].split("\n\n")[0], re.M
    )
    rooms = [sorted(set(re.findall(r"`(\w+)`", row)) & set(FLOOR)) for row in rows]
    assert [floor for floor in rooms if floor] == [sorted(floor) for floor in reversed(FLOORS)]


def error_codes() -> set[str]:
    """The code of every problem in the source, as far as it is written out: of `f"doctor.{kind}"` the room."""
    sources = "\n".join(file.read_text() for folder in ("src", "stages") for file in (ROOT / folder).rglob("*.py"))
    return set(re.findall(r'Problem\(\s*f?"([a-z_]+\.[a-z_]*)', sources))


def test_every_error_is_on_the_page_of_errors_and_no_other() -> None:
    """A code itself, or `room.*`, in the first column of the page's tables."""
    cells = re.findall(r"^\| (`[^|]*) \|", (ROOT / "docs/troubleshooting.md").read_text(), re.M)
    listed = {code for cell in cells for code in re.findall(r"`([a-z_]+\.(?:[a-z_]+|\*))`", cell)}
    codes, rooms = error_codes(), {code.split(".")[0] for code in error_codes()}
    assert not [code for code in codes if code not in listed and f"{code.split('.')[0]}.*" not in listed]
    assert not [name for name in listed if name not in codes and not (name.endswith(".*") and name[:-2] in rooms)]


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", page.read_text(), flags=re.S | re.M), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if not link.startswith(("http:", "https:")):
            name, _, anchor = link.partition("#")
            target = (page.parent / name).resolve() if name else page
            assert target.exists(), f"{page.name}: {link}"
            assert not anchor or anchor in anchors(target), f"{page.name}: {link}"

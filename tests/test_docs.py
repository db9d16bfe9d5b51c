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
from functools import cache
from pathlib import Path

import pytest

from handbone.cli.app import parser
from handbone.config.params import parameter_names, sections
from imports import ROOT
from pages import PAGES, Block, blocks, section

RUN_BY = [".ci/run", "Makefile", *(f"tests/test_pipeline{name}.py" for name in ("", "_commands", "_trainings"))]
FILES = (".csv", ".json", ".onnx", ".safetensors")
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
    found = [block for name, given in words if name == "section" for block in section(*given)]
    return found + [block for name, given in words if name == "blocks" for block in blocks(ROOT / given[0])]


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


def test_the_page_about_the_report_has_every_section_and_no_other() -> None:
    sections = {
        name for file in (ROOT / "src/handbone/report").glob("*.py") for name in re.findall(r'Section\("([^"]+)"', file.read_text())
    }
    table = (ROOT / "docs/report.md").read_text().split("##")[0]
    assert set(re.findall(r"^\| ([A-Z][\w ]+) \|", table, re.M)) == sections


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_parameter_in_the_text_exists(page: Path) -> None:
    """Whatever begins with a section of params.yaml, except for codes of errors and names of files."""
    known, codes = set(parameter_names()), error_codes()
    code = " ".join(re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", page.read_text(), flags=re.S | re.M)))
    for name in re.findall(rf"(?<![\w./-])((?:{'|'.join(sections())})\.[a-z_]+)(?![\w.])", code):
        assert name in known or name in codes or Path(name).suffix in FILES, f"{page.name}: {name}"


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

"""What the README promises of its commands; tests/test_docs.py holds that each of them is run. The Korean README says the same."""

import re
from collections.abc import Callable

import pytest

from imports import ROOT
from pages import blocks

ENGLISH, KOREAN = (ROOT / name for name in ("README.md", "README.ko.md"))


def commands(name: str) -> list[list[str]]:
    return [block.commands for block in blocks(ROOT / name)]


def test_the_demo_and_the_tests_are_one_command_each() -> None:
    assert {"make demo", "make test"} <= {command for block in commands("README.md") for command in block}


def headings(text: str) -> list[str]:
    """The number signs of each heading."""
    return re.findall(r"^(#+) ", re.sub(r"```.*?```", "", text, flags=re.S), re.M)


def rows(text: str) -> list[list[str]]:
    """Of each row of the tables its code and links, in any order within the row."""
    return [sorted(re.findall(r"`[^`]+`|\]\([^)]+\)", row)) for row in re.findall(r"^\|.*$", text, re.M)]


def links(text: str) -> list[str]:
    """The pages that are linked, and pictures; not those in the page itself, whose names are translated, and not the other README."""
    return sorted(link for link in re.findall(r"\]\(([^)]+)\)", text) if not link.startswith(("#", "README")))


def numbers(text: str) -> set[str]:
    """The decimals, such as scores and times."""
    return set(re.findall(r"\d+\.\d+", text))


@pytest.mark.parametrize("parts", [headings, rows, links, numbers])
def test_the_korean_readme_has_the_parts_of_the_english_one(parts: Callable[[str], object]) -> None:
    assert parts(KOREAN.read_text()) == parts(ENGLISH.read_text())


def test_the_korean_readme_has_the_same_commands() -> None:
    assert commands("README.ko.md") == commands("README.md")
    code = [re.findall(r"`(handbone [^`]+|dvc [^`]+)`", page.read_text()) for page in (ENGLISH, KOREAN)]
    assert sorted(code[0]) == sorted(code[1])


def test_each_readme_links_to_the_other() -> None:
    assert "(README.ko.md)" in ENGLISH.read_text() and "(README.md)" in KOREAN.read_text()

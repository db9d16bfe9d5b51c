"""The blocks of commands and code on the pages of the documentation, and the comment above each that names its test."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from imports import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
LANGUAGES = ("sh", "bash", "python")
BLOCK = re.compile(r"(?:^<!-- (?P<note>[^\n]*) -->\n)?^```(?P<language>\w+)\n(?P<text>.*?)^```", re.S | re.M)


@dataclass(frozen=True)
class Block:
    """A fenced block. note: the HTML comment on the line above it, or nothing."""

    page: Path
    line: int
    language: str
    text: str
    note: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def commands(self) -> list[str]:
        """Its lines without comments and empty lines; a line that ends in a backslash is joined with the next one."""
        lines = [re.sub(r"(^|\s{2,})#.*", "", line).strip() for line in re.sub(r"\\\n\s*", "", self.text).splitlines()]
        return [line for line in lines if line]


def blocks(page: Path) -> list[Block]:
    """The blocks of `LANGUAGES` on a page, in order."""
    text = page.read_text()
    found = [match for match in BLOCK.finditer(text) if match["language"] in LANGUAGES]
    lines = [text.count("\n", 0, match.start("language")) + 1 for match in found]
    return [Block(page, line, match["language"], match["text"], match["note"] or "") for line, match in zip(lines, found, strict=True)]


def section(name: str, heading: str) -> list[Block]:
    """The blocks of one section of a page, whose heading has two number signs."""
    page = ROOT / name
    lines = page.read_text().splitlines()
    start = lines.index(f"## {heading}") + 1
    end = next((number for number in range(start, len(lines)) if lines[number].startswith("## ")), len(lines))
    return [block for block in blocks(page) if start < block.line <= end]

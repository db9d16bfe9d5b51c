"""What the README promises of its commands; tests/test_docs.py holds that each of them is run."""

from imports import ROOT
from pages import blocks


def test_the_demo_and_the_tests_are_one_command_each() -> None:
    assert {"make demo", "make test"} <= {command for block in blocks(ROOT / "README.md") for command in block.commands}

"""Every command of the README is run by CI, by make, or by the tests of the graph."""

import re

from imports import ROOT

RUN_BY = [".ci/run", "Makefile", "tests/test_pipeline.py"]


def commands() -> list[str]:
    """The lines of the README's sh blocks, without comments."""
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    lines = [line.split("  #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line]


def test_there_are_the_two_commands() -> None:
    assert {"make demo", "make test"} <= set(commands())


def test_every_command_is_run_somewhere() -> None:
    sources = "\n".join((ROOT / name).read_text() for name in RUN_BY)
    missing = [command for command in commands() if command not in sources]
    assert not missing

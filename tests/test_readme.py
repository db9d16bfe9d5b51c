"""CI, make or the tests of the graph run every command of the README."""

import re

from imports import ROOT

RUN_BY = [".ci/run", "Makefile", "tests/test_pipeline.py", "tests/test_pipeline_commands.py", "tests/test_pipeline_trainings.py"]


def commands() -> list[str]:
    """The lines of the README's sh blocks, without comments."""
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    lines = [line.split("  #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line]


def test_the_demo_and_the_tests_are_one_command_each() -> None:
    assert {"make demo", "make test"} <= set(commands())


def test_every_command_is_run_somewhere() -> None:
    sources = "\n".join((ROOT / name).read_text() for name in RUN_BY)
    missing = [command for command in commands() if command not in sources]
    assert not missing

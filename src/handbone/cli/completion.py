"""`handbone completion SHELL`: the script that lets a shell complete commands, options and files."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import shtab

from handbone.cli.app import file_name, file_path, parser


def print_completion(shell: str) -> None:
    """Print the script of `bash`, `zsh` or `tcsh` for all commands."""
    commands = parser()
    for action in _actions(commands):
        if action.type in (file_name, file_path):
            action.complete = shtab.FILE  # type: ignore[attr-defined]
    print(shtab.complete(commands, shell))


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Those of the parser and of its commands."""
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _actions(command)

"""The command line: what it lists, and how its commands are called. What a command does is tested in its file."""

from __future__ import annotations

import argparse
import inspect
import os
import re
import shlex
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from handbone.cli.app import file_name, file_path, parser
from handbone.cli.completion import print_completion
from pages import section

COMMAND = Path(sys.executable).parent / "handbone"


def choices_of(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The commands of a parser, or the actions of a command."""
    return next((dict(action.choices) for action in parser._actions if isinstance(action, argparse._SubParsersAction)), {})


PARSERS = choices_of(parser())
COMMANDS = list(PARSERS)
CALLS = {
    f"{name} {action}".rstrip(): found
    for name, command in PARSERS.items()
    for action, found in (choices_of(command) or {"": command}).items()
}


def handbone(*arguments: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([COMMAND, *arguments], cwd=folder, capture_output=True, text=True)


def test_help_lists_the_commands() -> None:
    done = handbone("--help")
    assert done.returncode == 0
    assert all(re.search(rf"\n    {name}\s", done.stdout) for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_has_an_example_that_can_be_called(name: str) -> None:
    start, example = PARSERS[name].epilog.split("example: ")
    calls = [shlex.split(call.split(" > ")[0]) for call in example.split(" && ") if call.startswith("handbone")]
    assert start == "" and calls[0][:2] == ["handbone", name] and "example: " in PARSERS[name].format_help()
    for call in calls:
        parser().parse_args(call[1:])


@pytest.mark.parametrize("call", CALLS)
def test_a_command_takes_the_arguments_that_its_parser_gives(call: str) -> None:
    module, function = CALLS[call].get_default("command").split(":")
    given = {action.dest: None for action in CALLS[call]._actions if action.dest != "help"}
    inspect.signature(getattr(import_module(f"handbone.cli.{module}"), function)).bind(**given)


def test_help_is_printed() -> None:
    done = handbone("score", "--help")
    assert done.returncode == 0 and "example: handbone score" in done.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_a_shell_completes_every_command(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    print_completion(shell)
    script = capsys.readouterr().out
    assert all(name in script for name in COMMANDS) and "--against" in script
    if found := shutil.which(shell):
        subprocess.run([found, "-n"], input=script, text=True, check=True)


def test_bash_completes_what_is_typed() -> None:
    typed = "COMP_WORDS=(handbone com); COMP_CWORD=1; _shtab_handbone; echo ${COMPREPLY[@]}"
    done = subprocess.run(["bash", "-c", f'eval "$({COMMAND} completion bash)"; {typed}'], capture_output=True, text=True)
    assert done.stdout.split() == ["compare", "completion"]


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['handbone', '--help']; from handbone.cli import main\ntry: main()\nexcept SystemExit: print(*sys.modules)"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "handbone.cli.app" in loaded
    assert not {"torch", "numpy", "pandas", "pydantic", "yaml", "cv2", "numba", "asyncio"} & set(loaded)


def test_outside_a_project_the_missing_file_is_named(tmp_path: Path) -> None:
    done = handbone("score", folder=tmp_path)
    assert done.returncode == 1
    assert "params.yaml" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_preset_is_written_to_the_current_folder(tmp_path: Path) -> None:
    (tmp_path / "presets").mkdir()
    (tmp_path / "presets/mine.yaml").write_text("# For me.\n")
    assert handbone("preset", "--list", folder=tmp_path).stdout == "mine  For me.\n"
    assert handbone("preset", "mine", folder=tmp_path).returncode == 0
    with (tmp_path / "params.yaml").open("a") as file:
        file.write("# changed\n")
    assert handbone("preset", "mine", folder=tmp_path).returncode == 1
    assert handbone("preset", "mine", "--force", folder=tmp_path).returncode == 0


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["preset"],
        ["preset", "demo", "--list"],
        ["nothing"],
        ["vote", "a.csv"],
        ["diff", "a.csv"],
        ["members"],
        ["members", "add", "x"],
        ["predict", "x"],
        ["export"],
        ["best", "-n", "0"],
        ["completion", "fish"],
        ["cam"],
        ["vote", "a.csv", "b.csv", "-o", ""],
        ["vote", "a.csv", "b.csv", "-o", "-"],
        ["predict", "", "-o", "masks"],
    ],
)
def test_a_wrong_call_prints_the_usage(arguments: list[str]) -> None:
    done = handbone(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: handbone")


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("given", ["", "-"])
def test_a_file_or_folder_has_a_name(call: str, given: str) -> None:
    """As where a variable of the shell is not set, in `handbone predict "$PHOTOS" -o masks`."""
    actions = [action for action in CALLS[call]._actions if action.type in (file_name, file_path)]
    assert not [action for action in CALLS[call]._actions if action.type is Path]
    for action in actions:
        with pytest.raises(argparse.ArgumentError):
            CALLS[call]._get_values(action, [given])


@pytest.mark.parametrize(("name", "encoding"), [("뼈", "ascii"), ("\udcff", "utf-8")])
def test_names_of_files_are_printed_in_any_encoding(tmp_path: Path, name: str, encoding: str) -> None:
    files = [tmp_path / f"{name} {number}.csv" for number in range(3)]
    for file in files[:2]:
        file.write_text("image_name,class,rle\nx.png,Radius,1 4\n")
    done = subprocess.run(
        [COMMAND, "vote", *files[:2], "-o", files[2]], capture_output=True, env=os.environ | {"PYTHONIOENCODING": encoding}
    )
    assert (done.returncode, done.stderr) == (0, b"") and done.stdout.rstrip().endswith(b"the vote of 2 submissions")
    assert files[2].read_bytes() == files[0].read_bytes()


def test_a_pipe_that_is_closed_ends_a_command_without_a_word() -> None:
    done = subprocess.run(["bash", "-c", f"{COMMAND} completion bash | true; exit ${{PIPESTATUS[0]}}"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (141, "")


def test_folds_takes_devices_and_jobs() -> None:
    given = [parser().parse_args(["folds", *options]) for options in ([], ["--devices", "0,2", "--jobs", "3"])]
    assert [(chosen.devices, chosen.jobs) for chosen in given] == [(None, None), (["0", "2"], 3)]


def test_submissions_are_joined_and_compared_outside_a_project_too(tmp_path: Path) -> None:
    (block,) = section("docs/data.md", "Joining and comparing submissions")
    *votes, difference = block.commands
    for name, text in (("a", "1 4"), ("b", "3 4"), ("c", "9 1")):
        (tmp_path / f"{name}.csv").write_text(f"image_name,class,rle\nx.png,Radius,{text}\n")
    for command in votes:
        done = handbone(*command.split()[1:], folder=tmp_path)
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "vote.csv").read_text() == "image_name,class,rle\nx.png,Radius,3 2\n"
    done = handbone(*difference.split()[1:], folder=tmp_path)
    assert done.returncode == 0 and done.stdout.splitlines()[0].split() == ["Radius", "0.6667"]
    done = handbone("vote", "a.csv", "d.csv", "-o", "vote.csv", folder=tmp_path)
    assert done.returncode == 1 and "d.csv" in done.stderr and "Traceback" not in done.stderr

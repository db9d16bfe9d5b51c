"""The command line: its parser, and one function per command that imports the command's file when it runs, so that --help is fast."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from handbone.utils.errors import run_cli


def main() -> None:
    """The entry point of `handbone`."""
    chosen = parser().parse_args()
    run_cli(lambda: chosen.command(chosen))


def parser() -> argparse.ArgumentParser:
    """The parser of all commands; a parsed command has the function that runs it in `command`."""
    parser = argparse.ArgumentParser(
        prog="handbone",
        description="Commands that complement dvc repro. Run them in the repository's root.",
        epilog="example: handbone preset gpu24 && dvc repro && handbone score",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_preset(commands)
    _add_folds(commands)
    _add_score(commands)
    _add_vote(commands)
    _add_diff(commands)
    _add_doctor(commands)
    _add_compare(commands)
    _add_explain(commands)
    return parser


def _add(commands: Any, name: str, run: Callable[[argparse.Namespace], None], text: str, example: str) -> argparse.ArgumentParser:
    """Add a command, described by `text`, whose first sentence is also its line in the list of commands."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=text.split(". ")[0].rstrip("."), description=text, epilog=f"example: {example}"
    )
    parser.set_defaults(command=run)
    return parser


def _add_preset(commands: Any) -> None:
    text = (
        "Write params.yaml for a purpose. Values come from the defaults and from presets/NAME.yaml. "
        "A params.yaml with changes that git does not have is not overwritten."
    )
    parser = _add(commands, "preset", _preset, text, "handbone preset gpu24")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("name", nargs="?", metavar="NAME", help="the preset to write")
    which.add_argument("--list", action="store_true", help="list the presets and what each is for")
    parser.add_argument("--force", action="store_true", help="overwrite params.yaml even if its changes are lost")


def _add_folds(commands: Any) -> None:
    text = "Run dvc repro and train several folds at the same time, one GPU per fold. The graph is up to date afterwards."
    parser = _add(commands, "folds", _folds, text, "handbone folds --devices 0,1")
    parser.add_argument("--devices", metavar="0,1,...", type=lambda text: text.split(","), help="GPUs to use (default: all)")
    parser.add_argument("--jobs", metavar="N", type=int, help="folds at a time (default: one per GPU; one if there is no GPU)")


def _add_score(commands: Any) -> None:
    text = "Score submissions/submission.csv if the truth of the test images is known. Prints the Dice per class and their mean."
    _add(commands, "score", _score, text, "handbone score")


def _add_vote(commands: Any) -> None:
    text = (
        "Join submissions by a vote per pixel. A pixel is set where files with more than half of the weights have it set; "
        "exactly half, a tie, is not enough. All files must have the same images and classes; the rows are in the order of the first."
    )
    parser = _add(commands, "vote", _vote, text, "handbone vote a.csv b.csv c.csv -o vote.csv")
    parser.add_argument("files", nargs="+", type=Path, metavar="CSV", help="the submissions, two or more")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="CSV", help="the file to write")
    parser.add_argument("--weights", metavar="W,W,...", type=lambda text: text.split(","), help="one number per file (default: 1 each)")
    parser.add_argument("--min", metavar="N", help="sum of weights from which a pixel is set (default: more than half of all)")


def _add_diff(commands: Any) -> None:
    text = (
        "Compare the masks of two submissions. Prints the Dice per class between them, the images that differ most, and how many rows "
        "differ. Both must have the same images and classes."
    )
    parser = _add(commands, "diff", _diff, text, "handbone diff a.csv b.csv")
    parser.add_argument("one", type=Path, metavar="CSV")
    parser.add_argument("other", type=Path, metavar="CSV")


def _add_doctor(commands: Any) -> None:
    text = (
        "List what is wrong with a submission before it is uploaded. Compares it with the test images and, if they are cached, with the "
        "masks of the training images. Exit status: 1 after errors, 0 if there are only warnings, or nothing."
    )
    parser = _add(commands, "doctor", _doctor, text, "handbone doctor submissions/submission.csv")
    parser.add_argument("submission", metavar="SUBMISSION", type=Path, help="the CSV")
    text = "repair what needs no guess (header, order of rows and runs, runs that could be one), and examine the result"
    parser.add_argument("--fix", metavar="OUT", type=Path, help=text)


def _add_compare(commands: Any) -> None:
    text = (
        "Compare the held-out Dice of two experiments, with its noise. Prints the second minus the first with a 95 % interval, the classes "
        "that differ beyond the noise, and the images that differ most."
    )
    parser = _add(commands, "compare", _compare, text, "handbone compare HEAD")
    parser.add_argument("first", metavar="REV", help="a commit, tag, branch or experiment")
    parser.add_argument("second", metavar="REV", nargs="?", help="another one (default: the working tree)")
    parser.add_argument("--html", metavar="OUT", type=Path, help="also write an offline page with charts, a table and pictures")


def _add_explain(commands: Any) -> None:
    text = (
        "Say what a submission was made from, and whether it can be made again. Reads the record beside the CSV, or finds the commit that "
        "has a CSV of this content; prints the score, and the commands that make it again."
    )
    parser = _add(commands, "explain", _explain, text, "handbone explain submissions/submission.csv")
    parser.add_argument("submission", metavar="CSV", type=Path, help="the submission")
    parser.add_argument("--json", action="store_true", help="print a JSON document")


def _preset(chosen: argparse.Namespace) -> None:
    from handbone.cli.preset import list_presets, write_preset

    if chosen.list:
        list_presets()
    else:
        write_preset(chosen.name, chosen.force)


def _folds(chosen: argparse.Namespace) -> None:
    from handbone.cli.folds import reproduce_folds

    reproduce_folds(chosen.devices, chosen.jobs)


def _score(_: argparse.Namespace) -> None:
    from handbone.cli.score import print_score

    print_score()


def _vote(chosen: argparse.Namespace) -> None:
    from handbone.cli.vote import write_vote

    write_vote(chosen.files, chosen.output, chosen.weights, chosen.min)


def _diff(chosen: argparse.Namespace) -> None:
    from handbone.cli.diff import print_difference

    print_difference(chosen.one, chosen.other)


def _doctor(chosen: argparse.Namespace) -> None:
    from handbone.cli.doctor import examine_submission

    examine_submission(chosen.submission, chosen.fix)


def _compare(chosen: argparse.Namespace) -> None:
    from handbone.cli.compare import print_comparison

    print_comparison(chosen.first, chosen.second, chosen.html)


def _explain(chosen: argparse.Namespace) -> None:
    from handbone.cli.explain import print_explanation

    print_explanation(chosen.submission, chosen.json)

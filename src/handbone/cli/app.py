"""`handbone ...`: what is no node of the graph."""

from __future__ import annotations

import argparse
from pathlib import Path

from handbone.config import paths
from handbone.utils.errors import UserError, run_cli


def score(_: argparse.Namespace) -> None:
    """Score submissions/submission.csv against the test truth, where the data set comes with it."""
    from handbone.config.params import load_params
    from handbone.dataset.layout import has_truth  # the imports wait until they are needed: --help is to answer at once
    from handbone.evaluation.dice import mean_dice, per_class
    from handbone.submission.csv import test_images
    from handbone.submission.score import score_submission

    params = load_params()
    root = Path(params.data.root)
    if not has_truth(root):
        raise UserError(f"{root}: expected the truth of the test images in test_truth/; found none; only the competition can score this")
    data = params.data
    counts = score_submission(paths.SUBMISSION, root, test_images(paths.TEST_INDEX), data.classes, data.allow_missing)
    for name, dice in per_class(counts).items():
        print(f"{name:>16}  {dice:.4f}")
    over = f"{len(data.classes)} classes and {counts['key'].nunique()} images"
    print(f"test score of {paths.SUBMISSION}: mean Dice {mean_dice(counts):.4f} over {over}")


def folds(chosen: argparse.Namespace) -> None:
    """Train the folds side by side and leave the graph up to date."""
    from handbone.cli.folds import reproduce_folds

    reproduce_folds(chosen.devices, chosen.jobs)


def main() -> None:
    """The entry point."""
    parser = argparse.ArgumentParser(prog="handbone", description="Commands beside `dvc repro`; run them in the repository's root.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    told = "score the submission where the truth is known"
    commands.add_parser("score", help=told, description=score.__doc__).set_defaults(command=score)
    side_by_side = commands.add_parser("folds", help="dvc repro with the folds trained side by side, a GPU each")
    side_by_side.add_argument("--devices", metavar="0,1,...", type=lambda text: text.split(","), help="GPUs to use (default: all)")
    side_by_side.add_argument("--jobs", metavar="N", type=int, help="folds at a time (default: one a GPU; one, where there is no GPU)")
    side_by_side.set_defaults(command=folds)
    chosen = parser.parse_args()
    run_cli(lambda: chosen.command(chosen))

"""The command line: the name, the text and the arguments of each command. What a command runs is imported then, so that --help is fast."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from io import TextIOWrapper
from pathlib import Path

from handbone.utils.errors import run_cli

AddArguments = Callable[[argparse.ArgumentParser], None]


@dataclass(frozen=True)
class Command:
    """run: `module:function` of this package, which takes the arguments by their names; example: a call that help shows."""

    run: str
    example: str
    add_arguments: AddArguments

    @property
    def text(self) -> str:
        """What help says about it; the first sentence is also its line in the list of commands."""
        return " ".join((self.add_arguments.__doc__ or "").split())


COMMANDS: dict[str, Command] = {}
"""By name, in the order in which help lists them."""


def main() -> None:
    """Run the command that was called."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # for names of files that the terminal's encoding does not have, as on stderr
    run_cli(lambda: run(**vars(parser().parse_args())))


def run(command: str, **arguments: object) -> None:
    """Run `module:function` of this package with these arguments."""
    module, function = command.split(":")
    getattr(import_module(f"handbone.cli.{module}"), function)(**arguments)


def parser() -> argparse.ArgumentParser:
    """The parser of all commands; what it returns are the arguments of `run`."""
    parser = argparse.ArgumentParser(
        prog="handbone",
        description="Commands that complement dvc repro. Run them in the repository's root.",
        epilog="example: handbone preset gpu24 && dvc repro && handbone score. "
        "Exit status: 0 done, 1 an error that the message names or a finding, 2 a wrong call, 128 + N ended by signal N.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        summary = command.text.split(". ")[0].rstrip(".")
        added = commands.add_parser(name, help=summary, description=command.text, epilog=f"example: {command.example}")
        added.set_defaults(command=command.run)
        command.add_arguments(added)
    return parser


def _command(name: str, run: str, example: str) -> Callable[[AddArguments], AddArguments]:
    """Add the command whose text is the docstring of the function and whose arguments it adds."""

    def declared(add_arguments: AddArguments) -> AddArguments:
        COMMANDS[name] = Command(run, example, add_arguments)
        return add_arguments

    return declared


@_command("preset", "preset:run_preset", "handbone preset gpu24")
def _preset(parser: argparse.ArgumentParser) -> None:
    """Write params.yaml for a purpose.

    Values come from the defaults and from presets/NAME.yaml. A params.yaml with changes that git does not have is not overwritten.
    """
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("name", nargs="?", metavar="NAME", help="the preset to write")
    which.add_argument("--list", dest="listed", action="store_true", help="list the presets and what each is for")
    parser.add_argument("--force", action="store_true", help="overwrite params.yaml even if its changes are lost")


@_command("plan", "plan:print_plan", "handbone plan --gpu 4090 --write mine 1024 && handbone preset mine")
def _plan(parser: argparse.ArgumentParser) -> None:
    """Show what a training takes on a GPU, by image size.

    For each size: the batch that fits, memory, time, and the Dice of predictions that are perfect at that size. Without --gpu and
    --gpu-gb it runs real steps on this machine's GPU.
    """
    card = parser.add_mutually_exclusive_group()
    card.add_argument("--gpu", metavar="NAME", help="plan for this card, e.g. t4, 4090, a100 or h100, from counted steps")
    card.add_argument("--gpu-gb", metavar="GB", type=float, help="plan for a card of which only the memory is known")
    parser.add_argument("--write", nargs=2, metavar=("PRESET", "SIZE"), help="write presets/PRESET.yaml for a size of the table")
    _add_json(parser)


@_command("folds", "folds:reproduce_folds", "handbone folds --devices 0,1")
def _folds(parser: argparse.ArgumentParser) -> None:
    """Run dvc repro and train several folds at the same time, one GPU per fold. The graph is up to date afterwards."""
    parser.add_argument("--devices", metavar="0,1,...", type=_listed, help="GPUs to use (default: all)")
    parser.add_argument("--jobs", metavar="N", type=int, help="folds at a time (default: one per GPU; one if there is no GPU)")


@_command("status", "status:print_status", "handbone status")
def _status(parser: argparse.ArgumentParser) -> None:
    """Show what the training of each fold is doing. It reads small files that trainings write, also while DVC runs."""
    _add_json(parser)


@_command("score", "score:print_score", "handbone score")
def _score(parser: argparse.ArgumentParser) -> None:
    """Score submissions/submission.csv if the truth of the test images is known. Prints the Dice per class and their mean."""
    _add_json(parser)


@_command("vote", "vote:write_vote", "handbone vote a.csv b.csv c.csv -o vote.csv")
def _vote(parser: argparse.ArgumentParser) -> None:
    """Join submissions by a vote per pixel.

    A pixel is set where files with more than half of the weights have it set; exactly half, a tie, is not enough. All files must have
    the same images and classes; the rows are in the order of the first.
    """
    parser.add_argument("files", nargs="+", type=file_path, metavar="CSV", help="the submissions, two or more")
    parser.add_argument("-o", "--output", dest="out", type=file_path, required=True, metavar="CSV", help="the file to write")
    parser.add_argument("--weights", metavar="W,W,...", type=_listed, help="one number per file (default: 1 each)")
    parser.add_argument(
        "--min", dest="least", metavar="N", help="sum of weights from which a pixel is set (default: more than half of all)"
    )


@_command("diff", "diff:print_difference", "handbone diff a.csv b.csv")
def _diff(parser: argparse.ArgumentParser) -> None:
    """Compare the masks of two submissions.

    Prints the Dice per class between them, the images that differ most, and how many rows differ. Both must have the same images and
    classes.
    """
    parser.add_argument("one", type=file_path, metavar="CSV")
    parser.add_argument("other", type=file_path, metavar="CSV")


@_command("doctor", "doctor:examine_path", "handbone doctor submissions/submission.csv")
def _doctor(parser: argparse.ArgumentParser) -> None:
    """List what is wrong with a submission before it is uploaded, or with the labels of a data set.

    Compares a submission with the test images and, if they are cached, with the masks of the training images; compares each image of a
    data set with the anatomy of all others. Exit status: 1 after errors, 0 if there are only warnings, or nothing.
    """
    parser.add_argument("path", metavar="SUBMISSION|DATA", type=file_path, help="the CSV, or the folder that holds train/ (and test/)")
    which = parser.add_mutually_exclusive_group()
    text = "repair what needs no guess (header, order of rows and runs, runs that could be one), and examine the result"
    which.add_argument("--fix", metavar="OUT", type=file_path, help=f"of a submission: {text}")
    which.add_argument(
        "--html", metavar="OUT", type=file_path, help="of a data set: also write the findings with pictures, as one offline page"
    )
    _add_json(parser)


@_command("compare", "compare:print_comparison", "handbone compare HEAD")
def _compare(parser: argparse.ArgumentParser) -> None:
    """Compare the held-out Dice of two experiments, with its noise.

    Prints the second minus the first with a 95 % interval, the classes that differ beyond the noise, and the images that differ most.
    """
    parser.add_argument("first", metavar="REV", help="a commit, tag, branch or experiment")
    parser.add_argument("second", metavar="REV", nargs="?", help="another one (default: the working tree)")
    parser.add_argument("--html", metavar="OUT", type=file_path, help="also write an offline page with charts, a table and pictures")
    _add_json(parser)


@_command("best", "best:print_best", "handbone best -n 5")
def _best(parser: argparse.ArgumentParser) -> None:
    """List the experiments by score.

    Each has the paired difference to HEAD with a 95 % interval, as handbone compare computes it, and the parameters that differ from
    those of HEAD.
    """
    parser.add_argument("-n", "--number", metavar="N", type=_positive, default=20, help="how many experiments (default: 20)")
    parser.add_argument("--against", metavar="REV", default="HEAD", help="compare with another commit, tag or branch (default: HEAD)")
    parser.add_argument(
        "--commits", dest="with_commits", action="store_true", help="list also the commits of this branch that changed the metrics"
    )
    _add_json(parser)


@_command("explain", "explain:print_explanation", "handbone explain submissions/submission.csv")
def _explain(parser: argparse.ArgumentParser) -> None:
    """Say what a submission was made from, and whether it can be made again.

    Reads the record beside the CSV, or finds the commit that has a CSV of this content; prints the score, and the commands that make it
    again.
    """
    parser.add_argument("csv", metavar="CSV", type=file_path, help="the submission")
    _add_json(parser)


@_command("import", "import_data:import_data", "handbone import coco train.json --images train --test val -o data/mine --preset mine")
def _import(parser: argparse.ArgumentParser) -> None:
    """Turn other tools' annotations and pictures into a data set in the project's layout.

    Pictures (PNG, JPEG, TIFF, BMP, DICOM) become PNG; the EXIF orientation is applied to their pixels. Polygons stay as they are, and
    masks are kept to the pixel.
    """
    parser.add_argument("format", metavar="FORMAT", choices=("coco", "labelme", "cvat", "png", "csv"), help="coco, labelme, cvat, png, csv")
    parser.add_argument("source", metavar="SOURCE", type=file_path, help="the annotations: a file, or for labelme and png a folder")
    _add_new_folder(parser, "ROOT")
    parser.add_argument("--images", metavar="FOLDER", type=file_path, help="the pictures (default: beside the annotations)")
    parser.add_argument("--test", metavar="FOLDER", type=file_path, help="the test images")
    parser.add_argument("--test-labels", metavar="SOURCE", type=file_path, help="annotations of the test images, if they are known")
    text = "folder, column:NAME or a regular expression whose first group is the person (default: every image is its own)"
    parser.add_argument("--person-from", metavar="RULE", help=text)
    parser.add_argument("--names", choices=("file", "path"), default="file", help="name images after their file, or after their whole path")
    parser.add_argument("--classes", metavar="A,B,...", type=_listed, help="the labels to keep, in this order (default: all)")
    parser.add_argument("--exclude", metavar="A,B,...", type=_listed, help="images to leave out, by their names in the source")
    _add_window(parser)
    parser.add_argument("--preset", metavar="NAME", help="write the classes to presets/NAME.yaml instead of printing them")
    parser.add_argument("--like", metavar="PRESET", help="with --preset: also what this preset changes")
    text = "coco, labelme: keep the pixels that pycocotools or LabelMe paint, as masks instead of polygons"
    parser.add_argument("--as-masks", action="store_true", default=None, help=text)
    parser.add_argument("--values", metavar="1=A,2=B,...", type=_listed, help="png: the class of each value; 0 is the background")
    text = "csv: the columns' names, if they differ from image, class and rle"
    parser.add_argument("--columns", metavar="image=NAME,...", type=_listed, help=text)
    parser.add_argument("--order", choices=("row", "column"), help="csv: how pixels are counted (default: column by column)")
    parser.add_argument("--base", choices=("0", "1"), help="csv: the number of the first pixel (default: 1)")
    parser.add_argument("--label", metavar="NAME", help="csv: the only class, if there is no column of classes")
    parser.add_argument("--wide", metavar="A,B,...", type=_listed, help="csv: the columns that are classes, with one row per image")


@_command("export-labels", "export_labels:export_labels", "handbone export-labels --format labelme data/raw -o labels")
def _export_labels(parser: argparse.ArgumentParser) -> None:
    """Write the labels of a data set, or the masks of a submission, for another tool. Corrected there, handbone import reads them."""
    parser.add_argument("source", metavar="SOURCE", type=file_path, help="a data set's folder, or a submission CSV")
    parser.add_argument(
        "--format", dest="name", choices=("coco", "labelme"), required=True, help="coco: one file; labelme: one file per image"
    )
    parser.add_argument("-o", "--output", dest="out", metavar="OUT", type=file_path, required=True, help="the file or folder to make")
    parser.add_argument("--subset", choices=("train", "test"), default="train", help="of a data set: whose labels (default: train)")
    parser.add_argument(
        "--images", dest="pictures", metavar="FOLDER", type=file_path, help="of a submission: its images (default: test/DCM of data.root)"
    )


@_command("members", "members:list_members", "handbone members add HEAD --as unet")
def _members(parser: argparse.ArgumentParser) -> None:
    """Pin experiments whose predictions decide.members joins.

    A pin is a file members/NAME.dvc. Git keeps it, and DVC the predictions that it names; nothing is copied or computed.
    """
    actions = parser.add_subparsers(required=True)
    add = actions.add_parser("add", help="pin the predictions of a revision under a name")
    add.add_argument("rev", metavar="REV", help="a commit, tag, branch or experiment")
    add.add_argument("--as", dest="name", metavar="NAME", required=True, help="the member's name in decide.members")
    add.set_defaults(command="members:add_member")
    actions.add_parser("list", help="list the members and what each is").set_defaults(command="members:list_members")
    remove = actions.add_parser("remove", help="remove a pin and the predictions that it checked out")
    remove.add_argument("name", metavar="NAME")
    remove.set_defaults(command="members:remove_member")


@_command("predict", "predict:predict_images", "handbone predict photos -o masks")
def _predict(parser: argparse.ArgumentParser) -> None:
    """Write the masks of any pictures, by the trained networks.

    Preprocessing, views and decision are those of the graph. Files that are no picture are listed at the end, and then the exit status
    is 1.
    """
    parser.add_argument(
        "images", metavar="IMAGES", type=file_path, help="a picture (PNG, JPEG, TIFF, BMP, DICOM), or a folder with pictures"
    )
    _add_new_folder(parser)
    text = "json (polygons as in the data set), overlay (to look at), png (one per class), coco, csv (as a submission)"
    parser.add_argument("--as", dest="kinds", metavar="A,B,...", type=_listed, default=["json", "overlay"], help=f"{text}; json,overlay")
    _add_models(parser)
    _add_window(parser)


@_command("export", "export:export_models", "handbone export bones")
def _export(parser: argparse.ArgumentParser) -> None:
    """Write the trained models as a folder that predicts without this repository. handbone predict --model and handbone.load read it."""
    parser.add_argument("out", metavar="OUT", type=file_path, help="the folder to make, which must not exist")
    parser.add_argument("--rev", metavar="REV", help="the models of a commit, tag, branch or experiment (default: the working tree)")
    parser.add_argument("--onnx", action="store_true", help="also write model.onnx, which gives the mean of their probabilities")


@_command("cam", "cam:explain_images", "handbone cam -o cam")
def _cam(parser: argparse.ArgumentParser) -> None:
    """Show where the networks look when they find a class.

    Writes heat maps (Grad-CAM) over images with the outlines of truth and prediction, and a page of them. Training images are explained
    by the network that has not seen them.
    """
    text = "held-out images (ID001/image1) or pictures; without any, the three held-out images with the lowest Dice"
    parser.add_argument("images", metavar="IMAGE", nargs="*", type=file_name, help=text)
    _add_new_folder(parser)
    text = "the classes (default: of each image the three with the lowest Dice, or the least certain)"
    parser.add_argument("--classes", metavar="A,B,...", type=_listed, default=[], help=text)
    parser.add_argument("--layer", metavar="NAME", help="the layer whose map is shown (default: the deepest of the encoder)")
    _add_models(parser)
    _add_window(parser)


@_command("completion", "completion:print_completion", "handbone completion bash > ~/.bash_handbone")
def _completion(parser: argparse.ArgumentParser) -> None:
    """Print the script with which a shell completes commands, options and files. Its first lines say where to keep it."""
    parser.add_argument("shell", metavar="SHELL", choices=("bash", "zsh", "tcsh"), help="bash, zsh or tcsh")


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", dest="as_json", action="store_true", help="print one JSON document and nothing else on stdout")


def _add_new_folder(parser: argparse.ArgumentParser, metavar: str = "OUT") -> None:
    text = "the folder to make, which must not exist"
    parser.add_argument("-o", "--output", dest="out", metavar=metavar, type=file_path, required=True, help=text)


def _add_models(parser: argparse.ArgumentParser) -> None:
    which = parser.add_mutually_exclusive_group()
    text = "models, or a folder of handbone export"
    which.add_argument("--model", dest="folder", metavar="FOLDER", type=file_path, default=Path("models"), help=text)
    which.add_argument("--rev", metavar="REV", help="take the models of a commit, tag, branch or experiment")


def _add_window(parser: argparse.ArgumentParser) -> None:
    text = "the values that become black and white, for pictures of more than 8 bits"
    parser.add_argument("--window", metavar=("LOW", "HIGH"), type=float, nargs=2, help=text)


def file_name(text: str) -> str:
    """What names a file or folder: not an empty text, as of a shell's variable that is not set, and not `-` for stdin or stdout."""
    if text in ("", "-"):
        raise argparse.ArgumentTypeError(f"expected the name of a file or folder, found {text!r}")
    return text


def file_path(text: str) -> Path:
    """The same as a path."""
    return Path(file_name(text))


def _listed(text: str) -> list[str]:
    return text.split(",")


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"a number from 1 on, not {text}")
    return int(text)

"""The command line: its parser, and one function per command that imports the command's file when it runs, so that --help is fast."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from handbone.utils.errors import run_cli


def main() -> None:
    """Run the command that was called."""
    chosen = parser().parse_args()
    run_cli(lambda: chosen.command(chosen))


def parser() -> argparse.ArgumentParser:
    """The parser of all commands; a parsed command has the function that runs it in `command`."""
    parser = argparse.ArgumentParser(
        prog="handbone",
        description="Commands that complement dvc repro. Run them in the repository's root.",
        epilog="example: handbone preset gpu24 && dvc repro && handbone score. "
        "Exit status: 0 done, 1 an error that the message names or a finding, 2 a wrong call, 128 + N ended by signal N.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_preset(commands)
    _add_plan(commands)
    _add_folds(commands)
    _add_status(commands)
    _add_score(commands)
    _add_vote(commands)
    _add_diff(commands)
    _add_doctor(commands)
    _add_compare(commands)
    _add_best(commands)
    _add_explain(commands)
    _add_import(commands)
    _add_export_labels(commands)
    _add_members(commands)
    _add_predict(commands)
    _add_export(commands)
    _add_cam(commands)
    _add_completion(commands)
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


def _add_plan(commands: Any) -> None:
    text = (
        "Show what a training takes on a GPU, by image size. For each size: the batch that fits, memory, time, and the Dice of predictions "
        "that are perfect at that size. Without --gpu and --gpu-gb it runs real steps on this machine's GPU."
    )
    parser = _add(commands, "plan", _plan, text, "handbone plan --gpu 4090 --write mine 1024 && handbone preset mine")
    card = parser.add_mutually_exclusive_group()
    card.add_argument("--gpu", metavar="NAME", help="plan for this card, e.g. t4, 4090, a100 or h100, from counted steps")
    card.add_argument("--gpu-gb", metavar="GB", type=float, help="plan for a card of which only the memory is known")
    parser.add_argument("--write", nargs=2, metavar=("PRESET", "SIZE"), help="write presets/PRESET.yaml for a size of the table")
    _add_json(parser)


def _add_folds(commands: Any) -> None:
    text = "Run dvc repro and train several folds at the same time, one GPU per fold. The graph is up to date afterwards."
    parser = _add(commands, "folds", _folds, text, "handbone folds --devices 0,1")
    parser.add_argument("--devices", metavar="0,1,...", type=lambda text: text.split(","), help="GPUs to use (default: all)")
    parser.add_argument("--jobs", metavar="N", type=int, help="folds at a time (default: one per GPU; one if there is no GPU)")


def _add_status(commands: Any) -> None:
    text = "Show what the training of each fold is doing. It reads small files that trainings write, also while DVC runs."
    parser = _add(commands, "status", _status, text, "handbone status")
    _add_json(parser)


def _add_score(commands: Any) -> None:
    text = "Score submissions/submission.csv if the truth of the test images is known. Prints the Dice per class and their mean."
    _add_json(_add(commands, "score", _score, text, "handbone score"))


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
        "List what is wrong with a submission before it is uploaded, or with the labels of a data set. Compares a submission with the test "
        "images and, if they are cached, with the masks of the training images; compares each image of a data set with the anatomy of all "
        "others. Exit status: 1 after errors, 0 if there are only warnings, or nothing."
    )
    parser = _add(commands, "doctor", _doctor, text, "handbone doctor submissions/submission.csv")
    parser.add_argument("path", metavar="SUBMISSION|DATA", type=Path, help="the CSV, or the folder that holds train/ (and test/)")
    which = parser.add_mutually_exclusive_group()
    text = "repair what needs no guess (header, order of rows and runs, runs that could be one), and examine the result"
    which.add_argument("--fix", metavar="OUT", type=Path, help=f"of a submission: {text}")
    which.add_argument("--html", metavar="OUT", type=Path, help="of a data set: also write the findings with pictures, as one offline page")
    _add_json(parser)


def _add_compare(commands: Any) -> None:
    text = (
        "Compare the held-out Dice of two experiments, with its noise. Prints the second minus the first with a 95 % interval, the classes "
        "that differ beyond the noise, and the images that differ most."
    )
    parser = _add(commands, "compare", _compare, text, "handbone compare HEAD")
    parser.add_argument("first", metavar="REV", help="a commit, tag, branch or experiment")
    parser.add_argument("second", metavar="REV", nargs="?", help="another one (default: the working tree)")
    parser.add_argument("--html", metavar="OUT", type=Path, help="also write an offline page with charts, a table and pictures")
    _add_json(parser)


def _add_best(commands: Any) -> None:
    text = (
        "List the experiments by score. Each has the paired difference to HEAD with a 95 % interval, as handbone compare computes it, and "
        "the parameters that differ from those of HEAD."
    )
    parser = _add(commands, "best", _best, text, "handbone best -n 5")
    parser.add_argument("-n", "--number", metavar="N", type=_positive, default=20, help="how many experiments (default: 20)")
    parser.add_argument("--against", metavar="REV", default="HEAD", help="compare with another commit, tag or branch (default: HEAD)")
    parser.add_argument("--commits", action="store_true", help="list also the commits of this branch that changed the metrics")
    _add_json(parser)


def _add_explain(commands: Any) -> None:
    text = (
        "Say what a submission was made from, and whether it can be made again. Reads the record beside the CSV, or finds the commit that "
        "has a CSV of this content; prints the score, and the commands that make it again."
    )
    parser = _add(commands, "explain", _explain, text, "handbone explain submissions/submission.csv")
    parser.add_argument("submission", metavar="CSV", type=Path, help="the submission")
    _add_json(parser)


def _add_import(commands: Any) -> None:
    text = (
        "Turn other tools' annotations and pictures into a data set in the project's layout. Pictures (PNG, JPEG, TIFF, BMP, DICOM) become "
        "PNG; the EXIF orientation is applied to their pixels. Polygons stay as they are, and masks are kept to the pixel."
    )
    parser = _add(commands, "import", _import, text, "handbone import coco train.json --images train --test val -o data/mine --preset mine")
    parser.add_argument("format", metavar="FORMAT", choices=("coco", "labelme", "cvat", "png", "csv"), help="coco, labelme, cvat, png, csv")
    parser.add_argument("source", metavar="SOURCE", type=Path, help="the annotations: a file, or for labelme and png a folder")
    parser.add_argument("-o", "--output", metavar="ROOT", type=Path, required=True, help="the folder to make, which must not exist")
    parser.add_argument("--images", metavar="FOLDER", type=Path, help="the pictures (default: beside the annotations)")
    parser.add_argument("--test", metavar="FOLDER", type=Path, help="the test images")
    parser.add_argument("--test-labels", metavar="SOURCE", type=Path, help="annotations of the test images, if they are known")
    text = "folder, column:NAME or a regular expression whose first group is the person (default: every image is its own)"
    parser.add_argument("--person-from", metavar="RULE", help=text)
    parser.add_argument("--names", choices=("file", "path"), default="file", help="name images after their file, or after their whole path")
    parser.add_argument("--classes", metavar="A,B,...", type=_listed, help="the labels to keep, in this order (default: all)")
    parser.add_argument("--exclude", metavar="A,B,...", type=_listed, help="images to leave out, by their names in the source")
    text = "the values that become black and white, for pictures of more than 8 bits"
    parser.add_argument("--window", metavar=("LOW", "HIGH"), type=float, nargs=2, help=text)
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


def _add_export_labels(commands: Any) -> None:
    text = "Write the labels of a data set, or the masks of a submission, for another tool. Corrected there, handbone import reads them."
    parser = _add(commands, "export-labels", _export_labels, text, "handbone export-labels --format labelme data/raw -o labels")
    parser.add_argument("source", metavar="SOURCE", type=Path, help="a data set's folder, or a submission CSV")
    parser.add_argument("--format", choices=("coco", "labelme"), required=True, help="coco: one file; labelme: one file per image")
    parser.add_argument("-o", "--output", metavar="OUT", type=Path, required=True, help="the file or folder to make")
    parser.add_argument("--subset", choices=("train", "test"), default="train", help="of a data set: whose labels (default: train)")
    parser.add_argument("--images", metavar="FOLDER", type=Path, help="of a submission: its images (default: test/DCM of data.root)")


def _add_completion(commands: Any) -> None:
    text = "Print the script with which a shell completes commands, options and files. Its first lines say where to keep it."
    parser = _add(commands, "completion", _completion, text, "handbone completion bash > ~/.bash_handbone")
    parser.add_argument("shell", metavar="SHELL", choices=("bash", "zsh", "tcsh"), help="bash, zsh or tcsh")


def _add_json(parser: argparse.ArgumentParser) -> None:
    """The option of commands that scripts read."""
    parser.add_argument("--json", action="store_true", help="print one JSON document and nothing else on stdout")


def _listed(text: str) -> list[str]:
    return text.split(",")


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"a number from 1 on, not {text}")
    return int(text)


def _add_members(commands: Any) -> None:
    text = (
        "Pin experiments whose predictions decide.members joins. "
        "A pin is a file members/NAME.dvc. Git keeps it, and DVC the predictions that it names; nothing is copied or computed."
    )
    actions = _add(commands, "members", _members, text, "handbone members add HEAD --as unet").add_subparsers(dest="action", required=True)
    add = actions.add_parser("add", help="pin the predictions of a revision under a name")
    add.add_argument("rev", metavar="REV", help="a commit, tag, branch or experiment")
    add.add_argument("--as", dest="name", metavar="NAME", required=True, help="the member's name in decide.members")
    actions.add_parser("list", help="list the members and what each is")
    remove = actions.add_parser("remove", help="remove a pin and the predictions that it checked out")
    remove.add_argument("name", metavar="NAME")


def _add_predict(commands: Any) -> None:
    text = (
        "Write the masks of any pictures, by the trained networks. Preprocessing, views and decision are those of the graph. "
        "Files that are no picture are listed at the end, and then the exit status is 1."
    )
    parser = _add(commands, "predict", _predict, text, "handbone predict photos -o masks")
    parser.add_argument("images", metavar="IMAGES", type=Path, help="a picture (PNG, JPEG, TIFF, BMP, DICOM), or a folder with pictures")
    parser.add_argument("-o", "--output", metavar="OUT", type=Path, required=True, help="the folder to make, which must not exist")
    text = "json (polygons as in the data set), overlay (to look at), png (one per class), coco, csv (as a submission)"
    parser.add_argument("--as", dest="kinds", metavar="A,B,...", type=_listed, default=["json", "overlay"], help=f"{text}; json,overlay")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--model", metavar="FOLDER", type=Path, default=Path("models"), help="models, or a folder of handbone export")
    which.add_argument("--rev", metavar="REV", help="take the models of a commit, tag, branch or experiment")
    text = "the values that become black and white, for pictures of more than 8 bits"
    parser.add_argument("--window", metavar=("LOW", "HIGH"), type=float, nargs=2, help=text)


def _add_export(commands: Any) -> None:
    text = "Write the trained models as a folder that predicts without this repository. handbone predict --model and handbone.load read it."
    parser = _add(commands, "export", _export, text, "handbone export bones")
    parser.add_argument("output", metavar="OUT", type=Path, help="the folder to make, which must not exist")
    parser.add_argument("--rev", metavar="REV", help="the models of a commit, tag, branch or experiment (default: the working tree)")
    parser.add_argument("--onnx", action="store_true", help="also write model.onnx, which gives the mean of their probabilities")


def _add_cam(commands: Any) -> None:
    text = (
        "Show where the networks look when they find a class. Writes heat maps (Grad-CAM) over images with the outlines of truth and "
        "prediction, and a page of them. Training images are explained by the network that has not seen them."
    )
    parser = _add(commands, "cam", _cam, text, "handbone cam -o cam")
    text = "held-out images (ID001/image1) or pictures; without any, the three held-out images with the lowest Dice"
    parser.add_argument("images", metavar="IMAGE", nargs="*", help=text)
    parser.add_argument("-o", "--output", metavar="OUT", type=Path, required=True, help="the folder to make, which must not exist")
    text = "the classes (default: of each image the three with the lowest Dice, or the least certain)"
    parser.add_argument("--classes", metavar="A,B,...", type=_listed, default=[], help=text)
    parser.add_argument("--layer", metavar="NAME", help="the layer whose map is shown (default: the deepest of the encoder)")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--model", metavar="FOLDER", type=Path, default=Path("models"), help="models, or a folder of handbone export")
    which.add_argument("--rev", metavar="REV", help="take the models of a commit, tag, branch or experiment")
    text = "the values that become black and white, for pictures of more than 8 bits"
    parser.add_argument("--window", metavar=("LOW", "HIGH"), type=float, nargs=2, help=text)


def _completion(chosen: argparse.Namespace) -> None:
    from handbone.cli.completion import print_completion

    print_completion(parser(), chosen.shell)


def _preset(chosen: argparse.Namespace) -> None:
    from handbone.cli.preset import list_presets, write_preset

    if chosen.list:
        list_presets()
    else:
        write_preset(chosen.name, chosen.force)


def _plan(chosen: argparse.Namespace) -> None:
    from handbone.cli.plan import print_plan

    print_plan(chosen.gpu, chosen.gpu_gb, chosen.write, chosen.json)


def _folds(chosen: argparse.Namespace) -> None:
    from handbone.cli.folds import reproduce_folds

    reproduce_folds(chosen.devices, chosen.jobs)


def _status(chosen: argparse.Namespace) -> None:
    from handbone.cli.status import print_status

    print_status(chosen.json)


def _score(chosen: argparse.Namespace) -> None:
    from handbone.cli.score import print_score

    print_score(chosen.json)


def _vote(chosen: argparse.Namespace) -> None:
    from handbone.cli.vote import write_vote

    write_vote(chosen.files, chosen.output, chosen.weights, chosen.min)


def _diff(chosen: argparse.Namespace) -> None:
    from handbone.cli.diff import print_difference

    print_difference(chosen.one, chosen.other)


def _doctor(chosen: argparse.Namespace) -> None:
    if chosen.html is not None or (chosen.path.is_dir() and chosen.fix is None):
        from handbone.cli.data_doctor import examine_data

        examine_data(chosen.path, chosen.html, chosen.json)
    else:
        from handbone.cli.doctor import examine_submission

        examine_submission(chosen.path, chosen.fix, chosen.json)


def _compare(chosen: argparse.Namespace) -> None:
    from handbone.cli.compare import print_comparison

    print_comparison(chosen.first, chosen.second, chosen.html, chosen.json)


def _best(chosen: argparse.Namespace) -> None:
    from handbone.cli.best import print_best

    print_best(chosen.against, chosen.number, chosen.commits, chosen.json)


def _explain(chosen: argparse.Namespace) -> None:
    from handbone.cli.explain import print_explanation

    print_explanation(chosen.submission, chosen.json)


def _import(chosen: argparse.Namespace) -> None:
    from handbone.cli.import_data import import_data

    import_data(chosen)


def _export_labels(chosen: argparse.Namespace) -> None:
    from handbone.cli.export_labels import export_labels

    export_labels(chosen.source, chosen.output, chosen.format, chosen.subset, chosen.images)


def _members(chosen: argparse.Namespace) -> None:
    from handbone.cli.members import add_member, list_members, remove_member

    if chosen.action == "add":
        add_member(chosen.rev, chosen.name)
    elif chosen.action == "remove":
        remove_member(chosen.name)
    else:
        list_members()


def _predict(chosen: argparse.Namespace) -> None:
    from handbone.cli.predict import predict_images

    predict_images(chosen.images, chosen.output, chosen.kinds, chosen.model, chosen.rev, chosen.window)


def _export(chosen: argparse.Namespace) -> None:
    from handbone.cli.export import export_models

    export_models(chosen.output, chosen.rev, chosen.onnx)


def _cam(chosen: argparse.Namespace) -> None:
    from handbone.cli.cam import explain_images

    explain_images(chosen.images, chosen.output, chosen.classes, chosen.layer, chosen.model, chosen.rev, chosen.window)

"""`handbone doctor SUBMISSION`: what is wrong with a submission, and repairs of what needs no guess."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from handbone.cli.document import print_document, problem_document
from handbone.config import paths
from handbone.config.params import DataParams, load_params
from handbone.dataset.layout import find_samples
from handbone.dataset.png import read_header
from handbone.doctor.examine import Expected, examine
from handbone.doctor.repair import repair
from handbone.doctor.training import read_training
from handbone.submission.csv import TestImage, test_images
from handbone.utils.errors import Problem, UserError, raise_if_any, warn


def examine_path(path: Path, fix: Path | None, html: Path | None, as_json: bool) -> None:
    """Examine a submission, or a data set if `path` is a folder. Raises `UserError` with what is wrong with it."""
    if fix is not None and path.is_dir():
        raise UserError(Problem("doctor.option", "--fix", "a submission to repair", f"the folder {path}", "leave it out"))
    if html is not None and path.is_file():
        raise UserError(Problem("doctor.option", "--html", "the folder of a data set", f"the file {path}", "leave it out"))
    if path.is_dir():
        from handbone.cli.data_doctor import examine_data  # here, as a submission does not need what it imports

        examine_data(path, html, as_json)
    else:
        examine_submission(path, fix, as_json)


def examine_submission(path: Path, out: Path | None = None, as_json: bool = False) -> None:
    """Print every warning, and raise a `UserError` with every error. out: where to write the repaired submission, to examine that one.

    as_json: print both also as a document.
    """
    params = load_params()
    data = params.data
    if not path.is_file():
        fix = "correct the path, or run dvc repro, which writes submissions/submission.csv"
        raise UserError(Problem("doctor.missing", str(path), "a submission, or the folder of a data set", "no such file or folder", fix))
    training = None
    if paths.AREAS.is_file():
        training = read_training(paths.TRAIN_INDEX, paths.AREAS, partial(paths.cached_sample, "train"), data.classes)
    images = _images(data)
    if not images:
        fix = "add test images and run dvc repro; without them the held-out Dice in reports/metrics.json is the only score"
        raise UserError(Problem("doctor.no_test_set", data.root, "the test images that the submission is of", "none", fix))
    expected = Expected(images, data.classes, training, params.submission)
    if out is not None:
        for line in repair(path, out, expected):
            print(line, file=sys.stderr if as_json else sys.stdout)
        path = out
    errors, warnings = examine(path, expected)
    if as_json:
        print_document({"path": str(path), "errors": [*map(problem_document, errors)], "warnings": [*map(problem_document, warnings)]})
    warn(*warnings)
    raise_if_any(errors, f"{path} is not ready to be uploaded")
    if not warnings and not as_json:
        print(f"{path}: nothing found")


def _images(data: DataParams) -> Mapping[str, TestImage]:
    """The test images of the cache; without a cache, those of the data set. Raises `UserError` with what cannot be read."""
    if paths.TEST_INDEX.is_file():
        return test_images(paths.TEST_INDEX)
    images, problems = dict[str, TestImage](), list[Problem]()
    for sample in find_samples(Path(data.root), data.exclude):
        if sample.subset == "test":
            try:
                header = read_header(sample.image.read_bytes())
                images[sample.key] = (sample.image.name, header.height, header.width)
            except ValueError as error:
                problems.append(Problem("image.read", str(sample.image), "a whole PNG", str(error), "replace it, or use data.exclude"))
    raise_if_any(problems, f"{data.root} cannot be used")
    return images

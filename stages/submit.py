"""Test probabilities and the decision -> submissions/submission.csv, its lineage beside it, and the metrics. No network runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from handbone.config import paths
from handbone.config.params import Params, SubmissionParams, load_params
from handbone.dataset.folds import read_folds
from handbone.evaluation.attributes import dice_by_attribute, dice_under_test_mix
from handbone.evaluation.decision import Decision, decide
from handbone.evaluation.dice import per_class, read_counts
from handbone.evaluation.members import Ensemble, Stored, read_members
from handbone.evaluation.metrics import summarise
from handbone.submission.attributes import read_attributes
from handbone.submission.csv import SubmissionRow, TestImage, encode_masks, image_rows, test_images, write_submission
from handbone.submission.lineage import git_revision, lineage
from handbone.submission.score import score_if_known
from handbone.utils.errors import all_of
from handbone.utils.io import write_json, write_table
from handbone.utils.parallel import prefetch_map
from stages import run_stage

NO_TEST_SET = ": there is no test set, so the held-out Dice is the only score"


def submission_rows(
    images: Mapping[str, TestImage], predictions: Ensemble, decision: Decision, form: SubmissionParams
) -> Iterator[SubmissionRow]:
    """The rows of the submission, image by image."""

    def encode(key: str) -> list[SubmissionRow]:
        name, height, width = images[key]
        masks = decide(predictions.load(key, (height, width)), (height, width), decision)
        return image_rows(name, predictions.classes, encode_masks(masks, form))

    for rows in tqdm(prefetch_map(encode, images), "submit", len(images), unit="image"):
        yield from rows


def validated(params: Params) -> pd.DataFrame:
    """The counts of the held-out images of `params.folds` under the decision, checked to be complete."""
    folds = read_folds(paths.FOLDS, paths.TRAIN_INDEX, params.folds)
    keys = folds.loc[folds["fold"].isin(params.folds), "key"].tolist()
    return read_counts(paths.VALIDATION_COUNTS, keys, params.data.classes)


def predicted(images: Mapping[str, TestImage], params: Params, names: list[str]) -> Ensemble:
    """The probabilities of the test images by these members, checked to be those of the folds, classes and images at hand."""
    stored = {name: Stored(paths.pin(name), *paths.stored("test", images, name)) for name in names}
    return read_members(stored, "test", params.folds, params.data.classes, [paths.TEST_INDEX], paths.FOLDS, params.data.exclusive)


def write_lineage(predictions: Ensemble, decision: Decision, params: Params) -> None:
    """Write what the submission was computed from."""
    indexes = {"train": paths.TRAIN_INDEX, "test": paths.TEST_INDEX}
    parameters = params.model_dump(exclude={"machine", "report", "phantom"})
    git, models, pinned = git_revision(Path(), [Path("dvc.lock"), paths.METRICS.parent]), predictions.models, predictions.pinned()
    write_json(paths.LINEAGE, lineage(paths.SUBMISSION, git, indexes, paths.FOLDS, models, pinned, asdict(decision), parameters))


def main() -> None:
    """Run the stage."""
    params, images = load_params(), test_images(paths.TEST_INDEX)
    decision = Decision.load(paths.DECISION, params.data.classes, *paths.DECIDED_WITH)
    reads = partial(validated, params), partial(predicted, images, params, decision.names)
    validation, predictions = all_of("the submission cannot be written", *reads)
    write_submission(paths.SUBMISSION, submission_rows(images, predictions, decision, params.submission), params.submission)
    write_lineage(predictions, decision, params)
    counts = score_if_known(paths.SUBMISSION, images, params)
    write_table(paths.TEST_COUNTS, counts)
    write_table(paths.TEST_DICE_PER_CLASS, per_class(counts).reset_index())
    train, test = read_attributes(paths.TRAIN_INDEX, paths.AREAS, paths.TEST_INDEX, paths.SUBMISSION, images, params)
    write_table(paths.DICE_PER_ATTRIBUTE, dice_by_attribute(validation, counts, train, test))
    mixes = dice_under_test_mix(validation, train, test)
    write_json(paths.METRICS, metrics := summarise(validation, counts, mixes, params.data.exclusive))
    for name, mix in mixes.items():
        print(f"held-out Dice under the test images' mix of {name}: {mix}")
    score = f", test Dice {metrics['test']['dice']['mean']:.4f}" if "test" in metrics else "" if images else NO_TEST_SET
    print(f"{len(images)} images in {paths.SUBMISSION}{score}")


if __name__ == "__main__":
    run_stage(main)

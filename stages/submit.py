"""Test probabilities and the decision -> submissions/submission.csv, its lineage beside it, and the metrics. No network runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pandas as pd

from handbone.config import paths
from handbone.config.params import Params, load_params
from handbone.dataset.layout import has_truth
from handbone.evaluation.decision import Decision, decide
from handbone.evaluation.dice import COUNTS
from handbone.evaluation.metrics import summarise
from handbone.masks.cropped_maps import CroppedMaps
from handbone.masks.rle import encode_runs
from handbone.submission.csv import Row, TestImage, image_rows, test_images, write_submission
from handbone.submission.lineage import lineage
from handbone.submission.score import score_submission
from handbone.utils.errors import run_cli
from handbone.utils.io import read_json, read_table, write_json, write_table
from handbone.utils.parallel import prefetch_map


def rows(images: Mapping[str, TestImage], classes: list[str], decision: Decision) -> Iterator[Row]:
    """The submission, row by row."""

    def encode(key: str) -> list[Row]:
        name, height, width = images[key]
        masks = decide(CroppedMaps.load(paths.prediction("test", key)), (height, width), decision)
        return image_rows(name, classes, encode_runs(masks))

    for encoded in prefetch_map(encode, images):
        yield from encoded


def score(images: Mapping[str, TestImage], params: Params) -> pd.DataFrame:
    """The counts of the submission where the truth is known; no row where it is not."""
    root = Path(params.data.root)
    if not has_truth(root):
        return pd.DataFrame(columns=["key", "class", *COUNTS])
    return score_submission(paths.SUBMISSION, root, images, params.data.classes, params.data.allow_missing)


def main() -> None:
    """Run the stage."""
    params = load_params()
    images, decision = test_images(paths.TEST_INDEX), Decision.load(paths.DECISION)
    write_submission(rows(images, params.data.classes, decision), paths.SUBMISSION)
    data = {"train": paths.TRAIN_INDEX, "test": paths.TEST_INDEX}
    models = read_json(paths.prediction_record("test"))["models"]
    parameters = params.model_dump(exclude={"machine", "report", "phantom"})
    write_json(paths.LINEAGE, lineage(parameters, data, paths.FOLDS, models, read_json(paths.DECISION), paths.SUBMISSION))
    test = score(images, params)
    write_table(paths.TEST_COUNTS, test)
    metrics = summarise(read_table(paths.VALIDATION_COUNTS), test)
    write_json(paths.METRICS, metrics)
    print(f"{len(images)} images in {paths.SUBMISSION}" + (f", test Dice {metrics['test']['dice']['mean']:.4f}" if len(test) else ""))


if __name__ == "__main__":
    run_cli(main)

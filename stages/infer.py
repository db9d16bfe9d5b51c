"""The folds' ensemble on the test set -> probabilities, submissions/submission.csv, its lineage, and the metrics."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import torch

from handbone import paths
from handbone.data.layout import has_truth
from handbone.errors import UserError, run
from handbone.inference.predict import Feed, predict
from handbone.inference.probabilities import Probabilities
from handbone.inference.tta import ensemble
from handbone.inference.upsample import full_masks
from handbone.models.storage import Settings, load_model, weights_hash
from handbone.params import Params, load_params
from handbone.scoring.dice import COUNTS
from handbone.scoring.metrics import summarise
from handbone.submission.lineage import lineage
from handbone.submission.rle import encode_runs
from handbone.submission.score import score_submission
from handbone.submission.table import Row, TestImage, image_rows, test_images, write_submission
from handbone.tables import read_table, write_table


def load_ensemble(folds: list[int], device: torch.device) -> tuple[list[torch.nn.Module], list[Settings]]:
    """The models of exactly these folds; they must agree on size, channels and classes."""
    loaded = [load_model(paths.fold_model(fold)) for fold in folds]
    settings = [own for _, own in loaded]
    if len({(own.size, own.in_channels, tuple(own.classes)) for own in settings}) != 1:
        raise UserError(f"{paths.MODELS}: expected folds trained alike; found sizes {[own.size for own in settings]}; run dvc repro")
    return [model.to(device) for model, _ in loaded], settings


def infer(images: Mapping[str, TestImage], params: Params) -> list[Settings]:
    """Write the probabilities and the submission of the test images -> the models' settings."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    models, settings = load_ensemble(params.folds, device)
    files = [paths.cached_sample("test", key) for key in images]
    keys, sizes = list(images), list(images.values())

    def finish(index: int, probabilities: Probabilities) -> list[Row]:
        probabilities.save(paths.probabilities(paths.TEST_PROBABILITIES, keys[index]))
        name, height, width = sizes[index]
        masks = full_masks(probabilities, (height, width), params.predict.threshold)
        return image_rows(name, settings[0].classes, encode_runs(masks))

    feed = Feed(settings[0].size, settings[0].in_channels, params.predict.batch_size, device)
    found = predict(ensemble(models, params.predict), files, feed, finish, "infer")
    write_submission((row for rows in found for row in rows), paths.SUBMISSION)
    return settings


def score(images: Mapping[str, TestImage], params: Params) -> pd.DataFrame:
    """The counts of the submission where the truth is known; no row where it is not."""
    root = Path(params.data.root)
    if not has_truth(root):
        return pd.DataFrame(columns=["key", "class", *COUNTS])
    return score_submission(paths.SUBMISSION, root, images, params.data.classes, params.data.allow_missing)


def main() -> None:
    """Run the stage."""
    params = load_params()
    images = test_images(paths.TEST_INDEX)
    settings = infer(images, params)
    models = {own.fold: {"sha256": weights_hash(paths.fold_model(own.fold))} | vars(own) for own in settings}
    parameters = params.model_dump(exclude={"machine", "report", "phantom"})
    data = {"train": paths.TRAIN_INDEX, "test": paths.TEST_INDEX}
    record = lineage(parameters, data, paths.FOLDS, models, paths.SUBMISSION)
    paths.LINEAGE.write_text(json.dumps(record, indent=1) + "\n")
    test = score(images, params)
    write_table(test, paths.TEST_COUNTS)
    metrics = summarise(read_table(paths.VALIDATION_COUNTS), test)
    paths.METRICS.write_text(json.dumps(metrics, indent=1, allow_nan=False) + "\n")
    print(f"{len(images)} images in {paths.SUBMISSION}" + (f", test Dice {metrics['test']['dice']['mean']:.4f}" if len(test) else ""))


if __name__ == "__main__":
    run(main)

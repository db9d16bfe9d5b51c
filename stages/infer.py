"""Run the networks: `python -m stages.infer oof|test` -> data/predictions/<subset>: probabilities, and which models gave them.

oof (out of fold): the model of each fold on the people that it was not trained on; test: the mean of all models on the test set.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from handbone.cache.sample import check_samples
from handbone.cache.sides import warn_of_missing_pairs
from handbone.config import paths
from handbone.config.params import Params, load_params, mirrored_classes
from handbone.dataset.folds import read_folds
from handbone.inference.checks import LogitCheck, MapCheck
from handbone.inference.predictor import InputSpec, predict
from handbone.inference.tta import ensemble
from handbone.masks.cropped_maps import CroppedMaps
from handbone.models.device import choose_device
from handbone.models.registry import spec_from_params
from handbone.models.saved import TrainedModelInfo, load_folds
from handbone.models.wrapper import SegmentationModel
from handbone.utils.errors import Problem, UserError, run_cli
from handbone.utils.hashing import file_hash
from handbone.utils.io import read_class_table, read_table, write_json
from handbone.utils.parallel import prefetch_map

Models = Mapping[int, SegmentationModel]  # by fold
Job = tuple[str, Models, dict[str, Path]]  # label of the progress bar, models, cached samples by key


def jobs(subset: str, folds: Sequence[int], models: Models) -> Iterator[Job]:
    """Which models see which samples: for oof one job per fold, for test one job with all models."""
    if subset == "test":
        files = {key: paths.cached_sample("test", key) for key in read_table(paths.TEST_INDEX)["key"]}
        check_samples(paths.TEST_INDEX, files)
        yield "infer test", models, files
        return
    table = read_folds(paths.FOLDS, paths.TRAIN_INDEX, folds)
    check_samples(paths.TRAIN_INDEX, {key: paths.cached_sample("train", key) for key in table.loc[table["fold"].isin(folds), "key"]})
    for fold in folds:
        keys = table.loc[table["fold"] == fold, "key"]
        yield f"infer fold {fold}", {fold: models[fold]}, {key: paths.cached_sample("train", key) for key in keys}


def infer(subset: str, params: Params) -> tuple[list[TrainedModelInfo], dict[str, str]]:
    """Save the probabilities of every sample of the subset -> the models in the order of `params.folds`, and each file's hash by key."""
    folders, size = {fold: paths.fold_model(fold) for fold in params.folds}, params.train.size
    spec, side = spec_from_params(params.model, params.data.classes), params.infer.window_size or round(size * max(params.infer.scales))
    models, infos = load_folds(folders, spec, size, side, paths.FOLDS if subset == "oof" else None)
    inputs = InputSpec(size, params.model.in_channels, params.infer.batch_size, choose_device(), params.train.precision)
    seen = MapCheck(params.data.classes)

    def save(predicted: tuple[str, CroppedMaps]) -> tuple[str, str]:
        key, maps = predicted
        maps.save(paths.prediction(subset, key))
        seen.add(maps)
        return key, file_hash(paths.prediction(subset, key))

    hashes: dict[str, str] = {}
    for desc, group, files in jobs(subset, params.folds, models):
        check = LogitCheck()
        watched = [check.watch(str(folders[fold]), model.to(inputs.device)) for fold, model in group.items()]
        predictor = ensemble(watched, params.infer, mirrored_classes(params.data.classes, params.data.mirror))
        hashes |= prefetch_map(save, predict(predictor, files, inputs, desc, check))
    seen.report(str(paths.PREDICTIONS / subset))
    return infos, hashes


def main() -> None:
    """Run the stage."""
    if sys.argv[1:] not in (["oof"], ["test"]):
        found = " ".join(sys.argv[1:]) or "nothing"
        raise UserError(Problem("stage.argument", "python -m stages.infer", "oof or test", found, "name one of them"))
    subset, params = sys.argv[1], load_params()
    if subset == "oof":
        warn_of_missing_pairs(read_class_table(paths.AREAS, ["pixels", "x", "y"]), params)
    record = paths.prediction_record(subset)
    record.unlink(missing_ok=True)  # written last: an interrupted run leaves no record that fits only half of the files
    infos, files = infer(subset, params)
    models = {str(fold): asdict(info) for fold, info in zip(params.folds, infos, strict=True)}
    tables = [paths.TEST_INDEX] if subset == "test" else [paths.TRAIN_INDEX, paths.FOLDS]
    write_json(record, {"models": models, "tables": {str(table): file_hash(table) for table in tables}, "files": files})


if __name__ == "__main__":
    run_cli(main)

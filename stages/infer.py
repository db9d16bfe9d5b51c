"""Run the networks: `python -m stages.infer oof|test` -> data/predictions/<subset>: probabilities, and which models gave them.

oof (out of fold): the model of each fold on the people that it was not trained on; test: the mean of all models on the test set.
With `machine.gpus_per_fold` each of so many processes predicts its share of the images on its own GPU; the result is the same.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial

from accelerate import Accelerator

from handbone.cache.sample import check_samples
from handbone.cache.sides import warn_of_missing_pairs
from handbone.config import paths
from handbone.config.params import Params, load_params
from handbone.dataset.folds import read_folds
from handbone.inference.predictor import InputSpec
from handbone.inference.subset import Job, save_predictions
from handbone.models.device import choose_device
from handbone.models.registry import spec_from_params
from handbone.models.saved import TrainedModelInfo, load_folds
from handbone.models.wrapper import SegmentationModel
from handbone.training.distributed import is_launched, launch_distributed, make_accelerator
from handbone.utils.errors import Problem, UserError
from handbone.utils.hashing import file_hash
from handbone.utils.io import read_class_table, read_table, write_json
from stages import run_stage

Models = Mapping[int, SegmentationModel]  # by fold


def jobs(subset: str, folds: Sequence[int], models: Models) -> Iterator[Job]:
    """Which models see which samples: for oof one job per fold, for test one job with all models."""
    if subset == "test":
        files = {key: paths.cached_sample("test", key) for key in read_table(paths.TEST_INDEX)["key"]}
        check_samples(paths.TEST_INDEX, files)
        yield Job("infer test", {str(paths.fold_model(fold)): model for fold, model in models.items()}, files)
        return
    table = read_folds(paths.FOLDS, paths.TRAIN_INDEX, folds)
    check_samples(paths.TRAIN_INDEX, {key: paths.cached_sample("train", key) for key in table.loc[table["fold"].isin(folds), "key"]})
    for fold in folds:
        keys = table.loc[table["fold"] == fold, "key"]
        files = {key: paths.cached_sample("train", key) for key in keys}
        yield Job(f"infer fold {fold}", {str(paths.fold_model(fold)): models[fold]}, files)


def infer(subset: str, params: Params, accelerator: Accelerator | None) -> tuple[list[TrainedModelInfo], dict[str, str]]:
    """Save the probabilities of every sample of the subset -> the models in the order of `params.folds`, and each file's hash by key.

    accelerator: of several processes that share the samples; None: this is the only one.
    """
    views, size, spec = params.infer, params.train.size, spec_from_params(params.model, params.data.classes, params.data.exclusive)
    folders, side = {fold: paths.fold_model(fold) for fold in params.folds}, views.window_size or round(size * max(views.scales))
    models, infos = load_folds(folders, spec, size, side, paths.FOLDS if subset == "oof" else None)
    device, rank, world_size = choose_device(), 0, 1
    if accelerator is not None:
        device, rank, world_size = accelerator.device, accelerator.process_index, accelerator.num_processes
    inputs = InputSpec(size, params.model.in_channels, params.infer.batch_size, device, params.train.precision)
    folder, place = paths.PREDICTIONS / subset, partial(paths.prediction, subset)
    return infos, save_predictions(jobs(subset, params.folds, models), folder, place, params, inputs, rank, world_size)


def main() -> None:
    """Run the stage."""
    if sys.argv[1:] not in (["oof"], ["test"]):
        found = " ".join(sys.argv[1:]) or "nothing"
        raise UserError(Problem("stage.argument", "python -m stages.infer", "oof or test", found, "name one of them"))
    subset, params = sys.argv[1], load_params()
    if params.machine.gpus_per_fold > 1 and not is_launched():
        sys.exit(launch_distributed("stages.infer", [subset], params.machine.gpus_per_fold))
    accelerator = make_accelerator(params.train.precision) if is_launched() else None
    if (is_main := accelerator is None or accelerator.is_main_process) and subset == "oof":
        warn_of_missing_pairs(read_class_table(paths.AREAS, ["pixels", "x", "y"]), params)
    record = paths.prediction_record(subset)
    record.unlink(missing_ok=True)  # written last: an interrupted run leaves no record that fits only half of the files
    infos, files = infer(subset, params, accelerator)
    if is_main:
        models = {str(fold): asdict(info) for fold, info in zip(params.folds, infos, strict=True)}
        tables = [paths.TEST_INDEX] if subset == "test" else [paths.TRAIN_INDEX, paths.FOLDS]
        write_json(record, {"models": models, "tables": {str(table): file_hash(table) for table in tables}, "files": files})
    if accelerator is not None:
        accelerator.end_training()


if __name__ == "__main__":
    run_stage(main)

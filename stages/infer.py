"""Run the networks: `python -m stages.infer oof|test` -> data/predictions/<subset>: probabilities, and which models gave them.

oof (out of fold): the model of each fold on the people that it was not trained on; test: the mean of all models on the test set.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from handbone.config import paths
from handbone.config.params import Params, load_params
from handbone.inference.predictor import InputSpec, predict
from handbone.inference.tta import ensemble
from handbone.masks.cropped_maps import CroppedMaps
from handbone.models.saved import TrainedModelInfo, load_folds, weights_hash
from handbone.models.wrapper import SegmentationModel
from handbone.utils.errors import Problem, UserError, run_cli
from handbone.utils.io import read_table, write_json
from handbone.utils.parallel import prefetch_map

Job = tuple[str, list[SegmentationModel], dict[str, Path]]  # label of the progress bar, models, cached samples by key


def jobs(subset: str, folds: Sequence[int], models: Mapping[int, SegmentationModel]) -> Iterator[Job]:
    """Which models see which samples: for oof one job per fold, for test one job with all models."""
    if subset == "test":
        keys = read_table(paths.TEST_INDEX)["key"]
        yield "infer test", list(models.values()), {key: paths.cached_sample("test", key) for key in keys}
        return
    table = read_table(paths.FOLDS)
    for fold in folds:
        keys = table.loc[table["fold"] == fold, "key"]
        yield f"infer fold {fold}", [models[fold]], {key: paths.cached_sample("train", key) for key in keys}


def infer(subset: str, params: Params) -> list[TrainedModelInfo]:
    """Save the probabilities of every sample of the subset -> what is known of the models, in the order of `params.folds`."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    models, infos = load_folds({fold: paths.fold_model(fold) for fold in params.folds}, params.data.classes)
    inputs = InputSpec(infos[0].size, params.model.in_channels, params.infer.batch_size, device, params.train.precision)

    def save(predicted: tuple[str, CroppedMaps]) -> None:
        key, maps = predicted
        maps.save(paths.prediction(subset, key))

    for desc, group, files in jobs(subset, params.folds, models):
        predictor = ensemble([model.to(device) for model in group], params.infer)
        for _ in prefetch_map(save, predict(predictor, files, inputs, desc)):
            pass
    return infos


def main() -> None:
    """Run the stage."""
    if sys.argv[1:] not in (["oof"], ["test"]):
        found = " ".join(sys.argv[1:]) or "nothing"
        raise UserError(Problem("stage.argument", "python -m stages.infer", "oof or test", found, "name one of them"))
    subset, params = sys.argv[1], load_params()
    record = paths.prediction_record(subset)
    record.unlink(missing_ok=True)  # written last: an interrupted run leaves no record that fits only half of the files
    infos = infer(subset, params)
    hashes = {fold: weights_hash(paths.fold_model(fold)) for fold in params.folds}
    models = {str(fold): {"sha256": hashes[fold]} | asdict(info) for fold, info in zip(params.folds, infos, strict=True)}
    write_json(record, {"models": models})


if __name__ == "__main__":
    run_cli(main)

"""Run the networks: `python -m stages.infer oof|test` -> data/predictions/<subset>: probabilities as cropped uint8, and which models gave them.

oof: each fold's model on the people that it has not seen; test: the mean of all folds' models on the test set.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import asdict

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

Job = tuple[str, list[SegmentationModel], dict[str, str]]  # what the progress bar says, the models, the samples' keys with their subset


def jobs(subset: str, params: Params, models: dict[int, SegmentationModel]) -> Iterator[Job]:
    """Which models see which samples: their own held-out people, one fold after the other, or all of them the test set."""
    if subset == "test":
        yield "infer test", list(models.values()), dict.fromkeys(read_table(paths.TEST_INDEX)["key"].astype(str), "test")
        return
    folds = read_table(paths.FOLDS)
    for fold in params.folds:
        yield f"infer fold {fold}", [models[fold]], dict.fromkeys(folds.loc[folds["fold"] == fold, "key"].astype(str), "train")


def infer(subset: str, params: Params) -> list[TrainedModelInfo]:
    """Save the probabilities of every sample of the subset -> what is known of the models."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    models, infos = load_folds({fold: paths.fold_model(fold) for fold in params.folds}, params.data.classes)
    spec = InputSpec(infos[0].size, params.model.in_channels, params.infer.batch_size, device, params.train.precision)

    def save(found: tuple[str, CroppedMaps]) -> None:
        found[1].save(paths.prediction(subset, found[0]))

    for desc, group, keys in jobs(subset, params, models):
        files = {key: paths.cached_sample(source, key) for key, source in keys.items()}
        predictor = ensemble([model.to(device) for model in group], params.infer)
        for _ in prefetch_map(save, predict(predictor, files, spec, desc)):
            pass
    return infos


def main() -> None:
    """Run the stage."""
    if sys.argv[1:] not in (["oof"], ["test"]):
        found = " ".join(sys.argv[1:]) or "nothing"
        raise UserError(Problem("stage.argument", "python -m stages.infer", "oof or test", found, "name one of them"))
    subset, params = sys.argv[1], load_params()
    infos = infer(subset, params)
    models = {str(info.fold): {"sha256": weights_hash(paths.fold_model(info.fold))} | asdict(info) for info in infos}
    write_json(paths.prediction_record(subset), {"models": models})


if __name__ == "__main__":
    run_cli(main)

"""Train one fold: `python -m stages.train FOLD` -> models/fold_<k>; its learning curve is complete after every epoch."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from functools import partial
from pathlib import Path

from accelerate import Accelerator

from handbone.cache.sides import warn_of_missing_pairs
from handbone.config import paths
from handbone.config.params import Params, load_params
from handbone.evaluation.decision import Decision
from handbone.evaluation.model_dice import model_dice
from handbone.inference.predictor import InputSpec
from handbone.models.saved import save_model
from handbone.training.checkpoint import Checkpoint, resume_folder
from handbone.training.checkpoint_lock import checkpoint_lock
from handbone.training.data.augment import Augmenter
from handbone.training.data.fold import TrainFiles, fold_argument
from handbone.training.distributed import is_launched, launch_distributed, make_accelerator
from handbone.training.fold_training import FoldTraining, Score
from handbone.training.init_weights import resolve_init_weights
from handbone.training.preemption import Preempted
from handbone.training.seeding import set_determinism
from handbone.training.state import curve_table
from handbone.utils.errors import run_cli
from handbone.utils.io import read_class_table, write_table

ROOT = Path(__file__).resolve().parent.parent  # has dvc.yaml, also if the stage runs in another folder
THRESHOLD, ARGMAX = Decision(0.5), Decision(None)  # of the score that picks the best epoch; a new decide.threshold does not retrain


def fold_training(fold: int, params: Params) -> FoldTraining:
    """The training of one fold, with the files of the graph."""
    weights = resolve_init_weights(params, fold, paths.init_weights(params.model.weights), paths.fold_model(fold).name, paths.FOLDS)
    tables = paths.TRAIN_INDEX, paths.AREAS, paths.FOLDS, paths.PSEUDO_INDEX
    files = TrainFiles(*tables, sample=lambda key: paths.cached_sample("train", key), pseudo_sample=paths.pseudo_sample)
    return FoldTraining(fold, params, files, weights)


def make_score(params: Params, accelerator: Accelerator) -> Score:
    """The full-resolution Dice of one view of each image."""
    train, ranks = params.train, {"rank": accelerator.process_index, "world_size": accelerator.num_processes}
    decision = ARGMAX if params.data.exclusive else THRESHOLD
    inputs = InputSpec(train.size, params.model.in_channels, train.images_per_batch, accelerator.device, train.precision)
    return partial(model_dice, inputs=inputs, window=train.crop, decision=decision, **ranks)


def main() -> None:
    """Run the stage."""
    params = load_params()
    fold = fold_argument(sys.argv[1:], params.split.n_folds)
    augmenter = Augmenter(params.train.augment, params.model.in_channels)  # first, so that a fault in it costs no time
    if params.machine.gpus_per_fold > 1 and not is_launched():
        sys.exit(launch_distributed("stages.train", [str(fold)], params.machine.gpus_per_fold))
    set_determinism(params.train.deterministic)
    accelerator = make_accelerator(params.train.precision)
    training = fold_training(fold, params).with_batch_size(accelerator)
    folder = resume_folder(params.machine.resume_dir, training.fingerprint(ROOT))
    checkpoint, score, curve = Checkpoint(folder), make_score(training.params, accelerator), paths.fold_curve(fold)
    if accelerator.is_main_process:
        warn_of_missing_pairs(read_class_table(paths.AREAS, ["pixels", "x", "y"]), params, augmenter.mirrors)
    with checkpoint_lock(folder) if accelerator.is_main_process else nullcontext():
        try:
            progress = training.run(accelerator, checkpoint, paths.MODELS, score, lambda rows: write_table(curve, curve_table(rows)))
        except Preempted as stop:
            accelerator.print(f"\nfold {fold}: stopped by {stop.signal.name}, saved at {stop}; the same command resumes there")
            sys.exit(stop.exit_code)
        if accelerator.is_main_process:
            save_model(paths.fold_model(fold), progress.best_weights, training.model_info(progress, accelerator))
            checkpoint.remove()
    accelerator.print(f"fold {fold}: Dice {progress.best_dice:.4f} after epoch {progress.best_epoch}")
    accelerator.end_training()


if __name__ == "__main__":
    run_cli(main)

"""Train one fold: `python -m stages.train FOLD` -> models/fold_<k>; its learning curve is complete after every epoch."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from accelerate import Accelerator

from handbone.config import paths
from handbone.config.params import Params, load_params
from handbone.evaluation.decision import Decision
from handbone.evaluation.model_dice import model_dice
from handbone.inference.predictor import InputSpec
from handbone.models.saved import save_model
from handbone.training.checkpoint import Checkpoint, resume_folder
from handbone.training.data.fold import TrainFiles
from handbone.training.distributed import is_launched, launch_distributed, make_accelerator
from handbone.training.fold_training import FoldTraining, Score
from handbone.training.init_weights import resolve_init_weights
from handbone.training.preemption import PREEMPTED_EXIT_CODE, Preempted
from handbone.training.seeding import set_determinism
from handbone.training.state import curve_table
from handbone.utils.errors import Problem, UserError, run_cli
from handbone.utils.io import write_table

ROOT = Path(__file__).resolve().parent.parent  # has dvc.yaml, also if the stage runs in another folder
THRESHOLD = 0.5  # of the score that picks the best epoch; a new decide.threshold does not retrain


def fold_training(fold: int, params: Params) -> FoldTraining:
    """The training of one fold, with the files of the graph."""
    source = paths.init_weights(params.model.weights)
    weights = resolve_init_weights(source, paths.fold_model(fold).name, paths.FOLDS, params.data.classes)
    tables = paths.TRAIN_INDEX, paths.AREAS, paths.FOLDS, paths.PSEUDO_INDEX
    files = TrainFiles(*tables, sample=lambda key: paths.cached_sample("train", key), pseudo_sample=paths.pseudo_sample)
    return FoldTraining(fold, params, files, weights)


def make_score(params: Params, accelerator: Accelerator) -> Score:
    """The full-resolution Dice of one view of each image."""
    inputs = InputSpec(params.train.size, params.model.in_channels, params.train.batch_size, accelerator.device, params.train.precision)
    ranks = {"rank": accelerator.process_index, "world_size": accelerator.num_processes}
    return partial(model_dice, inputs=inputs, window=params.train.crop, decision=Decision(THRESHOLD), **ranks)


def main() -> None:
    """Run the stage."""
    if len(sys.argv) != 2 or not sys.argv[1].isdecimal():
        found = " ".join(sys.argv[1:]) or "nothing"
        raise UserError(Problem("stage.argument", "python -m stages.train", "the number of a fold", found, "name one, e.g. 0"))
    fold, params = int(sys.argv[1]), load_params()
    if params.machine.gpus_per_fold > 1 and not is_launched():
        sys.exit(launch_distributed("stages.train", [str(fold)], params.machine.gpus_per_fold))
    set_determinism(params.train.deterministic)
    accelerator, training = make_accelerator(params.train.precision), fold_training(fold, params)
    checkpoint = Checkpoint(resume_folder(params.machine.resume_dir, training.fingerprint(ROOT)))
    score, curve = make_score(params, accelerator), paths.fold_curve(fold)
    try:
        progress = training.run(accelerator, checkpoint, score, lambda rows: write_table(curve, curve_table(rows)))
    except Preempted as preempted:
        accelerator.print(f"\nfold {fold}: stopped by SIGTERM; a checkpoint is saved at {preempted}; the same command resumes there")
        sys.exit(PREEMPTED_EXIT_CODE)
    if accelerator.is_main_process:
        save_model(paths.fold_model(fold), progress.best_weights, training.model_info(progress))
        checkpoint.remove()
    accelerator.print(f"fold {fold}: Dice {progress.best_dice:.4f} after epoch {progress.best_epoch}")
    accelerator.end_training()


if __name__ == "__main__":
    run_cli(main)

"""Train one fold: `python -m stages.train FOLD` -> models/fold_<k>; its learning curve is complete after every epoch."""

from __future__ import annotations

import sys
from contextlib import nullcontext

from handbone.cache.sides import warn_of_missing_pairs
from handbone.config import paths
from handbone.config.params import Params, load_params
from handbone.evaluation.held_out_pictures import held_out_pictures
from handbone.evaluation.model_dice import make_score, one_view
from handbone.models.saved import save_model
from handbone.training.checkpoint import Checkpoint, resume_folder
from handbone.training.checkpoint_lock import checkpoint_lock
from handbone.training.data.augment import Augmenter
from handbone.training.data.fold import TrainFiles, fold_argument
from handbone.training.distributed import is_launched, launch_distributed, make_accelerator
from handbone.training.fold_training import FoldTraining
from handbone.training.init_weights import resolve_init_weights
from handbone.training.preemption import exit_when_preempted
from handbone.training.seeding import set_determinism
from handbone.training.tracker import require_tracker
from handbone.training.watched import watched
from handbone.utils.io import read_class_table
from handbone.utils.notice import tell
from stages import ROOT, run_stage


def fold_training(fold: int, params: Params) -> FoldTraining:
    """The training of one fold, with the files of the graph."""
    weights = resolve_init_weights(params, fold, paths.init_weights(params.model.weights), paths.fold_model(fold).name, paths.FOLDS)
    tables = paths.TRAIN_INDEX, paths.AREAS, paths.FOLDS, paths.PSEUDO_INDEX
    files = TrainFiles(*tables, sample=lambda key: paths.cached_sample("train", key), pseudo_sample=paths.pseudo_sample)
    return FoldTraining(fold, params, files, weights)


def main() -> None:
    """Run the stage."""
    params = load_params()
    fold = fold_argument(sys.argv[1:], params.split.n_folds)
    augmenter = Augmenter(params.train.augment, params.model.in_channels)  # first, so that a fault in it costs no time
    require_tracker(params.machine.tracker)
    if params.machine.gpus_per_fold > 1 and not is_launched():
        sys.exit(launch_distributed("stages.train", [str(fold)], params.machine.gpus_per_fold))
    set_determinism(params.train.deterministic)
    accelerator = make_accelerator(params.train.precision, params.machine.tracker)
    training = fold_training(fold, params).with_batch_size(accelerator)
    folder = resume_folder(params.machine.resume_dir, fingerprint := training.fingerprint(ROOT))
    checkpoint, score = Checkpoint(folder), make_score(training.params, accelerator)
    view = one_view(training.params, accelerator.device)
    if accelerator.is_main_process:
        warn_of_missing_pairs(read_class_table(paths.AREAS, ["pixels", "x", "y"]), params, augmenter.mirrors)
    lock = checkpoint_lock(folder) if accelerator.is_main_process else nullcontext()
    watching = watched(
        fold,
        params,
        accelerator,
        paths.fold_curve(fold),
        fingerprint,
        lambda model: held_out_pictures(model, training.samples.val_files(), params.data.classes, **view),
    )
    with lock, watching as watchers, exit_when_preempted(f"fold {fold}", accelerator.print):
        progress = training.run(accelerator, checkpoint, paths.MODELS, score, watchers)
        if accelerator.is_main_process:
            save_model(paths.fold_model(fold), progress.best_weights, training.model_info(progress, accelerator))
            checkpoint.remove()
    result = f"fold {fold}: Dice {progress.best_dice:.4f} after epoch {progress.best_epoch}"
    accelerator.print(result)
    tell(result)
    accelerator.end_training()


if __name__ == "__main__":
    run_stage(main)

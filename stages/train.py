"""Train one fold: `python -m stages.train FOLD` -> models/fold_<k> and its curve."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from accelerate import Accelerator
from torch import nn

import handbone
from handbone.config import paths
from handbone.config.params import Params, load_params
from handbone.evaluation.decision import Decision
from handbone.evaluation.model_dice import model_dice
from handbone.inference.predictor import InputSpec
from handbone.models.pretrained import IMAGENET, load_into, read_weights
from handbone.models.registry import build_model, canonical, spec_from_params
from handbone.models.saved import WEIGHTS, TrainedModelInfo, read_info, save_model
from handbone.models.wrapper import SegmentationModel
from handbone.training.checkpoint import Checkpoint, content_key, resume_folder
from handbone.training.data.fold import FoldSamples, fold_samples
from handbone.training.data.loader import make_loader
from handbone.training.estimate import memory_advice
from handbone.training.preemption import STOPPED, StoppedError
from handbone.training.trainer import Evaluate, Progress, Training, make_accelerator
from handbone.utils.errors import Problem, UserError, require_file, run_cli
from handbone.utils.hashing import file_hash
from handbone.utils.io import write_table

THRESHOLD = 0.5  # of the score that picks the best epoch; decide.threshold is tuned without training again


def fold_seed(params: Params, fold: int) -> int:
    """A seed of its own for each fold."""
    return int(np.random.SeedSequence([params.seed, fold]).generate_state(1)[0])


def started_from(params: Params, fold: int) -> Path:
    """The file that `model.weights` names, or that the folder it names has for this fold.

    Such a folder is an earlier experiment's `models/`. Its weights must come from the same folds, or held-out people would have been
    trained on: a `UserError` otherwise, and where there are none.
    """
    source = paths.init_weights(params.model.weights)
    if not source.exists():
        raise UserError(
            Problem("weights.missing", str(source), "the weights that model.weights names", "none", "put them there, or name others")
        )
    if not source.is_dir():
        return source
    own = source / paths.fold_model(fold).name
    if read_info(own).folds_sha256 != file_hash(paths.FOLDS):
        expected = f"weights that were trained on the folds of {paths.FOLDS}"
        found = "others, so that people held out now may have been trained on"
        raise UserError(Problem("weights.other_folds", str(own), expected, found, "set split as it was then, or start from other weights"))
    return own / WEIGHTS


def make_model(params: Params, fold: int) -> SegmentationModel:
    """The network that the parameters name, with the weights that it is to start from: of its pretrained part, or of an experiment."""
    network, source = params.model, started_from(params, fold)
    experiment = source != paths.init_weights(network.weights)
    start = network.weights if network.weights in (None, IMAGENET) else None if experiment else str(source)
    model = build_model(spec_from_params(network, params.data.classes), start)
    if experiment:
        load_into(model, read_weights(source), str(source))
    return model


def make_evaluate(keys: list[str], params: Params, accelerator: Accelerator) -> Evaluate:
    """The mean full-resolution Dice of a model on the held-out images, of which each process takes its share."""
    inputs = InputSpec(params.train.size, params.model.in_channels, params.train.batch_size, accelerator.device, params.train.precision)
    share = {key: paths.cached_sample("train", key) for key in keys[accelerator.process_index :: accelerator.num_processes]}
    return lambda model: model_dice(model, share, inputs, params.train.crop, Decision(THRESHOLD))


def checkpoint_key(params: Params, fold: int) -> str:
    """Everything that decides the fold's weights: settings, data, folds, code, torch."""
    sections = params.model_dump(include={"seed", "model", "train"})
    decisive = sections | {"classes": params.data.classes, "fold": fold, "torch": torch.__version__, "cuda": torch.cuda.is_available()}
    code = list(Path(handbone.__file__).parent.rglob("*.py"))
    tables = [require_file(path) for path in (paths.TRAIN_INDEX, paths.FOLDS, paths.PSEUDO_INDEX)]
    return content_key(decisive, [*tables, started_from(params, fold), Path(__file__), *code])


def announce(model: nn.Module, samples: FoldSamples, steps: int, params: Params) -> str:
    """What is about to be done, and how much of it."""
    weights = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    network = f"{canonical(params.model.arch)} with {weights:.1f} M parameters at {params.train.size} px, weights: {params.model.weights}"
    images = f"{len(samples.train)} images to train on, {len(samples.held)} held out"
    return f"{images}; {network}; {params.train.epochs} epochs of {steps} batches"


def write(fold: int, progress: Progress, params: Params) -> None:
    """The best epoch's weights, what builds their network, and the curve."""
    info = TrainedModelInfo(
        spec=spec_from_params(params.model, params.data.classes),
        weights=params.model.weights,
        weights_sha256=file_hash(started_from(params, fold)),
        folds_sha256=file_hash(paths.FOLDS),
        size=params.train.size,
        fold=fold,
        epoch=progress.best_epoch,
        dice=progress.best_dice,
    )
    save_model(paths.fold_model(fold), progress.best_weights, info)
    write_table(paths.fold_curve(fold), pd.DataFrame(progress.rows, columns=["epoch", "lr", "loss", "dice"]))


def train_fold(fold: int, params: Params, accelerator: Accelerator, checkpoint: Checkpoint) -> Progress:
    """Train the network that the parameters name."""
    samples, seed = fold_samples(fold, params), fold_seed(params, fold)
    torch.manual_seed(seed)
    model = make_model(params, fold)
    loader, batches = make_loader(samples.train, params, seed, accelerator.process_index, accelerator.num_processes)
    accelerator.print(f"fold {fold} on {accelerator.device}: {announce(model, samples, len(batches), params)}")
    class_weights = [params.train.class_weights.get(name, 1.0) for name in params.data.classes]
    with memory_advice():
        training = Training(model, loader, batches, params.train, class_weights, seed, accelerator)
        return training.run(make_evaluate(samples.held["key"].tolist(), params, accelerator), checkpoint, f"fold {fold}")


def share(fold: int, processes: int) -> None:
    """Run this stage in so many processes by torchrun, which `accelerate launch` calls as well, and end as they do."""
    from torch.distributed import run as torchrun
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // processes)))
    try:  # standalone: on a port of its own, as other folds may be trained beside this one
        torchrun.main(["--standalone", "--nproc_per_node", str(processes), "-m", "stages.train", str(fold)])
    except ChildFailedError as failed:  # which has told why
        sys.exit(next((failure.exitcode for failure in failed.failures.values()), 1))
    except SignalException:
        sys.exit(STOPPED)


def set_determinism(deterministic: bool) -> None:
    """Bit-equal runs on a GPU where PyTorch has such kernels, and its warnings where it has none; else whichever are fastest."""
    torch.backends.cudnn.benchmark = not deterministic
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)


def main() -> None:
    """Run the stage."""
    if len(sys.argv) != 2 or not sys.argv[1].isdecimal():
        found = " ".join(sys.argv[1:]) or "nothing"
        raise UserError(Problem("stage.argument", "python -m stages.train", "the number of a fold", found, "name one, e.g. 0"))
    fold = int(sys.argv[1])
    params = load_params()
    if params.machine.gpus_per_fold > 1 and "WORLD_SIZE" not in os.environ:
        share(fold, params.machine.gpus_per_fold)
        return
    set_determinism(params.train.deterministic)
    accelerator = make_accelerator(params.train.precision)
    checkpoint = Checkpoint(resume_folder(params.machine.resume_dir, checkpoint_key(params, fold)))
    try:
        progress = train_fold(fold, params, accelerator, checkpoint)
    except StoppedError as stopped:
        accelerator.print(f"\nfold {fold}: told to end; saved at {stopped}; the same command goes on from there")
        sys.exit(STOPPED)
    if accelerator.is_main_process:
        write(fold, progress, params)
        checkpoint.remove()
    accelerator.print(f"fold {fold}: Dice {progress.best_dice:.4f} after epoch {progress.best_epoch}")
    accelerator.end_training()


if __name__ == "__main__":
    run_cli(main)

"""Train one fold: `python -m stages.train FOLD` -> models/fold_<k> and its curve."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import nn

import handbone
from handbone import paths
from handbone.data.fold import FoldSamples, fold_samples
from handbone.errors import UserError, made, run
from handbone.hashing import file_hash
from handbone.inference.predict import Feed, predict, single
from handbone.inference.windows import windowed
from handbone.models import build_model
from handbone.models.registry import canonical, find
from handbone.models.storage import WEIGHTS, Settings, read_settings, save_model
from handbone.models.uniform import UniformModel
from handbone.models.weights import IMAGENET, NONE, load_into, read_weights
from handbone.params import Params, load_params
from handbone.scoring.dice import dice
from handbone.scoring.heldout import heldout_counts
from handbone.tables import write_table
from handbone.training.batches import make_loader
from handbone.training.cost import memory_advice
from handbone.training.interruption import STOPPED, StoppedError
from handbone.training.loop import Evaluate, Progress, Training, make_accelerator
from handbone.training.resume import Checkpoint, content_key, resume_folder

THRESHOLD = 0.5  # of the score that picks the best epoch; predict.threshold is tuned without training anew


def fold_seed(params: Params, fold: int) -> int:
    """A seed of its own for each fold."""
    return int(np.random.SeedSequence([params.seed, fold]).generate_state(1)[0])


def options(params: Params) -> dict[str, Any]:
    """The constructor arguments that params.yaml holds for the chosen architecture."""
    chosen = canonical(params.model.arch)
    return next((own for name, own in params.model.options.items() if canonical(name) == chosen), {})


def started_from(params: Params, fold: int) -> Path:
    """The file that `model.weights` names, or that the folder it names has for this fold.

    Such a folder is an earlier experiment's `models/`. Its weights must come from the same folds, or held-out people would have been
    trained on: a `UserError` otherwise, and where there are none.
    """
    source = paths.pretrained(params.model.weights)
    if not source.exists():
        raise UserError(f"{source}: expected the weights that model.weights names; found none; put them there, or name others")
    if not source.is_dir():
        return source
    own = source / paths.fold_model(fold).name
    if read_settings(own).folds_sha256 != file_hash(paths.FOLDS):
        raise UserError(
            f"{own}: expected weights that were trained on the folds of {paths.FOLDS}; found others, so that people held out now may have "
            "been trained on; set split as it was then, or start from other weights"
        )
    return own / WEIGHTS


def make_model(params: Params, fold: int) -> UniformModel:
    """The network that the parameters name, with the weights that it is to start from: of its pretrained part, or of an experiment."""
    network, source = params.model, started_from(params, fold)
    experiment = source != paths.pretrained(network.weights)
    start = network.weights if network.weights in (NONE, IMAGENET) else None if experiment else str(source)
    model = build_model(network.arch, encoder(params), start, network.in_channels, len(params.data.classes), **options(params))
    if experiment:
        load_into(model, read_weights(source), str(source))
    return model


def make_evaluate(files: list[Path], params: Params, accelerator: Accelerator) -> Evaluate:
    """The mean full-resolution Dice of a model on the held-out images, of which each process takes its share."""
    feed = Feed(params.train.size, params.model.in_channels, params.train.batch_size, accelerator.device)
    own, crop = files[accelerator.process_index :: accelerator.num_processes], params.train.crop

    def evaluate(model: nn.Module) -> float:
        predictor = single(windowed(model, crop, crop // 2) if crop else model)
        counts = predict(predictor, own, feed, lambda index, found: heldout_counts(own[index], found, THRESHOLD)) if own else ()
        return float(dice(np.stack(gather_object(list(counts)))).mean())

    return evaluate


def checkpoint_key(params: Params, fold: int) -> str:
    """Everything that decides the fold's weights: settings, data, folds, code, torch."""
    sections = params.model_dump(include={"seed", "model", "train"})
    decisive = sections | {"classes": params.data.classes, "fold": fold, "torch": torch.__version__, "cuda": torch.cuda.is_available()}
    code = list(Path(handbone.__file__).parent.rglob("*.py"))
    tables = [made(path) for path in (paths.TRAIN_INDEX, paths.FOLDS, paths.PSEUDO_INDEX)]
    return content_key(decisive, [*tables, started_from(params, fold), Path(__file__), *code])


def announce(model: nn.Module, samples: FoldSamples, steps: int, params: Params) -> str:
    """What is about to be done, and how much of it."""
    weights = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    network = f"{canonical(params.model.arch)} with {weights:.1f} M parameters at {params.train.size} px, weights: {params.model.weights}"
    images = f"{len(samples.train)} images to train on, {len(samples.held)} held out"
    return f"{images}; {network}; {params.train.epochs} epochs of {steps} batches"


def write(fold: int, progress: Progress, params: Params) -> None:
    """The best epoch's weights, what builds their network, and the curve."""
    settings = Settings(
        arch=canonical(params.model.arch),
        encoder=encoder(params),
        in_channels=params.model.in_channels,
        classes=params.data.classes,
        options=options(params),
        weights=params.model.weights,
        weights_sha256=file_hash(started_from(params, fold)),
        folds_sha256=file_hash(paths.FOLDS),
        size=params.train.size,
        fold=fold,
        epoch=progress.best_epoch,
        dice=progress.best_dice,
    )
    save_model(paths.fold_model(fold), progress.best_weights, settings)
    write_table(pd.DataFrame(progress.rows, columns=["epoch", "lr", "loss", "dice"]), paths.fold_curve(fold))


def encoder(params: Params) -> str | None:
    """The encoder, where the architecture leaves it to choose."""
    return params.model.encoder if find(params.model.arch).encoder else None


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
        return training.run(make_evaluate(samples.held["file"].tolist(), params, accelerator), checkpoint, f"fold {fold}")


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
        raise UserError(f"python -m stages.train: expected the number of a fold; found {found}; name one, e.g. 0")
    fold = int(sys.argv[1])
    params = load_params()
    if params.machine.processes > 1 and "WORLD_SIZE" not in os.environ:
        share(fold, params.machine.processes)
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
    run(main)

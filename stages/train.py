"""Train one fold: `python -m stages.train FOLD` -> models/fold_<k> and its curve."""

from __future__ import annotations

import sys
from multiprocessing import get_all_start_methods
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from accelerate import Accelerator
from torch import nn
from torch.utils.data import DataLoader
from tqdm import tqdm

import handbone
from handbone import paths
from handbone.data.augment import Augmenter
from handbone.data.dataset import EpochBatches, Recipe, TrainingSet, collate
from handbone.data.resize import scaled_shape
from handbone.errors import UserError, run
from handbone.hashing import file_hash
from handbone.inference.predict import Feed, predict, single
from handbone.memory import available_bytes
from handbone.models import build_model
from handbone.models.registry import canonical, find
from handbone.models.storage import Settings, save_model
from handbone.models.weights import IMAGENET, NONE
from handbone.parallel import ahead
from handbone.params import Params, load_params
from handbone.scoring.dice import dice
from handbone.scoring.heldout import heldout_counts
from handbone.tables import read_table, write_table
from handbone.training.loop import Evaluate, Progress, Training, make_accelerator
from handbone.training.resume import Checkpoint, content_key, resume_folder

MEMORY_SHARE = 0.5  # of what is free, for the training images
THRESHOLD = 0.5  # of the score that picks the best epoch; predict.threshold is tuned without training anew


def fold_seed(params: Params, fold: int) -> int:
    """A seed of its own for each fold."""
    return int(np.random.SeedSequence([params.seed, fold]).generate_state(1)[0])


def options(params: Params) -> dict[str, Any]:
    """The constructor arguments that params.yaml holds for the chosen architecture."""
    chosen = canonical(params.model.arch)
    return next((own for name, own in params.model.options.items() if canonical(name) == chosen), {})


def pretrained(params: Params) -> str:
    """`none`, `imagenet`, or the path of a file."""
    named = params.model.weights
    return named if named in (NONE, IMAGENET) else str(paths.pretrained(named))


def heldout_split(fold: int, params: Params) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The index's rows of the images to train on and of those held out, with their cached files."""
    index = read_table(paths.INDEX)
    table = index[index["subset"] == "train"].merge(read_table(paths.FOLDS), on=["key", "person"])
    table["file"] = pd.Series([paths.cached_sample("train", key) for key in table["key"]], table.index, object)
    train, held = table[table["fold"] != fold], table[table["fold"] == fold]
    if not len(held) or not len(train):
        raise UserError(f"folds: expected a fold from 0 to {params.split.n_folds - 1}; found {fold}; mend folds in params.yaml")
    return train, held


def make_loader(train: pd.DataFrame, params: Params, seed: int) -> tuple[DataLoader[Any], EpochBatches]:
    """Augmented batches of the training images, all padded to the largest of their shapes at the network's size."""
    scaled = [scaled_shape(shape, params.train.size) for shape in zip(train["height"], train["width"], strict=True)]
    canvas = (max(height for height, _ in scaled), max(width for _, width in scaled))
    channels = params.model.in_channels
    recipe = Recipe(channels, params.train.size, canvas, seed)
    samples = TrainingSet(train["file"].tolist(), recipe, Augmenter(params.train.augment, channels))
    first_image, first_masks = samples.load(0)
    if len(samples) * (first_image.nbytes + first_masks.bits.nbytes) < available_bytes() * MEMORY_SHARE:
        loaded = ahead(samples.load, range(len(samples)))
        samples.keep(list(tqdm(loaded, total=len(samples), desc="into memory", unit="image", leave=False)))
    batches = EpochBatches(len(samples), params.train.batch_size, seed)
    workers = params.machine.loaders
    # forked, where that is to be had: spawned workers would each take a copy of the images in memory
    context = "fork" if workers and "fork" in get_all_start_methods() else None
    loader = DataLoader(
        samples,
        batch_sampler=batches,
        collate_fn=collate,
        num_workers=workers,
        persistent_workers=workers > 0,
        multiprocessing_context=context,
    )
    return loader, batches


def make_evaluate(files: list[Path], params: Params, device: torch.device) -> Evaluate:
    """The mean full-resolution Dice of a model on the held-out images."""
    feed = Feed(params.train.size, params.model.in_channels, params.train.batch_size, device)

    def evaluate(model: nn.Module) -> float:
        counts = predict(single(model), files, feed, lambda index, probabilities: heldout_counts(files[index], probabilities, THRESHOLD))
        return float(dice(np.stack(list(counts))).mean())

    return evaluate


def checkpoint_key(params: Params, fold: int) -> str:
    """Everything that decides the fold's weights: settings, data, folds, code, torch."""
    sections = params.model_dump(include={"seed", "model", "train"})
    decisive = sections | {"classes": params.data.classes, "fold": fold, "torch": torch.__version__, "cuda": torch.cuda.is_available()}
    code = list(Path(handbone.__file__).parent.rglob("*.py"))
    return content_key(decisive, [paths.INDEX, paths.FOLDS, paths.pretrained(params.model.weights), Path(__file__), *code])


def announce(model: nn.Module, train: int, held: int, params: Params) -> str:
    """What is about to be done, and how much of it."""
    weights = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    network = f"{canonical(params.model.arch)} with {weights:.1f} M parameters at {params.train.size} px, weights: {params.model.weights}"
    steps = -(-train // params.train.batch_size)
    return f"{train} images to train on, {held} held out; {network}; {params.train.epochs} epochs of {steps} steps"


def write(fold: int, progress: Progress, params: Params) -> None:
    """The best epoch's weights, what builds their network, and the curve."""
    settings = Settings(
        arch=canonical(params.model.arch),
        encoder=encoder(params),
        in_channels=params.model.in_channels,
        classes=params.data.classes,
        options=options(params),
        weights=params.model.weights,
        weights_sha256=file_hash(paths.pretrained(params.model.weights)),
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
    train, held = heldout_split(fold, params)
    seed = fold_seed(params, fold)
    torch.manual_seed(seed)
    network = params.model
    model = build_model(network.arch, encoder(params), pretrained(params), network.in_channels, len(params.data.classes), **options(params))
    accelerator.print(f"fold {fold} on {accelerator.device}: {announce(model, len(train), len(held), params)}")
    training = Training(model, *make_loader(train, params, seed), params.train, seed, accelerator)
    return training.run(make_evaluate(held["file"].tolist(), params, accelerator.device), checkpoint, f"fold {fold}")


def main() -> None:
    """Run the stage."""
    fold = int(sys.argv[1])
    params = load_params()
    accelerator = make_accelerator(params.train.precision)
    checkpoint = Checkpoint(resume_folder(params.machine.resume_dir, checkpoint_key(params, fold)))
    progress = train_fold(fold, params, accelerator, checkpoint)
    if accelerator.is_main_process:
        write(fold, progress, params)
        checkpoint.remove()
    accelerator.print(f"fold {fold}: Dice {progress.best_dice:.4f} after epoch {progress.best_epoch}")


if __name__ == "__main__":
    run(main)

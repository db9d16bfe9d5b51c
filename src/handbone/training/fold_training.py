"""The training of one fold, composed from parameters and files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from numpy.typing import NDArray
from torch import nn

from handbone.config.params import Params
from handbone.models.device import describe_machine
from handbone.models.registry import canonical, spec_from_params
from handbone.models.saved import TrainedModelInfo
from handbone.training.batch_size import find_batch_size, images_of_fold
from handbone.training.checkpoint import Checkpoint, resume_folder, run_fingerprint
from handbone.training.data.fold import FoldSamples, TrainFiles, fold_samples
from handbone.training.data.loader import make_loader, padded_shape
from handbone.training.estimate import warn_without_gpu
from handbone.training.init_weights import InitWeights, make_model
from handbone.training.seeding import fold_seed
from handbone.training.settings import training_settings
from handbone.training.stage_code import stage_code
from handbone.training.state import Progress
from handbone.training.trainer import Trainer
from handbone.training.watching import Watcher
from handbone.utils.errors import require_file
from handbone.utils.hashing import file_hash
from handbone.utils.io import read_table

# a model and the npz of each sample by key -> its Dice (N, C) for each image and class, equal in all processes
Score = Callable[[nn.Module, Mapping[str, Path]], NDArray[np.float64]]


@dataclass(frozen=True)
class FoldTraining:
    """fold: the one that is held out; files, weights: what the training reads."""

    fold: int
    params: Params
    files: TrainFiles
    weights: InitWeights

    @cached_property
    def samples(self) -> FoldSamples:
        """The images to train on and those that are held out. Raises `UserError` as `fold_samples` does."""
        return fold_samples(self.fold, self.params, self.files)

    def with_batch_size(self, accelerator: Accelerator) -> FoldTraining:
        """The same training with a number for `train.batch_size: auto`: the same in each fold, and for any number of processes.

        What `find_batch_size` finds is kept beside the checkpoints. The main process decides. Raises `UserError` as that function does.
        """
        if self.params.train.batch_size != "auto":
            return self
        found = [0]
        if accelerator.is_main_process:
            folder = resume_folder(self.params.machine.resume_dir, "batch_sizes")
            images, pseudo = read_table(self.files.index), read_table(self.files.pseudo_index)
            shape = padded_shape(pd.concat([images, pseudo]) if len(pseudo) else images, self.params)
            count = images_of_fold(len(images), self.params.split.n_folds)
            found = [find_batch_size(self.params, count, shape, accelerator.device, folder)]
        if accelerator.num_processes > 1:
            broadcast_object_list(found)
        accelerator.print(f"fold {self.fold}: train.batch_size is {found[0]} on {accelerator.device}", flush=True)
        train = self.params.train.model_copy(update={"batch_size": found[0]})
        return replace(self, params=self.params.model_copy(update={"train": train}))

    def fingerprint(self, root: Path) -> str:
        """Hash of everything that decides the weights: parameters, data, folds, initial weights, torch, code.

        The code is that of the stage train in dvc.yaml of the repository's folder `root`, so the hash changes when DVC would train again.
        Raises `UserError` if a file is missing.
        """
        settings = training_settings(self.params) | {"fold": self.fold}
        settings |= {"torch": torch.__version__, "cuda": torch.cuda.is_available()}
        files = {"index": self.files.index, "areas": self.files.areas, "folds": self.files.folds, "pseudo": self.files.pseudo_index}
        files |= {"weights": self.weights.file} if self.weights.file else {}
        files |= {file.as_posix(): root / file for file in stage_code(root, "train")}
        return run_fingerprint(settings, {name: require_file(file) for name, file in files.items()})

    def run(self, accelerator: Accelerator, checkpoint: Checkpoint, models: Path, score: Score, watchers: Sequence[Watcher]) -> Progress:
        """Train, or resume from the checkpoint -> the learning curve and the best weights.

        models: the folder to which the caller will write the weights; score: gets the held-out samples; watchers: as of `Trainer.fit`.
        Raises `Preempted` after a signal once a checkpoint is written, and `UserError` for faults in the parameters or too little disk.
        """
        params, name, seed = self.params, f"fold {self.fold}", fold_seed(self.params.seed, self.fold)
        torch.manual_seed(seed)
        model = make_model(params, self.weights)  # first, so that weights that cannot be had cost no time
        samples = self.samples
        if accelerator.is_main_process:
            warn_without_gpu(max(padded_shape(samples.train, params)), accelerator.device)
            samples.check_files(self.files)
        loader, batches = make_loader(samples.train, params, seed, accelerator.process_index, accelerator.num_processes)
        accelerator.print(f"{name} on {accelerator.device}: {_summary(model, samples, len(batches), params)}", flush=True)
        class_weights = [params.train.class_weights.get(name, 1.0) for name in params.data.classes]
        val_files = samples.val_files()
        trainer = Trainer(model, loader, batches, params.train, class_weights, seed, accelerator, params.data.exclusive)
        trainer.require_space(checkpoint, models)
        return trainer.fit(lambda averaged: score(averaged, val_files), checkpoint, name, watchers)

    def model_info(self, progress: Progress, accelerator: Accelerator) -> TrainedModelInfo:
        """The description that is saved with the best weights."""
        return TrainedModelInfo(
            spec=spec_from_params(self.params.model, self.params.data.classes, self.params.data.exclusive),
            weights=self.params.model.weights,
            weights_sha256=self.weights.sha256,
            folds_sha256=file_hash(self.files.folds),
            size=self.params.train.size,
            fold=self.fold,
            epoch=progress.best_epoch,
            dice=progress.best_dice,
            machine=describe_machine(accelerator.device, accelerator.num_processes) | {"batch_size": self.params.train.images_per_batch},
        )


def _summary(model: nn.Module, samples: FoldSamples, batches: int, params: Params) -> str:
    """One line: images, network, length of the training."""
    millions = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    network = f"{canonical(params.model.arch)} with {millions:.1f} M parameters at {params.train.size} px, weights: {params.model.weights}"
    images = f"{len(samples.train)} images to train on, {len(samples.val)} to validate on"
    return f"{images}; {network}; {params.train.epochs} epochs of {batches} batches"

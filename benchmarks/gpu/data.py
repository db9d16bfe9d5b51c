"""The synthetic data set that the other sections use, and how long one core takes to draw a training sample."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from time import perf_counter

import cv2

from benchmarks.gpu.parameters import parameters, write_params
from benchmarks.gpu.record import Record
from benchmarks.gpu.runner import Setup
from handbone.cache.sample import read_masks
from handbone.config import paths
from handbone.config.params import Params
from handbone.evaluation.decision import Decision, decide, decided_counts
from handbone.masks.coverage import coverage
from handbone.masks.cropped_maps import CroppedMaps
from handbone.masks.rle import encode_runs
from handbone.training.data.augment import Augmenter
from handbone.training.data.dataset import TrainingSet, TrainSampleSpec
from handbone.training.data.fold import TrainFiles
from handbone.utils.io import read_table

IMAGES, DRAWS = 16, 6
TRAIN_FILES = TrainFiles(
    paths.TRAIN_INDEX, paths.AREAS, paths.FOLDS, paths.PSEUDO_INDEX, partial(paths.cached_sample, "train"), paths.pseudo_sample
)


def data(record: Record, setup: Setup) -> None:
    """Run the stages before the training; seconds of each, without the start of a process."""
    write_params(parameters(setup))
    for name in ("phantom", "preprocess", "split", "pseudo"):
        start = perf_counter()
        import_module(f"stages.{name}").main()
        record.put(f"{name}_s", perf_counter() - start)
    start = perf_counter()
    _compile_kernels()
    record.put("kernels_s", perf_counter() - start)
    cv2.setNumThreads(1)
    for preset in ("gpu24", "gpu80"):
        for augment in ("preset", "strong"):
            changes = {} if augment == "preset" else {"train.augment": augment}
            with record.guard(f"draw_ms_{preset}_{augment}"):
                record.put(f"draw_ms_{preset}_{augment}", _draw_ms(parameters(setup, changes, preset)))


def _compile_kernels() -> None:
    """Those of the validation and the submission, once for all sections: it takes a few seconds."""
    masks = read_masks(cached_files(1)[0])
    maps, decision = CroppedMaps.from_dense(coverage(masks, (64, 64)).dense()), Decision(0.5)
    decided_counts([maps], masks, decision)
    encode_runs(decide([maps], masks.shape, decision))


def cached_files(count: int = IMAGES) -> list[Path]:
    """The npz of the first training samples."""
    return [paths.cached_sample("train", key) for key in read_table(paths.TRAIN_INDEX)["key"].astype(str)][:count]


def training_set(params: Params, files: Sequence[Path]) -> TrainingSet:
    """Augmented square samples, held in memory."""
    size = params.train.size
    samples = TrainingSet(files, TrainSampleSpec(1, size, (size, size), 0), Augmenter(params.train.augment, 1))
    samples.keep_in_memory([samples.load(index) for index in range(len(files))])
    return samples


def _draw_ms(params: Params) -> float:
    samples = training_set(params, cached_files())
    samples[(0, 0, 0)]  # compiles the kernels
    start = perf_counter()
    for index in range(DRAWS):
        samples[(1, index, 0)]
    return 1e3 * (perf_counter() - start) / DRAWS

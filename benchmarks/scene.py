"""The data for all timings: synthetic hands of the competition's size, and logits that a good network could give for them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from handbone.cache.sample import read_masks, write_sample
from handbone.config.params import Params, PhantomParams, load_params
from handbone.dataset.layout import Sample, find_samples
from handbone.dataset.preprocess import PreprocessSpec, prepare_sample
from handbone.masks.boxed import Mask
from handbone.masks.packed import PackedMasks
from handbone.phantom.dataset import write_phantom

PARAMS = Path(__file__).parent.parent / "params.yaml"
SIDE, SIZE = 2048, 512
HANDS = PhantomParams(size=SIDE, train_people=3, test_people=1, bent_train=0.12, bent_test=0.58, seed=7)


@dataclass(frozen=True)
class Scene:
    """Data for the benchmarks.

    folder: for all files; samples: N with annotations; files: their npz in the cache; logits: (C, 512, 512) of the first few samples;
    quick: few repetitions.
    """

    folder: Path
    samples: list[Sample]
    files: list[Path]
    logits: list[Tensor]
    params: Params
    quick: bool

    @property
    def classes(self) -> list[str]:
        """C labels, in order."""
        return self.params.data.classes

    @property
    def preprocess_spec(self) -> PreprocessSpec:
        """Native size, grey."""
        return PreprocessSpec(self.classes, allow_missing=False, size=None, channels=1)

    def rounds(self, full: int) -> int:
        """How often to run: `full` times, or once if quick."""
        return 1 if self.quick else full

    def masks(self, index: int) -> PackedMasks:
        """One sample's truth."""
        return read_masks(self.files[index])

    def dense(self, index: int) -> Mask:
        """One sample's truth, (C, H, W) bool."""
        return self.masks(index).unpack().dense()


@contextmanager
def scene(quick: bool) -> Iterator[Scene]:
    """Create the data in a temporary folder."""
    params = load_params(PARAMS)
    with TemporaryDirectory() as name:
        folder = Path(name)
        write_phantom(HANDS, folder / "data", None)
        samples = [sample for sample in find_samples(folder / "data", []) if sample.subset == "train"]
        files = [folder / "cache" / f"{sample.key}.npz" for sample in samples]
        hands = Scene(folder, samples, files, [], params, quick)
        for sample, file in zip(samples, files, strict=True):
            write_sample(file, prepare_sample(sample, hands.preprocess_spec))
        hands.logits.extend(make_logits(hands.dense(index), SIZE, index) for index in range(2 if quick else len(files)))
        yield hands


def make_logits(masks: Mask, size: int, seed: int) -> Tensor:
    """(C, H, W) bool -> (C, size, size) float32: blurred coverage as logits, with smooth noise."""
    rng = np.random.default_rng(seed)
    return torch.from_numpy(np.stack([_logits(mask, size, rng) for mask in masks]))


def _logits(mask: Mask, size: int, rng: np.random.Generator) -> NDArray[np.float32]:
    coverage = cv2.resize(mask.astype(np.float32), (size, size), interpolation=cv2.INTER_AREA)
    probs = np.clip(cv2.GaussianBlur(coverage, (0, 0), 1), 1e-4, 1 - 1e-4)
    noise = cv2.resize(rng.normal(0, 0.3, (size // 16, size // 16)).astype(np.float32), (size, size), interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.log(probs / (1 - probs)) + noise, np.float32)

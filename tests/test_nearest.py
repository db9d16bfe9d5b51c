"""The study's common targets are what cv2 makes of the masks."""

import subprocess
import sys

import pytest

from imports import ROOT

CODE = """
import cv2, numpy as np
from benchmarks.nearest import use
from handbone.data import dataset
from handbone.data.augment import Augmenter
from handbone.data.masks import BoxedMasks
from handbone.data.packed import PackedMasks
import torch
from handbone.training.targets import TargetBuffer
use({target!r})
masks = np.random.default_rng(0).random((3, 96, 128)) < 0.5
_, motion = Augmenter([{{"GridDistortion": {{"p": 0.0}}}}] if {grid} else [], 1)(np.zeros((24, 32), np.uint8), 0)
assert motion.ndim == (3 if {grid} else 2)
found = dataset.coverage(PackedMasks.pack(BoxedMasks.from_dense(masks)), (24, 32), motion)
dense = TargetBuffer(torch.device("cpu")).fill(found.boxes[None], found.values, (24, 32))[0].numpy()
ways = {{"corner": cv2.INTER_NEAREST, "centre": cv2.INTER_NEAREST_EXACT}}
expected = np.stack([cv2.resize(mask.astype(np.uint8), (32, 24), interpolation=ways[{target!r}]) for mask in masks])
print((dense != expected).sum())
"""


@pytest.mark.parametrize("grid", [False, True])
@pytest.mark.parametrize("target", ["corner", "centre"])
def test_it_is_what_cv2_takes(target: str, grid: bool) -> None:
    code = CODE.format(target=target, grid=grid)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "0", done.stderr[-2000:] + done.stdout

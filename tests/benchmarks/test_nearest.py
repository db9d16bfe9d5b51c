"""The study's common targets are what cv2 makes of the masks, with affine motions and with others."""

import subprocess
import sys

import pytest

from imports import ROOT

CODE = """
import cv2, numpy as np, torch
from benchmarks.nearest import use
from handbone.data import dataset
from handbone.masks.coverage import IDENTITY
from handbone.masks.boxed import BoxedMasks
from handbone.masks.packed import PackedMasks
from handbone.training.target_buffer import TargetBuffer
use({target!r})
masks = np.random.default_rng(0).random((3, 96, 128)) < 0.5
way = {{"corner": cv2.INTER_NEAREST, "centre": cv2.INTER_NEAREST_EXACT}}[{target!r}]
expected = np.stack([cv2.resize(mask.astype(np.uint8), (32, 24), interpolation=way) for mask in masks])
for motion in (IDENTITY, np.stack(np.meshgrid(np.arange(32), np.arange(24)), -1).astype(np.float32)):
    found = dataset.coverage(PackedMasks.pack(BoxedMasks.from_dense(masks)), (24, 32), motion)
    dense = TargetBuffer(torch.device("cpu")).fill(found.boxes[None], found.values, (24, 32))[0].numpy()
    print((dense != expected).sum())
"""


@pytest.mark.parametrize("target", ["corner", "centre"])
def test_it_is_what_cv2_takes(target: str) -> None:
    done = subprocess.run([sys.executable, "-c", CODE.format(target=target)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["0", "0"], done.stderr[-2000:] + done.stdout

"""The common hard targets: they equal what cv2 makes of the masks, and the study trains on them."""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from benchmarks.nearest import Target, TargetSet, nearest_centre, nearest_corner

from handbone.cache.sample import CachedSample, write_sample
from handbone.cli.preset import preset_params
from handbone.masks.boxed import BoxedMasks
from handbone.masks.coverage import IDENTITY, InverseWarp
from handbone.masks.packed import PackedMasks
from handbone.training.data.loader import make_loader
from handbone.training.staging import stage_target
from handbone.training.target_buffer import TargetBuffer
from imports import ROOT

CPU = torch.device("cpu")
GRID = np.stack(np.meshgrid(np.arange(32), np.arange(24)), -1).astype(np.float32)


@pytest.mark.parametrize("warp", [IDENTITY, GRID], ids=["affine", "grid"])
@pytest.mark.parametrize(("target", "interpolation"), [(nearest_corner, cv2.INTER_NEAREST), (nearest_centre, cv2.INTER_NEAREST_EXACT)])
def test_a_target_is_what_cv2_makes(target: Target, interpolation: int, warp: InverseWarp) -> None:
    masks = np.random.default_rng(0).random((3, 96, 128)) < 0.5
    expected = np.stack([cv2.resize(mask.astype(np.uint8), (32, 24), interpolation=interpolation) for mask in masks])
    maps = target(PackedMasks.pack(BoxedMasks.from_dense(masks)), (24, 32), warp)
    dense = TargetBuffer(CPU).fill(stage_target(maps.boxes[None], maps.values, (24, 32), CPU))[0].numpy()
    np.testing.assert_array_equal(dense, expected)


def test_a_target_set_gives_the_images_of_the_training_with_other_targets(tmp_path: Path) -> None:
    params = preset_params("demo", ROOT / "presets")
    train = params.train.model_copy(update={"size": 64})
    params = params.model_copy(update={"train": train, "data": params.data.model_copy(update={"classes": ["a", "b", "c"]})})
    masks = PackedMasks.pack(BoxedMasks.from_dense(np.random.default_rng(0).random((3, 96, 128)) < 0.5))
    image = np.random.default_rng(1).integers(0, 256, (96, 128), np.uint8)
    write_sample(tmp_path / "a.npz", CachedSample(image, (96, 128), masks))
    table = pd.DataFrame({"file": [tmp_path / "a.npz"], "height": [96], "width": [128], "weight": [0.5], "rate": [1.0]})
    samples, others = make_loader(table, params, 3)[0].dataset, TargetSet(nearest_centre, table, params, 3)
    for repeat in range(3):
        (expected, coverage, weight), (found, target, other_weight) = samples[(1, 0, repeat)], others[(1, 0, repeat)]
        np.testing.assert_array_equal(found, expected)
        assert weight == other_weight == 0.5
        assert set(np.unique(target.values)) <= {0, 255} < set(np.unique(coverage.values))

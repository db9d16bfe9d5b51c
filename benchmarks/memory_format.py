"""Networks in the two memory formats: what it gains that a trained model is loaded as channels_last."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import torch
from torch import nn

from benchmarks.scene import Scene
from benchmarks.table import ResultRow, check
from benchmarks.timing import interleaved, peak_mb
from handbone.inference.predictor import InputSpec, from_model, predict
from handbone.masks.cropped_maps import CroppedMaps
from handbone.models.registry import build_model
from handbone.models.spec import ModelSpec

SIZE, BATCH = 256, 2
CLASSES = 4  # few, as without training every pixel of every map is near a half, which takes long to crop
ENCODERS = {"": "tu-resnet10t", "_convnext": "tu-convnext_atto"}  # the demo's, and one of those that gain most


def channels_last(scene: Scene) -> list[ResultRow]:
    """Predictions of a few images, from the cache to cropped maps."""
    return [_row(scene, f"predict{name}", encoder) for name, encoder in ENCODERS.items()]


def _row(scene: Scene, name: str, encoder: str) -> ResultRow:
    torch.manual_seed(0)
    plain = build_model(ModelSpec("Unet", encoder, 1, scene.classes[:CLASSES])).eval()
    model = copy.deepcopy(plain).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    files = {file.stem: file for file in scene.files[:BATCH]}
    works = [partial(_predict, each, files) for each in (plain, model)]
    pairs = zip(*(work() for work in works), strict=True)
    check(all(_steps_apart(one, other) <= 1 for one, other in pairs), f"{name}: the maps")
    slow, fast = interleaved(works, scene.rounds(7), (1, 1))
    note = f"Unet with {encoder}, {len(files)} images of {SIZE} px; baseline: its weights as PyTorch creates them"
    return ResultRow(name, slow / len(files), fast / len(files), peak_mb(works[1]), "", note)


def _predict(model: nn.Module, files: Mapping[str, Path]) -> list[CroppedMaps]:
    spec = InputSpec(SIZE, 1, BATCH, torch.device("cpu"))
    return [maps for _, maps in predict(from_model(model), files, spec)]


def _steps_apart(one: CroppedMaps, other: CroppedMaps) -> int:
    return int(abs(one.dense().astype(int) - other.dense()).max())

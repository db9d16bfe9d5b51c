"""The demo's two networks in PyTorch and as the ONNX file of `handbone export --onnx`: what ONNX Runtime gains on a CPU."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from benchmarks.scene import Scene
from benchmarks.table import ResultRow, check
from benchmarks.timing import interleaved, peak_mb
from handbone.config.params import load_params
from handbone.models.registry import build_model, spec_from_params
from handbone.prediction.onnx_graph import INPUT, TOLERANCE, EnsembleGraph, open_session, trials, write_onnx

BATCH = 8


def onnx(scene: Scene) -> list[ResultRow]:
    """Probabilities of a batch of images of the demo's size, from pixels on."""
    params = load_params()
    size, channels, spec = params.train.size, params.model.in_channels, spec_from_params(params.model, params.data.classes)
    torch.manual_seed(0)
    networks = [build_model(spec).eval().to(memory_format=torch.channels_last) for _ in params.folds]  # type: ignore[call-overload]
    with TemporaryDirectory() as folder:
        file = Path(folder, "model.onnx")
        sides = write_onnx(file, networks, channels, size, {}).sides
        session, graph = open_session(file), EnsembleGraph(networks)
    images = trials(channels, size, sides)[0].repeat(BATCH // 2, 1, 1, 1)
    plain, ours = partial(_torch, graph, images), partial(session.run, None, {INPUT: images.numpy()})
    check(abs(plain() - ours()[0]).max() <= TOLERANCE, "onnx: the probabilities")
    slow, fast = (time / BATCH for time in interleaved([plain, ours], scene.rounds(15), (1, 1)))
    note = f"the demo's {len(networks)} networks, {BATCH} images of {size} px, ms per image; baseline: PyTorch, channels_last"
    return [ResultRow("onnx", slow, fast, peak_mb(ours), "", note)]


@torch.inference_mode()
def _torch(graph: torch.nn.Module, images: torch.Tensor) -> Any:
    return graph(images).numpy()

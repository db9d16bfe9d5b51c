"""The mean over an image and its mirror image, without the network."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from benchmarks.scene import SIZE, Scene
from benchmarks.table import ResultRow, check
from benchmarks.timing import interleaved, peak_mb
from handbone.config.params import InferParams
from handbone.inference.tta import ensemble

BATCH = 2


def mirrored(scene: Scene) -> list[ResultRow]:
    """Logits of two views -> uint8 probabilities, against the usual sum of two tensors."""
    logits = torch.stack(scene.logits[:BATCH])
    settings = InferParams(hflip=True, vflip=False, scales=[1.0])
    images = torch.zeros(BATCH, 1, SIZE, SIZE)
    ours = torch.no_grad()(partial(ensemble([lambda _: logits], settings), images))
    plain = torch.no_grad()(partial(_plain, logits))
    check(torch.equal(ours(), plain()), "mirrored: the probabilities")
    slow, fast = (time / BATCH for time in interleaved([plain, ours], scene.rounds(9), (1, 1)))
    return [ResultRow("mirrored_512", slow, fast, peak_mb(ours), "", f"2 views of {BATCH} images, ms per image")]


def _plain(logits: Tensor) -> Tensor:
    """As it is usually written: each step makes a new tensor."""
    mean = (logits.sigmoid() + logits.sigmoid().flip(-1)) / 2
    return (mean * 255).round().to(torch.uint8)

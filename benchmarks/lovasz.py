"""The Lovász loss, forward and backward: class by class against all classes at once."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from benchmarks.scene import Scene
from benchmarks.table import ResultRow, check
from benchmarks.timing import interleaved, peak_mb
from handbone.masks.coverage import coverage
from handbone.training.losses import LossInputs, lovasz
from handbone.training.lovasz import jaccard_steps

SIZE, BATCH = 512, 2


def lovasz_512(scene: Scene) -> list[ResultRow]:
    """The baseline is the formula itself, which autograd differentiates."""
    maps = [coverage(scene.masks(index), (SIZE, SIZE)).dense() for index in range(BATCH)]
    target = torch.stack([torch.from_numpy(each) for each in maps]).float() / 255
    logits = 2 * torch.randn(target.shape, generator=torch.Generator().manual_seed(0))
    works = [partial(_gradient, plain, logits, target) for plain in (True, False)]
    check(torch.equal(*(work() for work in works)), "lovasz_512: the gradient")
    slow, fast = interleaved(works, scene.rounds(3), (1, 1))
    own = logits.nbytes / 1e6
    note = f"batch {BATCH}, one thread; peak MB of the baseline {peak_mb(works[0]):.0f}, of the logits {own:.0f}"
    return [ResultRow("lovasz_512", slow, fast, peak_mb(works[1]), "", note)]


def _gradient(plain: bool, logits: Tensor, target: Tensor) -> Tensor:
    variable = logits.clone().requires_grad_()
    inputs = LossInputs(variable, target, torch.ones(len(logits)))
    loss = _plain(inputs.probs, target) if plain else lovasz(inputs)
    (gradient,) = torch.autograd.grad(loss.sum(), variable)
    return gradient


def _plain(probs: Tensor, target: Tensor) -> Tensor:
    covered = target.flatten(2)
    errors, order = (probs.flatten(2) - covered).abs().sort(descending=True)
    return (errors * jaccard_steps(covered.gather(2, order))).sum(2).mean(0)

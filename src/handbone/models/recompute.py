"""Activation checkpointing: a part of a network keeps no activations and computes them a second time for its gradient."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def recomputed(module: nn.Module, *inputs: Tensor) -> Tensor:
    """`module(*inputs)`, without keeping activations in training. The second pass does not update batch norm's running statistics."""
    if not (module.training and torch.is_grad_enabled()):
        output: Tensor = module(*inputs)
        return output
    result: Tensor = checkpoint(module, *inputs, use_reentrant=False, context_fn=lambda: (nullcontext(), _frozen_statistics(module)))
    return result


@contextmanager
def _frozen_statistics(module: nn.Module) -> Iterator[None]:
    """Momentum 0 and no counter keep the running statistics; everything else is computed as in the first pass."""
    norms = [part for part in module.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, (momentum, batches) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, batches

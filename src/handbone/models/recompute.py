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
    """Momentum 0 keeps the running statistics, and the counter gets its value back; the rest is computed as in the first pass.

    The counter stays where it is during the pass: SyncBatchNorm asserts that there is one.
    """
    norms = [part for part in module.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
    before = [(norm.momentum, None if norm.num_batches_tracked is None else norm.num_batches_tracked.clone()) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, (momentum, batches) in zip(norms, before, strict=True):
            norm.momentum = momentum
            if norm.num_batches_tracked is not None and batches is not None:
                norm.num_batches_tracked.copy_(batches)

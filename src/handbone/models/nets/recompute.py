"""Activation checkpointing: what a part of a network computes is forgotten and computed again for its gradient."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def recomputed(module: nn.Module, *inputs: Tensor) -> Tensor:
    """`module(*inputs)`, its activations not kept while training. Batch statistics are counted once, not at the second time."""
    if not (module.training and torch.is_grad_enabled()):
        found: Tensor = module(*inputs)
        return found
    result: Tensor = checkpoint(module, *inputs, use_reentrant=False, context_fn=lambda: (nullcontext(), _uncounted(module)))
    return result


@contextmanager
def _uncounted(module: nn.Module) -> Iterator[None]:
    """Running statistics stay where they are: with momentum 0 and no count of batches all else is as it was at the first time."""
    norms = [part for part in module.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
    kept = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, (momentum, batches) in zip(norms, kept, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, batches

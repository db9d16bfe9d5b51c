"""Batch norm whose statistics are those of the batches of all processes."""

from __future__ import annotations

from torch import nn


def synchronize_batch_norm(model: nn.Module) -> nn.Module:
    """`model` with every batch norm replaced by one that is synchronised; its parameters, buffers and mode stay.

    torch's own conversion drops the activation and the dropout that timm's batch norms contain.
    """
    from timm.layers.norm_act import convert_sync_batchnorm  # here, as timm takes a second to import

    converted: nn.Module = convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
    return converted

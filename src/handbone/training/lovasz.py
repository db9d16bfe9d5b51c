"""The Lovász extension of the Jaccard loss, and its gradient, in little memory."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.library import custom_op
from torch.nn import functional

FIXED_POINT = 1 << 24  # units per pixel: the resolution of float32 at 1


@custom_op("handbone::lovasz_extension", mutates_args=())  # torch.compile would unroll its loop and compile each class
def lovasz_extension(probs: Tensor, coverage: Tensor) -> tuple[Tensor, Tensor]:
    """(N, C, H, W) each -> the Lovász extension of the Jaccard loss of each map, (N, C), and its gradient by each probability.

    The gradient is known once the errors are sorted. So one class at a time is sorted, and nothing else is kept for the backward pass:
    all maps at once would take 20 times their own memory.
    """
    gradient, by_class = torch.empty_like(probs), []
    for index in range(probs.shape[1]):
        covered = coverage[:, index].flatten(1)
        excess = probs[:, index].flatten(1) - covered
        errors, order = excess.abs().sort(descending=True)  # (N, P)
        steps = jaccard_steps(covered.gather(1, order))
        by_class.append((errors * steps).sum(1))
        gradient[:, index] = excess.sign().mul_(torch.empty_like(steps).scatter_(1, order, steps)).view_as(gradient[:, index])
    return torch.stack(by_class, 1), gradient


@lovasz_extension.register_fake
def _lovasz_shapes(probs: Tensor, coverage: Tensor) -> tuple[Tensor, Tensor]:
    return probs.new_empty(probs.shape[:2]), torch.empty_like(probs)


def _keep_gradient(ctx: Any, inputs: tuple[Tensor, Tensor], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(output[1])
    ctx.set_materialize_grads(False)  # the gradient's own gradient would be a stack of zeros


def _scale_gradient(ctx: Any, by_map: Tensor, by_gradient: None) -> tuple[Tensor, None]:
    (gradient,) = ctx.saved_tensors
    return by_map[:, :, None, None] * gradient, None


lovasz_extension.register_autograd(_scale_gradient, setup_context=_keep_gradient)


def jaccard_steps(coverage: Tensor) -> Tensor:
    """(..., P) coverage, sorted by falling error -> (..., P) growth of the Jaccard loss when one more pixel is wrong.

    Pixel k adds (y + (1 - y)·J) / U, where J is the index before it (1 at first) and U the union with it. That equals the difference of
    two indices without their cancellation, which in float32 would lose the steps of a large image.
    """
    parts = (coverage * FIXED_POINT).round().long()  # sums of integers are exact, and equal in every run on a GPU
    lost = parts.cumsum(-1)
    inside = lost[..., -1:]
    union = inside + (FIXED_POINT - parts).cumsum(-1)
    before = functional.pad(((inside - lost) / union)[..., :-1], (1, 0), value=1.0)
    return (coverage + (1 - coverage) * before) / (union / FIXED_POINT)

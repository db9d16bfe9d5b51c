"""What a training step costs on a card that is not at hand: the real network and loss run on tensors without content, and are counted."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch._subclasses.fake_tensor import FakeCopyMode, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from handbone.config.params import Params
from handbone.models.wrapper import SegmentationModel
from handbone.planning.cards import Card
from handbone.training.estimate import CONTEXT, state_bytes
from handbone.training.trial import Trial, forward_backward
from handbone.utils.errors import Problem, UserError

IMAGES = 2  # in the batch that is counted; one image would be a special case for batch norm
# Of `gpu24` on one H100 (docs/performance.md): reserved against allocated memory; the time of the kernels against that of a card that
# reaches its peaks; the host's time to launch the kernels of one operation, forward and backward pass, optimiser and average included.
RESERVED, SLOWNESS, LAUNCH = 1.08, 3.3, 85e-6


@dataclass(frozen=True)
class StepCost:
    """A training step of `IMAGES` square images.

    flops, moved: (n,) of each operation, the floating-point operations and the bytes that it reads and writes; fixed: bytes of weights,
    gradients, moments and averages; activations: bytes per image at the peak.
    """

    flops: NDArray[np.float64]
    moved: NDArray[np.float64]
    fixed: float
    activations: float

    def on(self, card: Card, half: bool, images: int) -> Trial:
        """The step with a batch of so many images: it takes as long as the card computes or the host launches, whichever is longer."""
        return Trial(self._seconds(card, half, images), RESERVED * (self.fixed + images * self.activations) + CONTEXT)

    def _seconds(self, card: Card, half: bool, images: int) -> float | None:
        speed = card.half if half else card.single
        if speed is None or card.bandwidth is None:
            return None
        computed = float(np.maximum(self.flops / speed, self.moved / card.bandwidth).sum()) * SLOWNESS * images / IMAGES
        return max(computed, LAUNCH * len(self.flops))


class _Meter(TorchDispatchMode):
    """Counts the operations in its context, and the memory of the tensors that they make."""

    def __init__(self, model: torch.nn.Module) -> None:
        """model: its weights exist before, and their gradients do not grow with the images: neither is counted."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops: list[float] = []
        self.moved: list[float] = []
        self.peak = 0
        self._now = 0
        self._known = {tensor.untyped_storage()._cdata for tensor in model.state_dict(keep_vars=True).values()}
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.register_post_accumulate_grad_hook(self._forget_gradient)  # type: ignore[no-untyped-call]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run one operation; views cost nothing."""
        result = func(*args, **(kwargs or {}))
        read, made = _tensors((args, kwargs)), _tensors(result)
        for tensor in made:
            self._hold(tensor.untyped_storage())
        if made and not func.is_view:
            self.flops.append(_flops(func, args, kwargs or {}, result))
            self.moved.append(sum(tensor.nbytes for tensor in [*read, *made]))
        return result

    def _hold(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key not in self._known:
            self._known.add(key)
            self._now += storage.nbytes()
            self.peak = max(self.peak, self._now)
            weakref.finalize(storage, self._release, key, storage.nbytes())

    def _forget_gradient(self, parameter: Tensor) -> None:
        if parameter.grad is not None:
            storage = parameter.grad.untyped_storage()
            self._release(storage._cdata, storage.nbytes())

    def _release(self, key: int, size: int) -> None:
        if key in self._known:
            self._known.discard(key)
            self._now -= size


def _tensors(values: Any) -> list[Tensor]:
    return [value for value in tree_leaves(values) if isinstance(value, Tensor)]


def _flops(func: Any, args: Any, kwargs: Any, result: Any) -> float:
    """By PyTorch's table, except for the backward pass of convolutions, for which it ignores groups."""
    if func is torch.ops.aten.convolution_backward.default:
        gradient, inputs, weight, transposed, mask = args[0], args[1], args[2], args[7], args[10]
        return float(2 * (inputs if transposed else gradient).numel() * weight[0].numel() * sum(mask[:2]))
    count: Callable[..., Any] | None = flop_registry.get(func.overloadpacket)
    return 0.0 if count is None else float(count(*args, **kwargs, out_val=result))


def step_cost(model: SegmentationModel, params: Params, side: int, half: bool) -> StepCost:
    """Count a training step of the network on square images of `side` pixels. half: under autocast to 16 bits.

    Raises `UserError` (`plan.model`) for a network that does not run without content, or not at this size.
    """
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    with FakeCopyMode(mode):
        hollow = copy.deepcopy(model)
    try:
        with mode:
            hollow.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            with (meter := _Meter(hollow)):
                forward_backward(hollow, params, (IMAGES, side, side), torch.device("cpu"), torch.bfloat16 if half else None)
    except Exception as error:  # libraries raise many types of errors
        found = f"{type(error).__name__}: {(str(error).splitlines() or ['no text'])[0][:200]}"
        fix = "plan on a machine with the GPU, which runs real steps, or choose another size"
        raise UserError(Problem("plan.model", f"params.yaml: model at {side} px", "a network that can be counted", found, fix)) from None
    fixed = state_bytes(model, params.train)
    return StepCost(np.array(meter.flops), np.array(meter.moved), fixed, meter.peak / IMAGES)

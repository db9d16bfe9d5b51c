"""Operations of a network without running it: it gets tensors that have a shape and no content, and each operation is counted."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeCopyMode, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry


class Count(NamedTuple):
    """flops, moved: (n,) of each operation, its floating-point operations and the bytes that it reads and writes.

    peak: the most bytes at one time of all tensors, except for weights and their gradients.
    """

    flops: NDArray[np.float64]
    moved: NDArray[np.float64]
    peak: int


def count(model: nn.Module, run: Callable[[nn.Module], object]) -> Count:
    """Call `run` with a copy of the model, on the CPU. What it computes from the content of a tensor is an error of PyTorch."""
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    with FakeCopyMode(mode):
        hollow = copy.deepcopy(model)
    with mode:
        hollow.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        with (meter := _Meter(hollow)):
            run(hollow)
    return Count(np.array(meter.flops), np.array(meter.moved), meter.peak)


class _Meter(TorchDispatchMode):
    """Counts the operations in its context, and the memory of the tensors that they make."""

    def __init__(self, model: nn.Module) -> None:
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

"""One training step from the project's pieces, part by part, with its batch on the device already."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import TypeVar

import torch
from torch import Tensor
from torch.amp.grad_scaler import GradScaler

from benchmarks.gpu.data import cached_files, training_set
from benchmarks.gpu.measure import device, wait
from handbone.config.params import Params
from handbone.models.precision import autocast_dtype
from handbone.models.registry import build_model, spec_from_params
from handbone.training.data.dataset import Batch, collate
from handbone.training.deep_supervision import DeepSupervisionLoss
from handbone.training.losses import build_loss
from handbone.training.optim import make_optimizer
from handbone.training.staging import stage
from handbone.training.target_buffer import TargetBuffer
from handbone.training.weight_averaging import Ema

T = TypeVar("T")


def draw_batch(params: Params) -> Batch:
    """`train.batch_size` augmented samples."""
    samples = training_set(params, cached_files(params.train.images_per_batch))
    return collate([samples[(1, index % len(samples), index)] for index in range(params.train.images_per_batch)])


class ResidentStep:
    """Forward, loss, backward, optimiser and moving average: what `Trainer` does for a batch, without the transfer and the schedule.

    Arguments choose what `variants` compares: the memory format, the moving average, the optimiser's kernel.
    """

    def __init__(self, params: Params, batch: Batch, channels_last: bool = True, ema: bool = True, fused: bool = True) -> None:
        torch.manual_seed(0)
        place = device()
        self._format = torch.channels_last if channels_last else torch.contiguous_format
        self._model = build_model(spec_from_params(params.model, params.data.classes)).train().to(place, memory_format=self._format)  # type: ignore[call-overload]
        self._criterion = DeepSupervisionLoss(build_loss(params.train.loss, [1.0] * len(params.data.classes)))
        self._ema = Ema(self._model, params.train.ema_decay) if ema else None
        self._dtype = autocast_dtype(params.train.precision, place)
        fused = fused and place.type == "cuda" and self._dtype != torch.float16
        self._optimizer = make_optimizer(self._model, params.train, fused)
        self._scaler = GradScaler(place.type, enabled=self._dtype == torch.float16)
        self._batch = stage(batch, place)
        self._target = TargetBuffer(place).fill(self._batch.target)

    def __call__(self) -> None:
        """The whole step."""
        self.backward(self.loss(self.forward()))
        self.update()
        self.average()

    def forward(self) -> Tensor:
        """-> (N, C, h, w) logits, or what a network with auxiliary outputs gives."""
        inputs = self._batch.images.float().div_(255).contiguous(memory_format=self._format)
        with torch.autocast(self._batch.images.device.type, self._dtype, enabled=self._dtype is not None):
            outputs: Tensor = self._model(inputs)
        return outputs

    def loss(self, logits: Tensor) -> Tensor:
        """-> a scalar."""
        return self._criterion(logits, self._target, self._batch.weights)

    def backward(self, loss: Tensor) -> None:
        """Gradients."""
        self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]

    def update(self) -> None:
        """One step of the optimiser."""
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._optimizer.zero_grad(set_to_none=True)

    def average(self) -> None:
        """The moving average of the weights."""
        if self._ema is not None:
            self._ema.update()

    def parts_ms(self, repeats: int) -> dict[str, float]:
        """Mean milliseconds of each part. The GPU is waited for after each, so their sum is longer than a step."""
        total = dict.fromkeys(("forward", "loss", "backward", "optimizer", "ema"), 0.0)
        for _ in range(repeats):
            logits = _timed(total, "forward", self.forward)
            loss = _timed(total, "loss", partial(self.loss, logits))
            _timed(total, "backward", partial(self.backward, loss))
            _timed(total, "optimizer", self.update)
            _timed(total, "ema", self.average)
        return {name: 1e3 * value / repeats for name, value in total.items()}


def _timed(total: dict[str, float], name: str, work: Callable[[], T]) -> T:
    """Run `work`, wait for the GPU, and add the seconds to `total[name]`."""
    wait()
    start = perf_counter()
    result = work()
    wait()
    total[name] += perf_counter() - start
    return result

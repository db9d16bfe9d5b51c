"""Training steps on noise, to learn what a batch costs: the network, losses, optimizer and averages are those of the training."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn

from handbone.config.params import Params
from handbone.models.precision import autocast_dtype
from handbone.training.deep_supervision import DeepSupervisionLoss
from handbone.training.estimate import CONTEXT, dry_run
from handbone.training.losses import build_loss
from handbone.training.optim import make_optimizer, set_train_mode
from handbone.training.seeding import kernels_without_search
from handbone.training.weight_averaging import Ema, Swa
from handbone.utils.limits import limit_error


class Trial(NamedTuple):
    """A step with some batch: its seconds, null if nobody knows, and the bytes of the GPU that a training needs for it."""

    seconds: float | None
    memory: float


class TrialSteps:
    """Real steps of a network with batches of any size, on the device; the network is changed. On a CPU only the seconds are real.

    shape: (h, w) of the images in pixels.
    """

    def __init__(self, model: nn.Module, params: Params, shape: tuple[int, int], device: torch.device) -> None:
        self._model = model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._params, self._shape, self._device = params, shape, device
        self._dtype = autocast_dtype(params.train.precision, device)
        self._optimizer = make_optimizer(self._model, params.train, fused=device.type == "cuda" and self._dtype != torch.float16)
        set_train_mode(self._model, params.train.freeze_batch_norm)  # after frozen parameters are, as their norms are then frozen too
        self._averages: list[Ema | Swa] = [Ema(self._model, params.train.ema_decay)]
        self._averages += [] if params.train.swa_epochs is None else [Swa(self._model)]

    def __call__(self, images: int) -> Trial | None:
        """The second of two steps with a batch of so many images; null if they do not fit into the memory."""
        try:
            with kernels_without_search():
                seconds, peak = dry_run(self._model, lambda: self._step(images), self._device)
        except Exception as error:
            limit = limit_error(error, "train")
            if limit is None or limit.codes != {"machine.memory"}:
                raise
            return None
        finally:
            self._model.zero_grad(set_to_none=True)
            if self._device.type == "cuda":
                torch.cuda.empty_cache()
        return Trial(seconds, peak + CONTEXT)

    def _step(self, images: int) -> None:
        forward_backward(self._model, self._params, (images, *self._shape), self._device, self._dtype)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        for average in self._averages:
            average.update()


def forward_backward(
    model: nn.Module, params: Params, shape: tuple[int, int, int], device: torch.device, dtype: torch.dtype | None
) -> None:
    """The gradients of a batch (N, h, w) of noise, with every loss that some epoch uses. dtype: of autocast; null: float32 throughout."""
    classes = len(params.data.classes)
    loss = DeepSupervisionLoss(build_loss(dict.fromkeys(params.train.loss, 1.0), [1.0] * classes, params.data.exclusive))
    images = torch.rand(shape[0], params.model.in_channels, *shape[1:], device=device).contiguous(memory_format=torch.channels_last)
    target, weights = torch.rand(shape[0], classes, *shape[1:], device=device), torch.ones(shape[0], device=device)
    with torch.autocast(device.type, dtype, enabled=dtype is not None):
        outputs = model(images)
    value = loss(outputs, target, weights)
    del outputs  # the losses keep what they need
    value.backward()  # type: ignore[no-untyped-call]

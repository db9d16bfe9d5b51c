"""The training of one fold: plain PyTorch behind accelerate."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from handbone.data.dataset import Batch, EpochBatches
from handbone.errors import UserError
from handbone.params import TrainParams
from handbone.training.ema import Ema
from handbone.training.losses import combined
from handbone.training.resume import Checkpoint
from handbone.training.schedule import warmup_cosine
from handbone.training.supervise import supervised
from handbone.training.targets import TargetBuffer

Evaluate = Callable[[nn.Module], float]


@dataclass
class Progress:
    """What the epochs so far have brought: a row each for the curve, and the averaged weights of the best one."""

    rows: list[dict[str, float | int | None]] = field(default_factory=list)
    best_epoch: int = 0
    best_dice: float = -1.0
    best_weights: dict[str, Tensor] = field(default_factory=dict)


def make_accelerator(precision: str) -> Accelerator:
    """The device layer; `auto` is bf16 on a GPU that has it, fp16 on an older one, float32 on a CPU."""
    if precision == "auto":
        precision = "no" if not torch.cuda.is_available() else "bf16" if torch.cuda.is_bf16_supported() else "fp16"
    return Accelerator(mixed_precision=precision)


class Training:
    """One fold's training, an epoch at a time, so that it can be saved and taken up between any two."""

    def __init__(
        self, model: nn.Module, loader: DataLoader[Any], batches: EpochBatches, params: TrainParams, seed: int, accelerator: Accelerator
    ) -> None:
        self._params, self._seed, self._batches, self._accelerator = params, seed, batches, accelerator
        self._loss = supervised(combined(params.loss))
        model = model.to(accelerator.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.ema = Ema(model, params.ema_decay)
        optimizer = torch.optim.AdamW(model.parameters(), lr=params.lr, weight_decay=params.weight_decay)
        self._model, self._optimizer, self._loader = accelerator.prepare(model, optimizer, loader)
        factor = warmup_cosine(params.epochs * len(batches), params.warmup)
        self._schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        self._targets = TargetBuffer(accelerator.device)
        self.progress = Progress()

    def run(self, evaluate: Evaluate, checkpoint: Checkpoint, desc: str) -> Progress:
        """Train the epochs that are left, scoring the averaged model every few and at the last, saving after each."""
        if (state := checkpoint.load()) is not None:
            self._restore(state)
            self._accelerator.print(f"{desc}: going on after epoch {self._done} of {self._params.epochs}")
        bar = tqdm(total=self._params.epochs, initial=self._done, desc=desc, unit="epoch", disable=not self._accelerator.is_main_process)
        while self._done < self._params.epochs:
            row = self._epoch(self._done + 1, evaluate)
            self.progress.rows.append(row)
            if self._accelerator.is_main_process:
                checkpoint.save(self._state())
            bar.update()
            bar.set_postfix({"loss": row["loss"], "dice": self.progress.best_dice}, refresh=False)
        bar.close()
        return self.progress

    @property
    def _done(self) -> int:
        return len(self.progress.rows)

    def _epoch(self, epoch: int, evaluate: Evaluate) -> dict[str, float | int | None]:
        torch.manual_seed(self._seed * 100_003 + epoch)  # dropout draws the same in a resumed epoch as in an uninterrupted one
        self._batches.epoch = epoch
        self._model.train()
        lr = self._schedule.get_last_lr()[0]
        losses = [self._step(batch) for batch in self._loader]
        loss = float(torch.stack(losses).mean())
        if not math.isfinite(loss):
            raise UserError(f"epoch {epoch}: expected a finite loss; found {loss}; lower train.lr, or set train.precision to no")
        dice = None
        if epoch % self._params.validate_every == 0 or epoch == self._params.epochs:
            dice = evaluate(self.ema.model)
            if dice > self.progress.best_dice:
                weights = {name: tensor.detach().cpu().clone() for name, tensor in self.ema.state_dict().items()}
                self.progress.best_epoch, self.progress.best_dice, self.progress.best_weights = epoch, dice, weights
        return {"epoch": epoch, "lr": round(lr, 10), "loss": round(loss, 6), "dice": dice}

    def _step(self, batch: Batch) -> Tensor:
        images = torch.from_numpy(batch.images).to(self._accelerator.device)
        coverage = self._targets.fill(batch.boxes, batch.values, batch.images.shape[2:])
        inputs = images.float().div_(255).contiguous(memory_format=torch.channels_last)
        with self._accelerator.autocast():
            found = self._model(inputs)
        loss = self._loss(found, coverage)
        self._accelerator.backward(loss)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        self._schedule.step()
        self.ema.update(self._accelerator.unwrap_model(self._model))
        return loss.detach()

    def _state(self) -> dict[str, Any]:
        scaler = self._accelerator.scaler
        return {
            "model": self._accelerator.unwrap_model(self._model).state_dict(),
            "ema": self.ema.state_dict(),
            "ema_steps": self.ema.steps,
            "optimizer": self._optimizer.state_dict(),
            "schedule": self._schedule.state_dict(),
            "scaler": scaler.state_dict() if scaler else {},
            "progress": vars(self.progress),
        }

    def _restore(self, state: dict[str, Any]) -> None:
        self._accelerator.unwrap_model(self._model).load_state_dict(state["model"])
        self.ema.model.load_state_dict(state["ema"])
        self.ema.steps = state["ema_steps"]
        self._optimizer.load_state_dict(state["optimizer"])
        self._schedule.load_state_dict(state["schedule"])
        if self._accelerator.scaler:
            self._accelerator.scaler.load_state_dict(state["scaler"])
        self.progress = Progress(**state["progress"])

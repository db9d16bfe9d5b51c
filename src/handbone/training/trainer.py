"""The training of one fold: plain PyTorch behind accelerate, on one process or several that share every batch."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.utils import broadcast_object_list
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from handbone.config.params import TrainParams
from handbone.models.precision import autocast_dtype
from handbone.training.checkpoint import Checkpoint
from handbone.training.data.dataset import Batch
from handbone.training.data.sampling import ResumableBatchSampler
from handbone.training.deep_supervision import supervised
from handbone.training.distributed import any_of, same_buffers
from handbone.training.estimate import probe, told
from handbone.training.losses import combined
from handbone.training.optim import batch_norms, make_optimizer, set_rate
from handbone.training.preemption import Interruption, StoppedError, interruption
from handbone.training.schedule import Schedule, stalled
from handbone.training.target_buffer import TargetBuffer
from handbone.training.weight_averaging import Ema, Swa
from handbone.utils.errors import UserError

Evaluate = Callable[[nn.Module], float]
SAVE_EVERY = 300.0  # seconds after which the middle of an epoch is saved too


@dataclass
class Progress:
    """What the epochs so far have brought: a row each for the curve, and the averaged weights of the best one.

    losses: of the batches of the epoch under way.
    """

    rows: list[dict[str, float | int | None]] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    best_epoch: int = 0
    best_dice: float = -1.0
    best_weights: dict[str, Tensor] = field(default_factory=dict)

    def scores(self) -> list[float]:
        """Every Dice so far."""
        return [row["dice"] for row in self.rows if row["dice"] is not None]


def make_accelerator(precision: str) -> Accelerator:
    """The device layer, at the precision that `train.precision` means here."""
    dtype = autocast_dtype(precision, torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    name = {None: "no", torch.float16: "fp16", torch.bfloat16: "bf16"}[dtype]
    # some networks have parameters that no output depends on, for which processes would wait for ever
    unused = DistributedDataParallelKwargs(find_unused_parameters=True)
    shared_cpu = "WORLD_SIZE" in os.environ and not torch.cuda.is_available()  # which accelerate has to be told
    return Accelerator(cpu=shared_cpu, mixed_precision=name, kwargs_handlers=[unused])


class Training:
    """One fold's training, a step at a time, so that it can be saved and taken up between any two.

    All that is random is seeded anew for each batch by its number, so that no generator's state has to be kept.
    """

    def __init__(
        self,
        model: nn.Module,
        loader: DataLoader[Any],
        batches: ResumableBatchSampler,
        params: TrainParams,
        class_weights: Sequence[float],
        seed: int,
        accelerator: Accelerator,
    ) -> None:
        self._params, self._seed, self._loader, self._batches, self._accelerator = params, seed, loader, batches, accelerator
        self._criterion = combined(params.loss, class_weights)
        self._loss = supervised(self._criterion)
        if accelerator.num_processes > 1 and accelerator.device.type == "cuda":
            model = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
        model = model.to(accelerator.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimizer = make_optimizer(model, params)
        self.ema, self.swa = Ema(model, params.ema_decay or 0.0), Swa(model) if params.swa_epochs else None
        self._model, self._optimizer = accelerator.prepare(model, optimizer)
        self._steps = -(-len(batches) // params.grad_accum)  # an epoch
        self._schedule = Schedule(params, self._steps)
        self._targets = TargetBuffer(accelerator.device)
        self.progress = Progress()

    def run(self, evaluate: Evaluate, checkpoint: Checkpoint, desc: str) -> Progress:
        """Train the epochs that are left, scoring the averaged model every few and at the last, saving after each.

        `evaluate` is called by every process, and gives each the same. Raises `StoppedError` after SIGTERM, when all is saved.
        """
        if (state := self._saved(checkpoint)) is not None:
            self._restore(state)
            where = f"epoch {self._done} of {self._params.epochs} and {len(self.progress.losses)} batches"
            self._accelerator.print(f"{desc}: going on after {where}")
        self._accelerator.print(f"{desc}: {self._probed()}")
        bar = tqdm(total=self._params.epochs, initial=self._done, desc=desc, unit="epoch", disable=not self._accelerator.is_main_process)
        with interruption() as interrupted:
            while not self._over():
                row = self._epoch(self._done + 1, evaluate, checkpoint, interrupted)
                self.progress.rows.append(row)
                self.progress.losses.clear()
                self._save(checkpoint)
                bar.update()
                bar.set_postfix({"loss": row["loss"], "dice": self.progress.best_dice}, refresh=False)
        bar.close()
        return self.progress

    @property
    def _done(self) -> int:
        return len(self.progress.rows)

    def _over(self) -> bool:
        patience = self._params.patience
        return self._done == self._params.epochs or (patience is not None and patience <= stalled(self.progress.scores()))

    def _epoch(self, epoch: int, evaluate: Evaluate, checkpoint: Checkpoint, interrupted: Interruption) -> dict[str, float | int | None]:
        self._begin(epoch)
        losses: list[Tensor] = []
        saved = monotonic()
        for number, batch in enumerate(self._loader, self._batches.start):
            losses.append(self._step(batch, epoch, number))
            if not self._is_last(number):
                continue
            stop = any_of(interrupted.due)
            if stop or (number + 1 < len(self._batches) and monotonic() - saved > SAVE_EVERY):
                self._log(losses, epoch)
                self._save(checkpoint)
                saved = monotonic()
            if stop:
                raise StoppedError(f"epoch {epoch}, batch {number + 1} of {len(self._batches)}")
        self._log(losses, epoch)
        if self.swa is not None and epoch > self._params.epochs - (self._params.swa_epochs or 0):
            self.swa.update(self._accelerator.unwrap_model(self._model))
        loss = sum(self.progress.losses) / len(self.progress.losses)
        rate = self._schedule.factor((epoch - 1) * self._steps, self.progress.scores()) * self._params.lr
        return {"epoch": epoch, "lr": round(rate, 10), "loss": round(loss, 6), "dice": self._scored(epoch, evaluate)}

    def _begin(self, epoch: int) -> None:
        """Set all that depends on the epoch; of one that was broken off, only the batches that are left are drawn."""
        self._batches.epoch, self._batches.start = epoch, len(self.progress.losses)
        self._criterion.epoch = epoch
        self._model.train()
        for module in batch_norms(self._model.modules()):
            learns = [parameter.requires_grad for parameter in module.parameters()]
            if self._params.freeze_batch_norm or (learns and not any(learns)):  # of a frozen encoder the statistics stay as well
                module.eval()

    def _log(self, losses: list[Tensor], epoch: int) -> None:
        """Move the batches' losses into the progress; only here the device is waited for."""
        if losses:
            self.progress.losses += torch.stack(losses).tolist()
        losses.clear()
        if not all(map(math.isfinite, self.progress.losses)):
            first = next(loss for loss in self.progress.losses if not math.isfinite(loss))
            found = f"found {first}; lower train.lr, or set train.precision to no"
            raise UserError(f"epoch {epoch}: expected a finite loss; {found}")

    def _scored(self, epoch: int, evaluate: Evaluate) -> float | None:
        """The Dice of the averaged weights, where it is due; the best ones are kept."""
        if epoch % self._params.validate_every and epoch != self._params.epochs:
            return None
        averaged = self.swa.model if self.swa is not None and self.swa.count else self.ema.model
        same_buffers(averaged)
        dice = evaluate(averaged)
        if dice > self.progress.best_dice:
            weights = {name: tensor.detach().cpu().clone() for name, tensor in averaged.state_dict().items()}
            self.progress.best_epoch, self.progress.best_dice, self.progress.best_weights = epoch, dice, weights
        return dice

    def _is_last(self, number: int) -> bool:
        """Whether the weights move after this batch: at the end of an epoch the step may be of fewer batches."""
        return (number + 1) % self._params.grad_accum == 0 or number + 1 == len(self._batches)

    def _step(self, batch: Batch, epoch: int, number: int) -> Tensor:
        """One batch, and a step of the optimiser where it is the last of those that are accumulated -> its loss."""
        first = number - number % self._params.grad_accum
        together = min(self._params.grad_accum, len(self._batches) - first)
        rank = self._accelerator.process_index
        torch.manual_seed(int(np.random.SeedSequence([self._seed, epoch, number, rank]).generate_state(1)[0]))
        if not self._is_last(number):
            with self._accelerator.no_sync(self._model):
                return self._backward(batch, together)
        loss = self._backward(batch, together)
        if self._params.max_grad_norm:
            self._accelerator.clip_grad_norm_(self._model.parameters(), self._params.max_grad_norm)
        step = (epoch - 1) * self._steps + number // self._params.grad_accum
        set_rate(self._optimizer, self._schedule.factor(step, self.progress.scores()))
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        self.ema.update(self._accelerator.unwrap_model(self._model))
        return loss

    def _backward(self, batch: Batch, together: int) -> Tensor:
        device = self._accelerator.device
        images = torch.from_numpy(batch.images).to(device)
        target = self._targets.fill(batch.boxes, batch.values, batch.images.shape[2:])
        inputs = images.float().div_(255).contiguous(memory_format=torch.channels_last)
        with self._accelerator.autocast():
            found = self._model(inputs)
        loss = self._loss(found, target, torch.from_numpy(batch.weights).to(device))
        self._accelerator.backward(loss / together)
        return loss.detach()

    def _probed(self) -> str:
        """What the training will take, by two batches of the first epoch."""
        self._begin(self._done + 1)
        self._batches.start = 0
        dataset, tickets = self._loader.dataset, next(iter(self._batches))

        def draw() -> Batch:
            batch: Batch = self._loader.collate_fn([dataset[ticket] for ticket in tickets])
            return batch

        drawn = draw()
        in_turn = self._loader.num_workers == 0  # otherwise others draw while this process computes
        model = self._accelerator.unwrap_model(self._model)
        seconds, peak = probe(model, lambda: self._backward(draw() if in_turn else drawn, 1), self._accelerator.device)
        return told(seconds, peak, model, len(self._batches), self._params.epochs - self._done)

    def _saved(self, checkpoint: Checkpoint) -> dict[str, Any] | None:
        """The state saved last: the main process reads it, as others may not see its disk."""
        states = [checkpoint.load() if self._accelerator.is_main_process else None]
        if self._accelerator.num_processes > 1:
            broadcast_object_list(states)
        return states[0]

    def _save(self, checkpoint: Checkpoint) -> None:
        if self._accelerator.is_main_process:
            checkpoint.save(self._state())

    def _state(self) -> dict[str, Any]:
        scaler = self._accelerator.scaler
        return {
            "model": self._accelerator.unwrap_model(self._model).state_dict(),
            "ema": self.ema.model.state_dict(),
            "ema_steps": self.ema.steps,
            "swa": self.swa.model.state_dict() if self.swa else {},
            "swa_count": self.swa.count if self.swa else 0,
            "optimizer": self._optimizer.state_dict(),
            "scaler": scaler.state_dict() if scaler else {},
            "progress": vars(self.progress),
        }

    def _restore(self, state: dict[str, Any]) -> None:
        self._accelerator.unwrap_model(self._model).load_state_dict(state["model"])
        self.ema.model.load_state_dict(state["ema"])
        self.ema.steps = state["ema_steps"]
        if self.swa is not None:
            self.swa.model.load_state_dict(state["swa"])
            self.swa.count = state["swa_count"]
        self._optimizer.load_state_dict(state["optimizer"])
        if self._accelerator.scaler:
            self._accelerator.scaler.load_state_dict(state["scaler"])
        self.progress = Progress(**state["progress"])

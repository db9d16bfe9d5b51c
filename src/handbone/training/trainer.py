"""The training loop of one fold: plain PyTorch behind accelerate, in one process or in several that share every batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from time import monotonic
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from handbone.config.params import TrainParams
from handbone.models.synchronized import synchronize_batch_norm
from handbone.training.checkpoint import Checkpoint
from handbone.training.data.dataset import Batch
from handbone.training.data.faults import raise_fault
from handbone.training.data.loader import closed_workers, first_batch
from handbone.training.data.sampling import ResumableBatchSampler
from handbone.training.deep_supervision import DeepSupervisionLoss
from handbone.training.distributed import any_rank, broadcast_buffers
from handbone.training.estimate import dry_run, format_estimate
from handbone.training.losses import build_loss
from handbone.training.optim import make_optimizer, set_rate, set_train_mode
from handbone.training.preemption import Preempted, PreemptionFlag, preemption
from handbone.training.schedule import Schedule, scores_since_best
from handbone.training.seeding import seed_batch
from handbone.training.state import CurveRow, Progress, TrainState
from handbone.training.target_buffer import TargetBuffer
from handbone.training.weight_averaging import Ema, Swa
from handbone.utils.errors import Problem, UserError

Evaluate = Callable[[nn.Module], float]  # the averaged model -> its Dice; every process calls it, and gets the same value
OnEpochEnd = Callable[[Sequence[CurveRow]], None]  # the learning curve so far
SAVE_EVERY = 300.0  # seconds between checkpoints within an epoch
MAX_SKIPPED = 20  # steps in a row that the scaler of fp16 skips; it halves its factor each time, which starts at 65536


class Trainer:
    """Train a model; a training that was stopped after any optimizer step resumes and ends with the same bits.

    Everything random is seeded by the number of its batch, so a checkpoint needs no generator state.
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
        """seed: of what happens in the network, such as dropout; class_weights: C numbers, relative to each other."""
        self._params, self._seed, self._loader, self._batches, self._accelerator = params, seed, loader, batches, accelerator
        self._loss = DeepSupervisionLoss(build_loss(params.loss, class_weights))
        if accelerator.num_processes > 1 and accelerator.device.type == "cuda":
            model = synchronize_batch_norm(model)
        model = model.to(accelerator.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimizer = make_optimizer(model, params)
        ema, swa = Ema(model, params.ema_decay), None if params.swa_epochs is None else Swa(model)
        model, optimizer = accelerator.prepare(model, optimizer)
        self._state = TrainState(accelerator, model, optimizer, ema, swa)
        self._steps_per_epoch = -(-len(batches) // params.grad_accum)
        self._schedule = Schedule(params, self._steps_per_epoch)
        self._targets = TargetBuffer(accelerator.device)
        self._unlogged: list[Tensor] = []  # losses that are still on the device
        self._skipped_batches: set[int] = set()  # of this epoch

    def fit(self, evaluate: Evaluate, checkpoint: Checkpoint, desc: str, on_epoch_end: OnEpochEnd = lambda rows: None) -> Progress:
        """Train the epochs that are left -> the learning curve and the best weights.

        on_epoch_end: called by the main process after each epoch, and once after a resume.
        Raises `Preempted` after SIGTERM, Ctrl-C or SIGHUP once a checkpoint is written; `UserError` (train.diverged) if losses or weights
        are no longer finite. The loader's worker processes are gone afterwards.
        """
        is_main = self._accelerator.is_main_process
        if self.load_checkpoint(checkpoint):
            self._accelerator.print(f"{desc}: resumes at {self._position()}")
            if is_main:
                on_epoch_end(self._progress.rows)
        self._accelerator.print(f"{desc}: {self._estimate()}")
        bar = tqdm(total=self._params.epochs, initial=self._progress.epochs_done, desc=desc, unit="epoch", disable=not is_main)
        with closed_workers(self._loader), bar, preemption() as flag:
            while not self._finished():
                epoch = self._progress.epochs_done + 1
                self.train_epoch(epoch, checkpoint, flag)
                self._progress.finish_epoch(epoch, self._rate_at_start(epoch), self.evaluate(epoch, evaluate))
                if is_main:
                    on_epoch_end(self._progress.rows)
                self.save_checkpoint(checkpoint)
                bar.update()
                bar.set_postfix({"loss": self._progress.rows[-1]["loss"], "dice": self._progress.best_dice}, refresh=False)
        return self._progress

    def require_space(self, checkpoint: Checkpoint, models: Path) -> None:
        """Raise `UserError` (io.disk_full) if the checkpoint, or the weights in the folder `models`, will not fit on the disk."""
        if self._accelerator.is_main_process:
            size, weights = self._state.nbytes()
            checkpoint.require_space(size, {models: weights})

    def train_epoch(self, epoch: int, checkpoint: Checkpoint, flag: PreemptionFlag) -> None:
        """Train on the batches of an epoch that are left, save now and then, and average the weights at the end."""
        self._begin_epoch(epoch)
        saved_at = monotonic()
        for index, batch in enumerate(self._loader, self._batches.start):
            self._unlogged.append(self.train_step(raise_fault(batch), epoch, index))
            if not self._ends_step(index):
                continue
            stop = any_rank(flag.is_set)
            if stop or (index + 1 < len(self._batches) and monotonic() - saved_at > SAVE_EVERY):
                self._log_losses(epoch)
                self.save_checkpoint(checkpoint)
                saved_at = monotonic()
            if stop:
                raise Preempted(self._position(), flag.signal)
        self._log_losses(epoch)
        if self._state.swa is not None and epoch > self._params.epochs - (self._params.swa_epochs or 0):
            self._state.swa.update(self._state.bare_model)

    def train_step(self, batch: Batch, epoch: int, index: int) -> Tensor:
        """Forward and backward pass of a batch; after the last batch of a gradient accumulation also clip, step and EMA -> its loss."""
        seed_batch(self._seed, epoch, index, self._accelerator.process_index)
        with nullcontext() if self._ends_step(index) else self._accelerator.no_sync(self._state.model):
            loss = self._forward(batch)
            self._accelerator.backward(loss / self._batches_of_step(index))
        if not self._ends_step(index):
            return loss.detach()
        if self._params.max_grad_norm is not None:
            self._accelerator.clip_grad_norm_(self._state.model.parameters(), self._params.max_grad_norm)
        step = (epoch - 1) * self._steps_per_epoch + index // self._params.grad_accum
        set_rate(self._state.optimizer, self._schedule.factor(step - self._progress.skipped, self._progress.scores()))
        self._state.optimizer.step()
        self._state.optimizer.zero_grad(set_to_none=True)
        if self._accelerator.optimizer_step_was_skipped:  # by the scaler of fp16, as a gradient was not finite: nothing has changed
            self._skip_step(epoch, index)
        else:
            self._progress.count_step(skipped=False)
            self._state.ema.update(self._state.bare_model)
        return loss.detach()

    def _skip_step(self, epoch: int, index: int) -> None:
        self._skipped_batches.update(range(index + 1 - self._batches_of_step(index), index + 1))
        self._progress.count_step(skipped=True)
        if self._progress.skipped_in_a_row >= MAX_SKIPPED:
            raise _diverged(f"{MAX_SKIPPED} steps in a row whose gradients are not finite, in epoch {epoch}")

    def _forward(self, batch: Batch) -> Tensor:
        device = self._accelerator.device
        images = torch.from_numpy(batch.images).to(device)  # (N, C_in, h, w) uint8
        target = self._targets.fill(batch.boxes, batch.values, batch.images.shape[2:])  # (N, C, h, w)
        inputs = images.float().div_(255).contiguous(memory_format=torch.channels_last)
        with self._accelerator.autocast():
            outputs = self._state.model(inputs)
        return self._loss(outputs, target, torch.from_numpy(batch.weights).to(device))

    def evaluate(self, epoch: int, evaluate: Evaluate) -> float | None:
        """The Dice of the averaged model, whose weights are kept if it is the best; null in epochs without validation."""
        if epoch % self._params.validate_every and epoch != self._params.epochs:
            return None
        averaged = self._state.averaged_model
        if not _all_finite(averaged):
            raise _diverged(f"weights that are not finite after epoch {epoch}")
        broadcast_buffers(averaged)
        dice = evaluate(averaged)
        self._progress.keep_if_best(epoch, dice, averaged)
        return dice

    def save_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Save the state; only the main process writes."""
        if self._accelerator.is_main_process:
            checkpoint.save(self._state.state_dict())

    def load_checkpoint(self, checkpoint: Checkpoint) -> bool:
        """Restore the saved state -> whether there was one. The main process reads it for all, as others may not see its disk."""
        states = [checkpoint.load() if self._accelerator.is_main_process else None]
        if self._accelerator.num_processes > 1:
            broadcast_object_list(states)
        if states[0] is not None:
            self._state.load_state_dict(states[0])
        return states[0] is not None

    @property
    def _progress(self) -> Progress:
        return self._state.progress

    def _position(self) -> str:
        batch, epoch = len(self._progress.losses), min(self._progress.epochs_done + 1, self._params.epochs)
        return f"epoch {epoch} of {self._params.epochs}, batch {batch} of {len(self._batches)}"

    def _finished(self) -> bool:
        done, patience = self._progress.epochs_done, self._params.patience
        return done == self._params.epochs or (patience is not None and scores_since_best(self._progress.scores()) >= patience)

    def _begin_epoch(self, epoch: int) -> None:
        """Set everything that depends on the epoch; the batches of it that are done are skipped."""
        self._batches.epoch, self._batches.start = epoch, len(self._progress.losses)
        self._skipped_batches.clear()
        self._loss.criterion.epoch = epoch
        set_train_mode(self._state.model, self._params.freeze_batch_norm)

    def _ends_step(self, index: int) -> bool:
        """Whether the optimizer steps after this batch; the last step of an epoch may have fewer batches."""
        return (index + 1) % self._params.grad_accum == 0 or index + 1 == len(self._batches)

    def _batches_of_step(self, index: int) -> int:
        """The number of batches that accumulate gradients together with batch `index`, itself included."""
        return min(self._params.grad_accum, len(self._batches) - (index - index % self._params.grad_accum))

    def _rate_at_start(self, epoch: int) -> float:
        return self._schedule.factor((epoch - 1) * self._steps_per_epoch, self._progress.scores()) * self._params.lr

    def _log_losses(self, epoch: int) -> None:
        """Fetch the losses from the device; nothing else in an epoch waits for it. Raises `UserError` (train.diverged)."""
        first = len(self._progress.losses)
        if self._unlogged:
            self._progress.losses += torch.stack(self._unlogged).tolist()
        self._unlogged.clear()
        for index, loss in enumerate(self._progress.losses[first:], first):
            if not math.isfinite(loss) and index not in self._skipped_batches:
                raise _diverged(f"a loss of {loss} in epoch {epoch}")

    def _estimate(self) -> str:
        """Time and memory of the epochs that are left, from two passes over the first batch."""
        progress, model = self._progress, self._state.bare_model
        self._begin_epoch(progress.epochs_done + 1)
        draw, loading = first_batch(self._loader, self._batches)
        seconds, peak = dry_run(model, lambda: self._accelerator.backward(self._forward(draw())), self._accelerator.device)
        return format_estimate(max(seconds, loading), peak, model, len(self._batches), self._params.epochs - progress.epochs_done)


def _all_finite(model: nn.Module) -> bool:
    return all(bool(tensor.isfinite().all()) for tensor in model.state_dict().values())


def _diverged(found: str) -> UserError:
    expected, fix = "finite losses and weights", "lower it, set train.max_grad_norm, or set train.precision to no"
    return UserError(Problem("train.diverged", "params.yaml: train.lr", expected, found, fix))

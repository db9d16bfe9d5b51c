"""The training loop of one fold: plain PyTorch behind accelerate, in one process or in several that share every batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader

from handbone.config.params import TrainParams
from handbone.models.device import describe_machine
from handbone.models.outputs import Outputs
from handbone.models.synchronized import synchronize_batch_norm
from handbone.training.checkpoint import Checkpoint
from handbone.training.checkpoint_writer import CheckpointWriter
from handbone.training.compilation import MIN_STEPS, compiled, is_compiled, why_not_compiled
from handbone.training.data.faults import raise_fault
from handbone.training.data.loader import closed_workers, first_batch
from handbone.training.data.sampling import ResumableBatchSampler
from handbone.training.deep_supervision import DeepSupervisionLoss
from handbone.training.distributed import any_rank, broadcast_buffers
from handbone.training.estimate import check_hours, dry_run, format_estimate, memory_bytes, needed_bytes
from handbone.training.losses import build_loss
from handbone.training.optim import make_optimizer, set_rate, set_train_mode
from handbone.training.pace import Pace, is_scored
from handbone.training.preemption import Preempted, PreemptionFlag, preemption
from handbone.training.schedule import Schedule, scores_since_best
from handbone.training.seeding import kernels_without_search, seed_batch
from handbone.training.staging import StagedBatch, stage, staged
from handbone.training.state import Progress, TrainState
from handbone.training.target_buffer import TargetBuffer
from handbone.training.watching import EpochReport, TrainingStart, Watcher, Watchers
from handbone.training.weight_averaging import Ema, Swa
from handbone.utils.errors import Problem, UserError

# the averaged model -> its Dice (N, C) for each held-out image and class; every process calls it, and gets the same values
Evaluate = Callable[[nn.Module], NDArray[np.float64]]
SAVE_EVERY = 300.0  # seconds between checkpoints within an epoch
STOP_EVERY = 8  # steps, between two questions of several processes whether one has received a signal
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
        exclusive: bool = False,
    ) -> None:
        """seed: of what happens in the network, such as dropout; class_weights: C numbers, relative to each other.

        exclusive: classes exclude each other (`data.exclusive`).
        """
        self._params, self._seed, self._loader, self._batches, self._accelerator = params, seed, loader, batches, accelerator
        self._loss = DeepSupervisionLoss(build_loss(params.loss, class_weights, exclusive))
        if accelerator.num_processes > 1 and accelerator.device.type == "cuda":
            model = synchronize_batch_norm(model)
        model = model.to(accelerator.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimizer = make_optimizer(model, params, fused=accelerator.device.type == "cuda" and accelerator.scaler is None)
        wrapped, optimizer = accelerator.prepare(model, optimizer)
        # takes accelerate's autocast and its copy to float32 from the model, as `_forward` has the one and the loss makes the other
        accelerator.unwrap_model(wrapped, keep_fp32_wrapper=False)
        # after the model is wrapped for several processes, which gives its tensors other memory
        ema, swa = Ema(model, params.ema_decay), None if params.swa_epochs is None else Swa(model)
        self._state = TrainState(accelerator, wrapped, model, optimizer, ema, swa)
        self._network: Callable[[Tensor], Tensor | Outputs] = wrapped
        self._steps_per_epoch = -(-len(batches) // params.grad_accum)
        self._schedule = Schedule(params, self._steps_per_epoch)
        self._targets = TargetBuffer(accelerator.device)
        self._unlogged: list[Tensor] = []  # losses that are still on the device
        self._skipped_batches: set[int] = set()  # of this epoch
        self._pace = Pace(params.epochs, params.validate_every, batches.images, len(batches))
        self._watchers = Watchers([])

    def fit(self, evaluate: Evaluate, checkpoint: Checkpoint, desc: str, watchers: Sequence[Watcher] = ()) -> Progress:
        """Train the epochs that are left -> the learning curve and the best weights.

        watchers: of the main process, which are closed at the end; those of other processes are never called.
        Raises `Preempted` after SIGTERM, Ctrl-C or SIGHUP once a checkpoint is written; `UserError` (train.no_gpu) before the first epoch
        if a CPU would take too long, (train.diverged) if losses or weights are no longer finite. The loader's worker processes are gone
        afterwards.
        """
        with Watchers(watchers if self._accelerator.is_main_process else []) as self._watchers:
            resumed = self.load_checkpoint(checkpoint)
            if resumed:
                self._print(f"{desc}: resumes at {self._position()}{_saved(checkpoint)}")
            self._watchers.start(self._start(resumed))
            if is_compiled(self._params, self._params.epochs * self._steps_per_epoch, self._accelerator):
                self.compile(desc)
            self._print(f"{desc}: {self._estimate()}")
            writer = CheckpointWriter(checkpoint, SAVE_EVERY)  # closed last, when signals end the process as usual again
            with writer, closed_workers(self._loader), preemption() as flag:
                while not self._finished():
                    self._run_epoch(self._progress.epochs_done + 1, evaluate, writer, flag)
        return self._progress

    def _run_epoch(self, epoch: int, evaluate: Evaluate, writer: CheckpointWriter, flag: PreemptionFlag) -> None:
        """Train on what is left of an epoch, score it, and save it if it is time to."""
        self._pace.begin()
        left = len(self._batches) - len(self._progress.losses)
        self.train_epoch(epoch, writer, flag)
        if left:
            self._pace.trained(left)
        scores = self.evaluate(epoch, evaluate)
        if scores is not None:
            self._pace.scored()
        self._progress.finish_epoch(epoch, self._rate_at_start(epoch), None if scores is None else float(scores.mean()))
        self._watchers.epoch_done(self._report(scores))
        if self._finished() or writer.due(epoch_ended=True):
            self.save_checkpoint(writer)

    def require_space(self, checkpoint: Checkpoint, models: Path) -> None:
        """Raise `UserError` (io.disk_full) if the checkpoint, or the weights in the folder `models`, will not fit on the disk."""
        if self._accelerator.is_main_process:
            size, weights = self._state.nbytes()
            checkpoint.require_space(size, {models: weights})

    def train_epoch(self, epoch: int, writer: CheckpointWriter, flag: PreemptionFlag) -> None:
        """Train on the batches of an epoch that are left, save now and then, and average the weights at the end."""
        self._begin_epoch(epoch)
        is_main = self._accelerator.is_main_process
        batches = staged(map(raise_fault, self._loader), self._accelerator.device)
        for index, batch in enumerate(batches, self._batches.start):
            self._unlogged.append(self.train_step(batch, epoch, index))
            self._watchers.batch_done(epoch, index + 1)
            if not self._ends_step(index):
                continue
            stop = self._must_stop(flag, index)
            if stop or (is_main and index + 1 < len(self._batches) and writer.due()):
                self._log_losses(epoch)
                self.save_checkpoint(writer, wait=stop)
            if stop:
                raise Preempted(self._position(), flag.signal)
        self._log_losses(epoch)
        if self._state.swa is not None and epoch > self._params.epochs - (self._params.swa_epochs or 0):
            self._state.swa.update()

    def train_step(self, batch: StagedBatch, epoch: int, index: int) -> Tensor:
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
            self._state.ema.update()
        return loss.detach()

    def _must_stop(self, flag: PreemptionFlag, index: int) -> bool:
        """Whether a process has received a signal to stop. Several ask each other after some steps only, as each then waits for its GPU."""
        asks = (index // self._params.grad_accum) % STOP_EVERY == 0 or index + 1 == len(self._batches)
        if self._accelerator.num_processes > 1 and not asks:
            return False
        return any_rank(flag.is_set)

    def _skip_step(self, epoch: int, index: int) -> None:
        self._skipped_batches.update(range(index + 1 - self._batches_of_step(index), index + 1))
        self._progress.count_step(skipped=True)
        if self._progress.skipped_in_a_row >= MAX_SKIPPED:
            raise _diverged(f"{MAX_SKIPPED} steps in a row whose gradients are not finite, in epoch {epoch}")

    def _forward(self, batch: StagedBatch) -> Tensor:
        inputs = batch.images.float().div_(255).contiguous(memory_format=torch.channels_last)
        with self._accelerator.autocast():
            outputs = self._network(inputs)
        return self._loss(outputs, self._targets.fill(batch.target), batch.weights)

    def evaluate(self, epoch: int, evaluate: Evaluate) -> NDArray[np.float64] | None:
        """The Dice (N, C) of the averaged model, whose weights are kept if it is the best; null in epochs without validation."""
        if not is_scored(epoch, self._params.epochs, self._params.validate_every):
            return None
        averaged = self._state.averaged_model
        if not _all_finite(averaged):
            raise _diverged(f"weights that are not finite after epoch {epoch}")
        broadcast_buffers(averaged)
        with kernels_without_search():
            scores = evaluate(averaged)
        self._progress.keep_if_best(epoch, float(scores.mean()), averaged)
        return scores

    def save_checkpoint(self, writer: CheckpointWriter, wait: bool = False) -> None:
        """Save the state; only the main process writes. wait: until it is on the disk."""
        if self._accelerator.is_main_process:
            writer.save(self._state.state_dict(), wait)

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

    def _start(self, resumed: bool) -> TrainingStart:
        progress, device = self._progress, describe_machine(self._accelerator.device)["device"]
        position, best = (self._params.epochs, len(self._batches), len(progress.losses)), (progress.best_epoch, progress.best_dice)
        return TrainingStart(resumed, progress.rows, *position, *best, str(device))

    def _report(self, scores: NDArray[np.float64] | None) -> EpochReport:
        progress, pace = self._progress, self._pace
        class_dice = None if scores is None else scores.mean(0).tolist()
        best, memory = (progress.best_epoch, progress.best_dice), memory_bytes(self._accelerator.device)
        left = 0.0 if self._finished() else pace.seconds_left(progress.epochs_done)
        return EpochReport(progress.rows, *best, class_dice, pace.images_per_second, memory, left, self._state.averaged_model)

    def _print(self, line: str) -> None:
        self._accelerator.print(line, flush=True)  # at once also in a log file, which a long training is watched by

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

    def compile(self, desc: str) -> None:
        """Compile network and loss; what the compiler cannot do runs as it is, and so do smaller batches if there are few of them."""
        model, criterion = self._state.model, self._loss.criterion
        losses, both = criterion.compute, self._batches.smaller * self._params.epochs >= MIN_STEPS
        self._network, criterion.compute = compiled(model, other_sizes=both), compiled(losses, in_one_piece=True, other_sizes=both)
        if not self._runs(f"{desc}: network and loss"):
            criterion.compute = losses
            if not self._runs(f"{desc}: the network alone"):
                self._network = model

    def _runs(self, compiled_parts: str) -> bool:
        """Whether a step runs with these parts compiled, in all processes; a line says how long it took to compile them, or why it failed.

        Errors of compiled kernels have many types, so any error counts as one; what is wrong without the compiler fails again without it.
        """
        start, why = monotonic(), None
        try:
            self._dry_run()
        except UserError:
            raise
        except Exception as error:
            why = why_not_compiled(error)
        if any_rank(why is not None):
            self._print(f"{compiled_parts} cannot be compiled, which costs time only: {why or 'another process failed'}")
            return False
        self._print(f"{compiled_parts} compiled in {monotonic() - start:.0f} s")
        return True

    def _estimate(self) -> str:
        """Time and memory of the epochs that are left, from two passes over the first batch. Raises `UserError` as `check_hours` does."""
        seconds, peak = self._dry_run()
        left = self._params.epochs - self._progress.epochs_done
        check_hours(seconds * len(self._batches) * left, self._accelerator.device)
        memory = needed_bytes(peak, self._state.bare_model, self._state.optimizer)
        return format_estimate(seconds, memory, len(self._batches), left)

    def _dry_run(self) -> tuple[float, int]:
        """Seconds of a step, and the peak of its memory in bytes; the training is as before."""
        self._begin_epoch(self._progress.epochs_done + 1)
        draw, loading = first_batch(self._loader, self._batches)
        device = self._accelerator.device

        def step() -> None:
            self._accelerator.backward(self._forward(stage(draw(), device)))

        seconds, peak = dry_run(self._state.bare_model, step, device)
        return max(seconds, loading), peak


def _saved(checkpoint: Checkpoint) -> str:
    """When the state was saved, for the end of a line; nothing in a process that does not see the main process's disk."""
    when = checkpoint.saved_at()
    return "" if when is None else f", saved on {when:%a %d %b at %H:%M:%S}"


def _all_finite(model: nn.Module) -> bool:
    return all(bool(tensor.isfinite().all()) for tensor in model.state_dict().values())


def _diverged(found: str) -> UserError:
    expected, fix = "finite losses and weights", "lower it, set train.max_grad_norm, or set train.precision to no"
    return UserError(Problem("train.diverged", "params.yaml: train.lr", expected, found, fix))

"""Checkpoints that a thread writes while the training continues, and the moments at which to save them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from concurrent import futures
from concurrent.futures import Future, ThreadPoolExecutor
from time import monotonic
from types import TracebackType
from typing import Any

import torch
from torch import Tensor

from handbone.training.checkpoint import Checkpoint
from handbone.utils.errors import Problem, UserError, warn

PAUSE = 20  # times the duration of the last save that must pass before an epoch is saved: saving takes at most a twentieth of the time


class CheckpointWriter:
    """Save the states of one training in a thread; use it as a context manager, which waits for the thread at the end.

    Saving costs the training one copy of the state in memory, and on a GPU not even the wait for that copy. The copy stays in the host's
    memory as long as the writer. On a GPU it is page-locked, and PyTorch then rounds each tensor's size up to a power of two.
    What goes wrong in the thread is raised by the next `save`, or by the end of the context. If an exception ends the context, that one
    is raised and the fault of the thread is a warning.
    The thread is no daemon: except for a kill, the process does not end before the file is complete.
    """

    def __init__(self, checkpoint: Checkpoint, every: float, clock: Callable[[], float] = monotonic) -> None:
        """every: seconds between two saves within an epoch; clock: the time in seconds."""
        self._checkpoint, self._every, self._clock = checkpoint, every, clock
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")  # it starts with the first save
        self._write: Future[None] | None = None  # the last one, until its result is known
        self._copy = _HostCopy()
        self._begun, self._duration = clock(), 0.0  # of the last save, until the file was complete

    def due(self, epoch_ended: bool = False) -> bool:
        """Whether to save now. Never while the last state is still being written; at once if that has failed, so that `save` raises.

        Within an epoch: if the last save began at least `every` seconds ago, so that a kill loses little more than that. At the end of an
        epoch also if the last save took at most 1 / `PAUSE` of the time since it began: a small state is saved after every epoch, a large
        one after some of them. The first epoch is always saved.
        """
        if self._write is not None and not self._write.done():
            return False
        if self._write is not None and self._write.exception() is not None:
            return True
        passed = self._clock() - self._begun
        return passed >= self._every or (epoch_ended and passed >= PAUSE * self._duration)

    def save(self, state: dict[str, Any], wait: bool = False) -> None:
        """Copy the nested state and let the thread write the copy; the caller may change the state at once. One write at a time: this
        waits for the last one.

        state: dictionaries, lists, tuples, plain values, and tensors on the CPU or the current GPU. wait: return when it is on the disk.
        Raises what the last write raised, with `wait` also what this one raises: `UserError` as `Checkpoint.save`.
        """
        self._finish()
        self._begun = self._clock()
        copied = self._copy.update(state)
        self._write = self._thread.submit(self._write_copy, copied, _end_of_queue())
        if wait:
            self._finish()

    def close(self) -> None:
        """Wait until the last state is on the disk. Raises what its write raised."""
        try:
            self._finish()
        finally:
            self._thread.shutdown(wait=False)

    def __enter__(self) -> CheckpointWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self.close()
        except Exception as fault:
            if error is None:
                raise
            warn(*(fault.problems if isinstance(fault, UserError) else [_unsaved(fault)]))

    def _finish(self) -> None:
        if self._write is not None:
            futures.wait([self._write])  # a signal may raise here; then the end of the context waits again
            write, self._write = self._write, None
            write.result()

    def _write_copy(self, state: dict[str, Any], ready: torch.cuda.Event | None) -> None:
        if ready is not None:
            ready.synchronize()
        self._checkpoint.save(state)
        self._duration = self._clock() - self._begun


class _HostCopy:
    """A copy of a nested state in the host's memory. The next one is written to the same memory, where shapes and types are the same."""

    def __init__(self) -> None:
        self._buffers: dict[tuple[Any, ...], Tensor] = {}  # by the keys that lead to the tensor

    def update(self, state: dict[str, Any]) -> dict[str, Any]:
        """-> the copy. Those of tensors on a GPU are complete when its current stream gets there."""
        before, self._buffers = self._buffers, {}
        copied: dict[str, Any] = self._copied(state, (), before)
        return copied

    def _copied(self, value: Any, place: tuple[Any, ...], before: dict[tuple[Any, ...], Tensor]) -> Any:
        if isinstance(value, Tensor):
            buffer = self._buffers[place] = _buffer_like(value, before.get(place))
            return buffer.copy_(value.detach(), non_blocking=True)
        if isinstance(value, dict):
            result = copy.copy(value)  # with the attributes that a module's state_dict has
            result.update({key: self._copied(inner, (*place, key), before) for key, inner in value.items()})
            return result
        if isinstance(value, (list, tuple)):
            return type(value)([self._copied(inner, (*place, index), before) for index, inner in enumerate(value)])
        return value


def _end_of_queue() -> torch.cuda.Event | None:
    """What happens on the GPU after everything that it has been asked so far; null if there is none.

    The GPU copies the state before it changes it, as it works in order. So the thread has to wait for the copy, and the training has not.
    """
    if not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return None
    event = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]  # the thread sleeps until then
    event.record()  # type: ignore[no-untyped-call]
    return event


def _buffer_like(tensor: Tensor, before: Tensor | None) -> Tensor:
    if before is not None and before.shape == tensor.shape and before.dtype == tensor.dtype:
        return before
    return torch.empty_like(tensor, device="cpu", requires_grad=False, pin_memory=tensor.is_cuda)


def _unsaved(fault: Exception) -> Problem:
    fix = "the same command resumes from the state before"
    return Problem("checkpoint.unsaved", "checkpoint", "to save the last state of the training", repr(fault), fix)

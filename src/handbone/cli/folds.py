"""`handbone folds`: train the folds side by side, a GPU each, through DVC, and leave the graph up to date.

DVC runs one stage at a time, and two `dvc repro train@k` stop each other: each locks what is upstream. `dvc repro -s` locks no more than
its own stage. So: first what is upstream, then one `-s` a fold, then the rest.
"""

from __future__ import annotations

import asyncio
import codecs
import os
import re
import signal
import subprocess
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from handbone.config.params import load_params
from handbone.utils.errors import Problem, UserError, raise_if_any

STAGE = "train"
DVC = [sys.executable, "-m", "dvc", "--wait-for-lock"]  # a fold that lost the repository's lock after its training would train once more
LOCKED = ("Unable to acquire lock", "is busy, it is being blocked by")  # what DVC says of the locks that it does not wait for
TRIES = 24
PAUSE = 5.0  # s between them
TAIL = 20  # lines of a failed fold's output that are repeated at the end
BAR_EVERY = 30.0  # s between two states of one fold's progress bar


@dataclass(frozen=True)
class Slot:
    """A share of the machine: GPUs as CUDA_VISIBLE_DEVICES names them (none: CPU only), and how many threads a process of it may use."""

    devices: tuple[str, ...]
    threads: int

    def __str__(self) -> str:
        return f"GPU {','.join(self.devices)}" if self.devices else f"CPU, {self.threads} thread{'s' if self.threads > 1 else ''}"

    def environment(self) -> dict[str, str]:
        """The variables of a training in this slot; who has set OMP_NUM_THREADS keeps it."""
        return {"OMP_NUM_THREADS": str(self.threads)} | seeing(self.devices) | {"PYTHONUNBUFFERED": "1"}


@dataclass(frozen=True)
class Outcome:
    """How one fold's `dvc repro -s` ended: its exit code (0: trained), and its last lines."""

    fold: int
    code: int
    tail: list[str]


Train = Callable[[int, Slot], Awaitable[Outcome]]


class Output:
    """One fold's output, printed line by line with the fold's name; of a progress bar one state every half minute."""

    def __init__(self, fold: int) -> None:
        self.tail: deque[str] = deque(maxlen=TAIL)
        self._fold = fold
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._rest = ""
        self._bar_due = 0.0

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes."""
        *pieces, self._rest = re.split(r"(?<=[\r\n])", self._rest + self._decode(chunk))
        for piece in pieces:
            self._take(piece)

    def close(self) -> None:
        """Print what no line break has ended."""
        self._take(self._rest + "\n")
        self._rest = ""

    def _take(self, piece: str) -> None:
        line = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", piece).rstrip()  # without colours and movements of the cursor
        if not line or (piece.endswith("\r") and time.monotonic() < self._bar_due):
            return
        if piece.endswith("\r"):  # a bar, which is about to be drawn over
            self._bar_due = time.monotonic() + BAR_EVERY
        else:
            self.tail.append(line)
        say(self._fold, line)


def say(fold: int, line: str) -> None:
    """Print a line with its fold's name before it, unless it stands there already."""
    name = f"fold {fold}"
    print(line if line.startswith((f"{name}:", f"{name} ")) else f"{name}: {line}", flush=True)


def seeing(devices: Sequence[str]) -> dict[str, str]:
    """This process's environment, in which CUDA sees these GPUs alone; unchanged where there are none."""
    return dict(os.environ) | ({"CUDA_VISIBLE_DEVICES": ",".join(devices)} if devices else {})


def visible_devices() -> list[str]:
    """The GPUs that PyTorch can use, as CUDA_VISIBLE_DEVICES names them."""
    import torch  # takes seconds, and only this wants it

    count = torch.cuda.device_count()
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return [str(number) for number in range(count)] if named is None else named.split(",")[:count]


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def make_slots(visible: Sequence[str], wanted: Sequence[str] | None, jobs: int | None, processes: int) -> list[Slot]:
    """Places for the folds that train at one time.

    Each takes `processes` of the `wanted` GPUs (None: of all that are `visible`). There are as many as the GPUs suffice for, or `jobs`,
    which share them in turn; without a GPU there are `jobs` (None: one).

    Raises `UserError` for GPUs that are not visible or do not suffice.
    """
    devices = visible if wanted is None else wanted
    raise_if_any(_device_problems(visible, devices, jobs, processes), "GPUs for the folds")
    groups = [tuple(devices[start : start + processes]) for start in range(0, len(devices) - processes + 1, processes)] or [()]
    count = jobs or len(groups)
    threads = max(1, cores() // (count * processes))
    return [Slot(groups[number % len(groups)], threads) for number in range(count)]


def _device_problems(visible: Sequence[str], devices: Sequence[str], jobs: int | None, processes: int) -> list[Problem]:
    known = ", ".join(visible) or "none"
    problems = [
        Problem("--devices", f"GPUs that PyTorch can use ({known})", repr(device), "leave it out")
        for device in devices
        if device not in visible
    ]
    if len(set(devices)) < len(devices):
        problems.append(Problem("--devices", "each GPU once", ",".join(devices), "use --jobs for several folds on one GPU"))
    if jobs is not None and jobs < 1:
        problems.append(Problem("--jobs", "1 or more", str(jobs), "leave it out for one fold a GPU"))
    if 0 < len(devices) < processes:
        problems.append(
            Problem("machine.gpus_per_fold", f"at most the {len(devices)} GPUs there are", str(processes), "mend it in params.yaml")
        )
    return problems


def upstream(stage: str) -> list[str]:
    """The stages and .dvc files that `stage` depends on directly, as the graph has them."""
    done = subprocess.run([sys.executable, "-m", "dvc", "dag", "--dot", stage], capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"dvc dag {stage}: expected the graph of the project; found\n{done.stderr.strip()}")
    return re.findall(rf'"([^"]+)" -> "{re.escape(stage)}"', done.stdout)


async def run_dvc(arguments: Sequence[str], environment: dict[str, str], take: Callable[[bytes], None] | None = None) -> int:
    """Run DVC, and give its exit code; what it prints goes to `take`, or where this process's own output goes.

    When the task is cancelled, DVC and all that it started get a SIGTERM and time to end: training saves where it stands.
    """
    # a session of its own is a process group of its own, out of reach of the terminal's Ctrl-C, which would end it in mid-step
    out, err = (PIPE, STDOUT) if take else (None, None)
    process = await asyncio.create_subprocess_exec(
        *DVC, *arguments, env=environment, stdin=DEVNULL, stdout=out, stderr=err, start_new_session=True
    )
    try:
        return await _ended(process, take)
    except asyncio.CancelledError:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        await _ended(process, take)
        raise


async def _ended(process: Process, take: Callable[[bytes], None] | None) -> int:
    """Wait for the process, and for its children: they hold the pipe open that it may have left."""
    while take and process.stdout and (chunk := await process.stdout.read(1 << 16)):
        take(chunk)
    return await process.wait()


async def train(fold: int, slot: Slot) -> Outcome:
    """Train a fold through DVC; again after a while, where another DVC process holds a lock."""
    say(fold, f"starts on {slot}")
    for _ in range(TRIES):
        output = Output(fold)
        code = await run_dvc(["repro", "-s", f"{STAGE}@{fold}"], slot.environment(), output.feed)
        output.close()
        if code == 0 or not any(sign in line for line in output.tail for sign in LOCKED):
            break
        say(fold, f"another DVC process is in the way; waits {PAUSE:g} s")
        await asyncio.sleep(PAUSE)
    return Outcome(fold, code, list(output.tail))


async def train_all(folds: Sequence[int], slots: Sequence[Slot], train: Train) -> list[Outcome]:
    """Train every fold, each in the first slot that is free; one that fails stops none of the others."""
    free: asyncio.Queue[Slot] = asyncio.Queue()
    for slot in slots:
        free.put_nowait(slot)

    async def one(fold: int) -> Outcome:
        slot = await free.get()
        try:
            return await train(fold, slot)
        finally:
            free.put_nowait(slot)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(fold)) for fold in folds]
    return [task.result() for task in tasks]


def raise_if_failed(outcomes: Sequence[Outcome]) -> None:
    """Raise one `UserError` with the last lines of every fold that failed."""
    failed = [outcome for outcome in outcomes if outcome.code]
    if failed:
        said = "\n\n".join("\n  ".join([f"fold {one.fold}, exit code {one.code}:", *one.tail]) for one in failed)
        kept = "the others are trained and kept; mend what is said here and run the same command again"
        raise UserError(f"{len(failed)} of {len(outcomes)} folds failed; {kept}\n\n{said}")


async def _reproduce(environment: dict[str, str], *targets: str) -> None:
    """`dvc repro` with all the GPUs, its output as it is."""
    code = await run_dvc(["repro", *targets], environment)
    if code:
        raise UserError(f"{' '.join(['dvc repro', *targets])}: expected exit code 0; found {code}; DVC says above why")


async def _bring_up_to_date(folds: Sequence[int], slots: Sequence[Slot]) -> None:
    _cancel_on_signals()
    environment = seeing(list(dict.fromkeys(device for slot in slots for device in slot.devices)))
    if targets := upstream(f"{STAGE}@{folds[0]}"):  # without targets it would be all of the graph
        await _reproduce(environment, *targets)
    raise_if_failed(await train_all(folds, slots, train))
    await _reproduce(environment)


def _cancel_on_signals() -> None:
    """Let a scheduler's SIGTERM and a closing terminal's SIGHUP cancel this task, as asyncio lets Ctrl-C."""
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # nohup's word counts
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)


def reproduce_folds(devices: Sequence[str] | None, jobs: int | None) -> None:
    """Run the graph with the folds of params.yaml side by side; `devices` and `jobs` as in `make_slots`.

    Raises `UserError` for slots that cannot be, and for stages that fail; `KeyboardInterrupt` on Ctrl-C, SIGTERM and SIGHUP, when every
    child has ended.
    """
    params = load_params()
    slots = make_slots(visible_devices(), devices, jobs, params.machine.gpus_per_fold)
    try:
        asyncio.run(_bring_up_to_date(params.folds, slots))
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None

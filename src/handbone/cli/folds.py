"""`handbone folds`: train several folds at the same time through DVC, one GPU per fold, and bring the graph up to date.

DVC runs one stage at a time, and two `dvc repro train@k` block each other, because each locks all stages upstream. `dvc repro -s` locks
only one stage. So this runs the stages upstream first, then one `dvc repro -s` per fold, then the rest of the graph.
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
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from handbone.config.params import load_params
from handbone.utils.ending import die_with_parent
from handbone.utils.errors import Problem, UserError, raise_if_any
from handbone.utils.parallel import usable_cores

STAGE = "train"
DVC = [sys.executable, "-m", "dvc", "--wait-for-lock"]  # without it, a fold that does not get the lock after its training would train again
LOCKED = ("Unable to acquire lock", "is busy, it is being blocked by")  # DVC's messages for the locks that it does not wait for
TRIES = 24
PAUSE = 5.0  # seconds between two tries
TAIL = 20  # last lines of a failed fold's output, printed again at the end
STUCK = {  # DVC's messages when its own files are damaged -> the way out; docs/dvc.md has all of them
    "RWLock-file '": "end every dvc process, remove .dvc/tmp/rwlock",
    "it is being blocked by": "wait for that process, or, if it is no dvc process, remove .dvc/tmp/rwlock",
    "file is not a database": "remove the folder that dvc doctor names as Repo.site_cache_dir",
    "database disk image is malformed": "remove the folder that dvc doctor names as Repo.site_cache_dir",
    "dvc.lock' validation failed": "run git checkout dvc.lock, or remove it",
    "': 'outs'": "remove .dvc/cache/runs",
}
BAR_EVERY = 30.0  # seconds between two printed states of a fold's progress bar


@dataclass(frozen=True)
class Slot:
    """A share of the machine: GPUs as CUDA_VISIBLE_DEVICES names them (none: CPU only), and the number of threads per process."""

    devices: tuple[str, ...]
    threads: int

    def __str__(self) -> str:
        return f"GPU {','.join(self.devices)}" if self.devices else f"CPU, {self.threads} thread{'s' if self.threads > 1 else ''}"

    def environment(self, inherited: Mapping[str, str]) -> dict[str, str]:
        """The environment variables of a training in this slot. An OMP_NUM_THREADS already set is kept."""
        return {"OMP_NUM_THREADS": str(self.threads)} | with_devices(inherited, self.devices) | {"PYTHONUNBUFFERED": "1"}


@dataclass(frozen=True)
class Outcome:
    """The exit code of one fold's `dvc repro -s` (0: trained), and its last lines of output."""

    fold: int
    code: int
    tail: list[str]


Train = Callable[[int, Slot], Awaitable[Outcome]]
RunDvc = Callable[[Sequence[str], dict[str, str], Callable[[bytes], None]], Awaitable[int]]


class Output:
    """Prints one fold's output line by line with the fold's name, and one state of its progress bar every half minute."""

    def __init__(self, fold: int) -> None:
        self.tail: deque[str] = deque(maxlen=TAIL)
        self._fold = fold
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._rest = ""
        self._bar_due = 0.0

    def feed(self, chunk: bytes) -> None:
        """Print the complete lines in the next bytes."""
        *pieces, self._rest = re.split(r"(?<=[\r\n])", self._rest + self._decode(chunk))
        for piece in pieces:
            self._take(piece)

    def close(self) -> None:
        """Print the last line if it has no line break."""
        self._take(self._rest + "\n")
        self._rest = ""

    def _take(self, piece: str) -> None:
        line = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", piece).rstrip()  # without colours and cursor movements
        if not line or (piece.endswith("\r") and time.monotonic() < self._bar_due):
            return
        if piece.endswith("\r"):  # a progress bar, which will be drawn again
            self._bar_due = time.monotonic() + BAR_EVERY
        else:
            self.tail.append(line)
        say(self._fold, line)


def say(fold: int, line: str) -> None:
    """Print a line after its fold's name, unless it begins with the name."""
    name = f"fold {fold}"
    print(line if line.startswith((f"{name}:", f"{name} ")) else f"{name}: {line}", flush=True)


def with_devices(environment: Mapping[str, str], devices: Sequence[str]) -> dict[str, str]:
    """`environment` with only these GPUs visible to CUDA; an equal copy if there are no devices."""
    return dict(environment) | ({"CUDA_VISIBLE_DEVICES": ",".join(devices)} if devices else {})


def device_names(count: int, visible: str | None) -> list[str]:
    """The names of the `count` GPUs that PyTorch finds. visible: the value of CUDA_VISIBLE_DEVICES, which a scheduler may have set."""
    return [str(number) for number in range(count)] if visible is None else visible.split(",")[:count]


def make_slots(visible: Sequence[str], wanted: Sequence[str] | None, jobs: int | None, gpus_per_fold: int, cores: int) -> list[Slot]:
    """One slot for each fold that trains at the same time.

    Each slot has `gpus_per_fold` of the `wanted` GPUs (None: of all `visible` ones), and an equal share of the CPU `cores`. The number of
    slots is `jobs`, which share the GPUs in turn; None: as many as there are GPUs for, or one if there is no GPU.

    Raises `UserError` if GPUs are not visible or too few.
    """
    devices = visible if wanted is None else wanted
    raise_if_any(_device_problems(visible, devices, jobs, gpus_per_fold), "cannot assign GPUs to folds")
    groups = [tuple(devices[first : first + gpus_per_fold]) for first in range(0, len(devices) - gpus_per_fold + 1, gpus_per_fold)]
    count = jobs or len(groups) or 1
    threads = max(1, cores // (count * gpus_per_fold))
    return [Slot(groups[number % len(groups)] if groups else (), threads) for number in range(count)]


def _device_problems(visible: Sequence[str], devices: Sequence[str], jobs: int | None, gpus_per_fold: int) -> list[Problem]:
    usable = f"GPUs that PyTorch can use ({', '.join(visible) or 'none'})"
    unknown = [device for device in devices if device not in visible]
    problems = [Problem("folds.device", "--devices", usable, repr(device), "leave it out") for device in unknown]
    if len(set(devices)) < len(devices):
        fix = "use --jobs for several folds on one GPU"
        problems.append(Problem("folds.device_repeated", "--devices", "each GPU once", ",".join(devices), fix))
    if jobs is not None and jobs < 1:
        problems.append(Problem("folds.jobs", "--jobs", "1 or more", str(jobs), "leave it out for one fold per GPU"))
    if 0 < len(devices) < gpus_per_fold:
        place, expected = "params.yaml: machine.gpus_per_fold", f"at most {len(devices)}, the number of GPUs"
        problems.append(Problem("folds.gpus_per_fold", place, expected, str(gpus_per_fold), "change the value"))
    return problems


def upstream(stage: str) -> list[str]:
    """The stages and .dvc files that `stage` depends on directly, read from the graph.

    Raises `UserError` if DVC cannot read the graph.
    """
    done = subprocess.run([sys.executable, "-m", "dvc", "dag", "--dot", stage], capture_output=True, text=True)
    if done.returncode:
        raise UserError(Problem("folds.graph", f"dvc dag {stage}", "the project's graph", done.stderr.strip(), "correct what DVC names"))
    return re.findall(rf'"([^"]+)" -> "{re.escape(stage)}"', done.stdout)


async def run_dvc(arguments: Sequence[str], environment: dict[str, str], take: Callable[[bytes], None] | None = None) -> int:
    """Run DVC and return its exit code. Its output goes to `take`, or to this process's output.

    When the task is cancelled, DVC and its children get a SIGTERM and time to end, so that trainings save a checkpoint.
    """
    # in a new session the terminal's Ctrl-C does not reach DVC, and so does not stop a training in the middle of a step
    out, err = (PIPE, STDOUT) if take else (None, None)
    parent = os.getpid()
    process = await asyncio.create_subprocess_exec(
        *DVC,
        *arguments,
        env=environment,
        stdin=DEVNULL,
        stdout=out,
        stderr=err,
        start_new_session=True,
        preexec_fn=lambda: die_with_parent(parent, signal.SIGTERM),  # if this command is killed, trainings save and end with their DVC
    )
    try:
        return await _wait(process, take)
    except asyncio.CancelledError:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        await _wait(process, take)
        raise


async def _wait(process: Process, take: Callable[[bytes], None] | None) -> int:
    """Wait for the process and its children, which may keep the pipe open after it has ended."""
    while take and process.stdout and (chunk := await process.stdout.read(1 << 16)):
        take(chunk)
    return await process.wait()


async def train(fold: int, slot: Slot, run: RunDvc = run_dvc, tries: int = TRIES, pause: float = PAUSE) -> Outcome:
    """Train a fold through DVC. While another DVC process holds a lock, try up to `tries` times, with `pause` seconds between."""
    say(fold, f"starts on {slot}")
    for _ in range(tries):
        output = Output(fold)
        code = await run(["repro", "-s", f"{STAGE}@{fold}"], slot.environment(os.environ), output.feed)
        output.close()
        if code == 0 or not any(sign in line for line in output.tail for sign in LOCKED):
            break
        say(fold, f"another DVC process holds a lock; waiting {pause:g} s")
        await asyncio.sleep(pause)
    return Outcome(fold, code, list(output.tail))


async def train_all(folds: Sequence[int], slots: Sequence[Slot], train: Train) -> list[Outcome]:
    """Train every fold, each in the first free slot. A fold that fails does not stop the others."""
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
    """Print the last lines of every fold that failed, and raise one `UserError` for all."""
    failed = [outcome for outcome in outcomes if outcome.code]
    for outcome in failed:
        print("\n  ".join([f"\nfold {outcome.fold}, exit code {outcome.code}:", *outcome.tail]), flush=True)
    problems = [Problem("folds.failed", f"fold {one.fold}", "exit code 0", str(one.code), _way_out(one.tail)) for one in failed]
    raise_if_any(problems, f"{len(failed)} of {len(outcomes)} folds failed")


def _way_out(lines: Sequence[str]) -> str:
    """What to do after a fold's last lines of output."""
    stuck = next((fix for sign, fix in STUCK.items() if any(sign in line for line in lines)), "fix the error above")
    return f"{stuck} and run the same command again; folds already trained are kept"


async def _reproduce(environment: dict[str, str], *targets: str) -> None:
    """Run `dvc repro` with unchanged output."""
    code = await run_dvc(["repro", *targets], environment)
    if code:
        command, fix = " ".join(["dvc repro", *targets]), "fix the error above; docs/dvc.md has DVC's own dead ends"
        raise UserError(Problem("folds.repro", command, "exit code 0", str(code), fix))


async def _bring_up_to_date(folds: Sequence[int], slots: Sequence[Slot]) -> None:
    _cancel_on_signals()
    environment = with_devices(os.environ, list(dict.fromkeys(device for slot in slots for device in slot.devices)))
    if targets := upstream(f"{STAGE}@{folds[0]}"):  # without targets, DVC would run the whole graph
        await _reproduce(environment, *targets)
    raise_if_failed(await train_all(folds, slots, train))
    await _reproduce(environment)


def _cancel_on_signals() -> None:
    """Cancel this task on a scheduler's SIGTERM and a closing terminal's SIGHUP, as asyncio does on Ctrl-C."""
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # ignored under nohup
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)


def reproduce_folds(devices: Sequence[str] | None, jobs: int | None) -> None:
    """Run the graph, and train the folds of params.yaml at the same time. devices, jobs: as `wanted` and `jobs` of `make_slots`.

    Raises `UserError` for GPUs that cannot be used and for stages that fail, and `KeyboardInterrupt` on Ctrl-C, SIGTERM and SIGHUP, once
    every child process has ended.
    """
    import torch  # takes seconds to import

    from handbone.models.device import choose_device

    params = load_params()
    choose_device()  # an error now rather than in every fold
    visible = device_names(torch.cuda.device_count(), os.environ.get("CUDA_VISIBLE_DEVICES"))
    slots = make_slots(visible, devices, jobs, params.machine.gpus_per_fold, usable_cores())
    try:
        asyncio.run(_bring_up_to_date(params.folds, slots))
    except (asyncio.CancelledError, KeyboardInterrupt):
        print("\nTrainings have saved their state; the same command resumes them.", file=sys.stderr)
        raise KeyboardInterrupt from None

"""What a machine runs out of, or refuses, as a `UserError` with advice: memory, processes, open files, disks.

Libraries report these in their own types and words. The system's error number decides where there is one, else the text.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from handbone.utils.errors import Problem, UserError, raise_if_any
from handbone.utils.file_errors import file_problem, nearest_existing, size_text
from handbone.utils.memory import available_bytes

MEMORY = re.compile(
    r"out of memory|allocate memory|unable to allocate|failed to allocate|insufficient memory|not enough memory|bad_alloc|bad allocation"
    r"|CU\w+_ALLOC_FAILED|CU\w+_ALLOCATION_FAILED|CU(BLAS|DNN)_STATUS_NOT_INITIALIZED|cudaErrorMemoryAllocation|failed to CUDA \w*alloc"
    r"|unable to find an engine|could not create a (primitive|memory)"  # engines: those of cuDNN whose workspace fits into the memory
    r"|less than INT_MAX elements",  # of a map, beyond which PyTorch has no kernels of a GPU
    re.IGNORECASE,
)
DISK = re.compile(r"no space left|quota exceeded|os error (28|122)\b|PytorchStreamWriter failed|file write failed", re.IGNORECASE)
KILLED = re.compile(r"DataLoader worker .*(killed by signal|exited unexpectedly)|process pool was terminated abruptly|shared memory")
PROCESSES = re.compile(r"can't start new thread|resource temporarily unavailable|pthread_create failed", re.IGNORECASE)

TRAIN = (
    "lower train.batch_size and raise train.grad_accum by the same factor, lower train.size or set train.crop, choose a smaller network, "
    "or one that recomputes its activations (model.options, recompute: true)"
)
INFER = "lower infer.batch_size, or set infer.window_size and infer.window_stride"
CACHE = "lower machine.preprocess_workers: each of these processes holds an image and its masks at full resolution"
ADVICE = {  # by stage: the parameter that decides how much memory it needs, and what helps
    "train": ("train.batch_size", TRAIN),
    "infer": ("infer.batch_size", INFER),
    "preprocess": ("machine.preprocess_workers", CACHE),
    "phantom": ("machine.preprocess_workers", CACHE),
}
WORKERS = {"train": "machine.num_workers", "preprocess": "machine.preprocess_workers", "phantom": "machine.preprocess_workers"}


def limit_error(error: BaseException, stage: str | None = None) -> UserError | None:
    """The `UserError` for an exception that says that the machine has reached a limit; null for any other exception.

    stage: what ran; null: the name of this process's script.
    """
    stage = stage or Path(sys.argv[0]).stem
    problem = next((problem for cause in _causes(error) if (problem := _problem(cause, stage))), None)
    return None if problem is None else UserError(problem, title=f"{stage} cannot continue")


def require_space(needed: Mapping[Path, int], fix: str) -> None:
    """Raise a `UserError` (io.disk_full) for each disk that has less free space than is going to be written to it.

    needed: bytes by folder, which may not exist yet; those of folders on the same disk are added up.
    """
    by_disk: dict[int, list[Path]] = {}
    for folder in needed:
        by_disk.setdefault(nearest_existing(folder).stat().st_dev, []).append(folder)
    problems = []
    for folders in by_disk.values():
        total, free = sum(needed[folder] for folder in folders), shutil.disk_usage(nearest_existing(folders[0])).free
        if free < total:
            expected, found = f"{size_text(total)} of free space for what will be written", size_text(free)
            problems.append(Problem("io.disk_full", " and ".join(map(str, folders)), expected, found, fix))
    raise_if_any(problems, "the disk is too full")


def require_writable(folder: Path) -> None:
    """Create `folder` if necessary. Raises a `UserError` (io.permission and others) if no file can be written there."""
    probe = folder / f".{os.getpid()}.partial"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UserError(file_problem(error, probe)) from None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The exception, those inside it if it is a group, and what they were raised from."""
    yield error
    for inner in getattr(error, "exceptions", ()):
        yield from _causes(inner)
    if error.__cause__ is not None and type(error.__cause__).__name__ != "_RemoteTraceback":  # a text with the code of another process
        yield from _causes(error.__cause__)


def _problem(error: BaseException, stage: str) -> Problem | None:
    text = str(error)
    if isinstance(error, UserError):
        return None
    if KILLED.search(text):
        return _killed(text, stage)
    if isinstance(error, OSError) and error.errno is not None:
        return _system_problem(error, stage)
    if isinstance(error, MemoryError) or MEMORY.search(text):
        return _memory(text, stage)
    if DISK.search(text):
        return file_problem(OSError(errno.ENOSPC, _first_line(text)), Path.cwd() / "a file")
    return _processes(text, stage) if PROCESSES.search(text) else None


def _system_problem(error: OSError, stage: str) -> Problem | None:
    """By the system's error number; null for an error that is about no file, such as one of the network."""
    if error.errno == errno.ENOMEM:
        return _memory(str(error), stage)
    if error.errno == errno.EAGAIN:
        return _processes(str(error), stage)
    if error.errno in (errno.EMFILE, errno.ENFILE):
        expected, fix = "fewer open files than the system allows", "raise the limit with ulimit -n, or lower machine.num_workers"
        return Problem("machine.open_files", f"stage {stage}", expected, error.strerror or str(error), fix)
    if isinstance(error.filename, (str, bytes)):
        return file_problem(error, Path(os.fsdecode(error.filename)))
    return file_problem(error, Path.cwd() / "a file") if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO) else None


def _memory(text: str, stage: str) -> Problem:
    name, fix = ADVICE.get(stage, ("", "end other programs, or use a machine with more memory"))
    on_gpu = re.search(r"cuda|cublas|cudnn|nccl|gpu|INT_MAX", text, re.IGNORECASE)
    free = "" if on_gpu else f"; {size_text(available_bytes())} of the machine's memory are free"
    place = f"params.yaml: {name}" if name else f"stage {stage}"
    return Problem("machine.memory", place, "what fits into memory", f"{_first_line(text) or 'no memory left'}{free}", fix)


def _killed(text: str, stage: str) -> Problem:
    name = WORKERS.get(stage, "machine.num_workers")
    fix = f"lower {name}, or give the machine or the container more memory (a container's shared memory: --shm-size)"
    found = f"{_first_line(text)}; the system kills processes when memory is short, and {size_text(available_bytes())} are free now"
    return Problem("machine.worker_killed", f"params.yaml: {name}", "worker processes that end by themselves", found, fix)


def _processes(text: str, stage: str) -> Problem:
    name = WORKERS.get(stage, "machine.num_workers")
    fix = f"lower {name} or OMP_NUM_THREADS, or raise the limit with ulimit -u"
    return Problem("machine.processes", f"params.yaml: {name}", "fewer processes than the system allows", _first_line(text), fix)


def _first_line(text: str) -> str:
    return next((line.strip().rstrip(".") for line in text.splitlines() if line.strip()), "")

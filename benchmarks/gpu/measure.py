"""Time, memory and load of the device at hand."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from contextlib import suppress
from time import perf_counter
from typing import Any

import torch

from handbone.models.device import choose_device
from handbone.planning.cards import CARDS, Card

GIB = 2**30
NO_GPU = "no GPU"
MOST_S = 4.0  # of a mean: a large network on a slow card must leave time for what follows


def device() -> torch.device:
    """The GPU, or the CPU if there is none; as in the stages, which also decides how memory is reserved and the number of threads."""
    return choose_device()


def known_card() -> Card | None:
    """The GPU at hand in the table of `handbone plan`; null if that has none of this name and memory."""
    found = torch.cuda.get_device_properties(0)
    words = re.split("[ -]", found.name.lower())
    return next((card for card in CARDS.values() if card.name.split("-")[0] in words and abs(card.memory - found.total_memory) < GIB), None)


def wait() -> None:
    """Return when the GPU has done all that was queued."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def seconds(work: Callable[[], object], repeats: int, warm: int = 1) -> float:
    """The mean seconds of `work` over at most `repeats` runs in about `MOST_S` seconds, after `warm` more that are not timed."""
    for _ in range(warm):
        work()
    wait()
    start, count = perf_counter(), 0
    while count < repeats and (count == 0 or perf_counter() - start < MOST_S):
        work()
        count += 1
    wait()
    return (perf_counter() - start) / count


def reset_peak() -> None:
    """Forget the peak of the GPU's memory so far, and what is reserved and not used, e.g. by cuDNN's search."""
    if torch.cuda.is_available():
        wait()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def peak_gib() -> dict[str, float] | None:
    """The peak of the GPU's memory since `reset_peak`, in GiB; null without a GPU."""
    if not torch.cuda.is_available():
        return None
    return {"allocated": torch.cuda.max_memory_allocated() / GIB, "reserved": torch.cuda.max_memory_reserved() / GIB}


def rate(images: int, seconds_each: float) -> dict[str, Any]:
    """What a step of so many images says."""
    return {"images_per_s": images / seconds_each, "ms_per_step": 1e3 * seconds_each}


class Utilisation:
    """The share of time (percent) in which the GPU ran a kernel, as nvidia-smi samples it while the block runs."""

    def __enter__(self) -> Utilisation:
        command = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "-i", "0", "-lms", "100"]
        self._process: subprocess.Popen[str] | None = None
        self.percent: float | None = None
        with suppress(OSError):
            self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is None:
            return
        self._process.terminate()
        lines = self._process.communicate()[0].split()
        values = [float(line) for line in lines if line.replace(".", "").isdecimal()]
        self.percent = sum(values) / len(values) if values else None

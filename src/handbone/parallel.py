"""A process pool with a progress bar, for work that is the same for every sample."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TypeVar

import cv2
from tqdm import tqdm

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_samples(function: Callable[[Item], Result], items: Sequence[Item], workers: int, desc: str, unit: str = "image") -> list[Result]:
    """`[function(item) for item in items]`, in `workers` processes (0: one a core), in order, with a progress bar that counts `unit`s."""
    processes = min(workers or os.cpu_count() or 1, len(items)) or 1
    # spawn: a fork of a process that has started threads (torch, OpenCV) can hang
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=cv2.setNumThreads, initargs=(1,)) as pool:
        return list(tqdm(pool.map(function, items), total=len(items), desc=desc, unit=unit))

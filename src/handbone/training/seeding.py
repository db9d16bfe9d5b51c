"""Seeds of a training, and bit-equal runs on a GPU."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager

import numpy as np
import torch

DETERMINISTIC = (":4096:8", ":16:8")  # the values of CUBLAS_WORKSPACE_CONFIG with which cuBLAS gives the same bits


def fold_seed(seed: int, fold: int) -> int:
    """The seed of one fold: different for each fold, the same in every run."""
    return int(np.random.SeedSequence([seed, fold]).generate_state(1)[0])


def seed_batch(seed: int, epoch: int, index: int, rank: int) -> None:
    """Seed torch for one batch of one process, so that a training resumes at any batch without a saved generator state."""
    torch.manual_seed(int(np.random.SeedSequence([seed, epoch, index, rank]).generate_state(1)[0]))


def kernels_without_search() -> AbstractContextManager[None]:
    """Within this context cuDNN chooses its kernels at once.

    The search that training uses starts again for each shape, so it would take longer than scoring a few images of several shapes. On an
    H100 what it finds is no faster for a network without gradients.
    """
    flags = torch.backends.cudnn
    manager: AbstractContextManager[None] = flags.flags(
        enabled=flags.enabled, benchmark=False, deterministic=flags.deterministic, allow_tf32=flags.allow_tf32
    )
    return manager


def set_determinism(deterministic: bool) -> None:
    """True: bit-equal runs on a GPU where PyTorch has such kernels, a warning where it has none. False: the fastest kernels."""
    torch.backends.cudnn.benchmark = not deterministic
    if deterministic:
        if os.environ.get("CUBLAS_WORKSPACE_CONFIG") not in DETERMINISTIC:
            os.environ["CUBLAS_WORKSPACE_CONFIG"] = DETERMINISTIC[0]
        torch.use_deterministic_algorithms(True, warn_only=True)

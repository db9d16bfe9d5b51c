"""torch.compile for the network and the loss of a training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from accelerate import Accelerator

from handbone.config.params import TrainParams

MIN_STEPS = 2000  # of a training from which on "auto" compiles: the compiler takes a minute or two, and saves that much in so many steps
MAX_VERSIONS = 256  # of a function: one for each shape of a batch and each set of losses that a schedule makes; by default 8 is an error


def is_compiled(params: TrainParams, steps: int, accelerator: Accelerator) -> bool:
    """Whether `train.compile` asks for it. auto: on one GPU, if the training has enough `steps` and need not give the same bits everywhere.

    Parameters and data alone decide on a given kind of machine, so a training that resumes is compiled again as before.
    """
    if params.compile != "auto":
        return params.compile
    one_gpu = accelerator.device.type == "cuda" and accelerator.num_processes == 1
    return one_gpu and steps >= MIN_STEPS and not params.deterministic


def compiled(function: Callable[..., Any], in_one_piece: bool = False, other_sizes: bool = True) -> Callable[..., Any]:
    """`function` as kernels for the shapes of its first call, compiled in that call, and again for each other shape.

    in_one_piece: what cannot be compiled is an error of the first call; otherwise such parts run as they are. other_sizes: false to run
    `function` as it is where its last argument has another length than in the first call: a few such batches are not worth the minutes.
    """
    torch._dynamo.config.recompile_limit = MAX_VERSIONS
    fast = torch.compile(function, dynamic=False, fullgraph=in_one_piece)
    if other_sizes:
        return fast
    lengths: list[int] = []

    def chosen(*arguments: Any) -> Any:
        if not lengths:
            lengths.append(len(arguments[-1]))
        return (fast if len(arguments[-1]) == lengths[0] else function)(*arguments)

    return chosen


def why_not_compiled(error: Exception) -> str:
    """The reason in an error of the compiler, or of the kernels that it made, one line."""
    reason = getattr(error, "inner_exception", error)  # what the compiler's backend raised, e.g. as there is no C compiler
    return next(iter(str(reason).splitlines()), type(reason).__name__)

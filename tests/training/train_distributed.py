"""One of the processes that share a training: the main one writes the loss curve, the score and the best weights."""

import sys
from pathlib import Path

import torch
from accelerate.utils import gather_object
from safetensors.torch import save_file

from handbone.training.checkpoint import Checkpoint
from handbone.training.distributed import any_rank
from small_training import EachCurve, SmallTraining, scored
from training_params import PARAMS


def main() -> None:
    """Train on the files in one folder, write to another."""
    source, out = Path(sys.argv[1]), Path(sys.argv[2])
    params = PARAMS.model_copy(update={"batch_size": 3, "max_grad_norm": 0.5})
    small = SmallTraining(sorted(source.glob("*.npz")), params, plain=True)
    rank, world_size = small.accelerator.process_index, small.accelerator.num_processes
    curves: list[int] = []
    progress = small.trainer.fit(
        lambda model: scored(float(len(gather_object(list(range(7))[rank::world_size]))))(model),
        Checkpoint(out / "resume"),
        "test",
        [EachCurve(lambda rows: curves.append(len(rows)))],
    )
    assert any_rank(rank == world_size - 1) and not any_rank(False)
    assert curves == ([1, 2, 3, 4, 5] if rank == 0 else [])
    if small.accelerator.is_main_process:
        curve = {name: torch.tensor([row[name] for row in progress.rows if row[name] is not None]) for name in ("loss", "dice", "lr")}
        weights = {name: tensor.contiguous() for name, tensor in progress.best_weights.items()}
        save_file(weights | curve, out / "end.safetensors")
    small.accelerator.end_training()


if __name__ == "__main__":
    main()

"""One of the processes that share a training: writes the loss curve, the score and the weights that all of them end with."""

import sys
from pathlib import Path

import torch
from accelerate.utils import gather_object
from safetensors.torch import save_file

from handbone.training.checkpoint import Checkpoint
from handbone.training.distributed import any_of
from small_training import Small
from training_params import PARAMS


def main() -> None:
    """Train on the files in one folder, write to another."""
    source, out = Path(sys.argv[1]), Path(sys.argv[2])
    small = Small(sorted(source.glob("*.npz")), PARAMS.model_copy(update={"batch_size": 3, "clip_norm": 0.5}), plain=True)
    accelerator = small.training._accelerator
    rank, world = accelerator.process_index, accelerator.num_processes
    progress = small.training.run(lambda _: float(len(gather_object(list(range(7))[rank::world]))), Checkpoint(out / "resume"), "test")
    assert any_of(rank == world - 1) and not any_of(False)
    if accelerator.is_main_process:
        curve = {name: torch.tensor([row[name] for row in progress.rows if row[name] is not None]) for name in ("loss", "dice", "lr")}
        weights = {name: tensor.contiguous() for name, tensor in progress.best_weights.items()}
        save_file(weights | curve, out / "end.safetensors")
    accelerator.end_training()


if __name__ == "__main__":
    main()

"""`python checkpoint_writing.py FOLDER`: save a state, then write half of the next one in the thread, say so, and wait to be killed."""

import sys
import time
from pathlib import Path
from typing import Any, BinaryIO

import torch

from handbone.training.checkpoint import Checkpoint
from handbone.training.checkpoint_writer import CheckpointWriter

save_whole = torch.save


def save_half(state: dict[str, Any], file: BinaryIO) -> None:
    save_whole(state, file)
    file.truncate(file.tell() // 2)
    print("half a file", flush=True)
    time.sleep(600)


with CheckpointWriter(Checkpoint(Path(sys.argv[1])), every=300) as writer:
    writer.save({"w": torch.full((1000,), 1.0)}, wait=True)
    torch.save = save_half  # type: ignore[assignment]
    writer.save({"w": torch.full((1000,), 2.0)})

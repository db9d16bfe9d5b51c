"""`python failing_training.py FOLDER FAULT`: a training with two worker processes to which something happens in its second epoch.

error: an exception that is no UserError; killed: a worker dies; hold: nothing, it waits in the second epoch until a signal comes.
It notes the process ids of the training and its workers in FOLDER/pids.
"""

import os
import signal
import sys
import time
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor, nn

from handbone.config.params import Params
from handbone.training.checkpoint import Checkpoint
from handbone.training.checkpoint_lock import checkpoint_lock
from handbone.training.data.loader import make_loader
from handbone.training.distributed import make_accelerator
from handbone.training.preemption import Preempted
from handbone.training.trainer import Trainer
from handbone.utils.errors import run_cli
from small_training import make_files, scored, small_network
from training_params import PARAMS

FOLDER, FAULT = Path(sys.argv[1]), sys.argv[2]


class Failing(nn.Sequential):
    """The fault happens at the eighth pass: two of the dry run, three of the first epoch."""

    passes = 0
    trainer: Trainer

    def forward(self, images: Tensor) -> Tensor:
        self.passes += 1
        if self.passes == 8:
            workers = [worker.pid for worker in self.trainer._loader._iterator._workers]
            (FOLDER / "pids").write_text(" ".join(map(str, [os.getpid(), *workers])))
            if FAULT == "error":
                raise RuntimeError("a fault of this test")
            if FAULT == "killed":
                os.kill(workers[0], signal.SIGKILL)
                time.sleep(5)
            if FAULT == "hold":
                deadline = time.monotonic() + 60
                while not (FOLDER / "go").exists() and time.monotonic() < deadline:
                    time.sleep(0.05)
        logits: Tensor = super().forward(images)
        return logits


def main() -> None:
    """Train."""
    files = make_files(FOLDER)
    table = pd.DataFrame({"file": files, "height": 64, "width": 64, "rate": 1.0, "weight": 1.0})
    params = Params()
    data = params.data.model_copy(update={"classes": ["a", "b"]})
    machine = params.machine.model_copy(update={"num_workers": 2})
    params = params.model_copy(update={"train": PARAMS, "data": data, "machine": machine})
    loader, batches = make_loader(table, params, 3)
    torch.manual_seed(3)
    network = Failing(*small_network())
    trainer = Trainer(network, loader, batches, PARAMS, [1.0, 1.0], 3, make_accelerator("no"))
    network.trainer = trainer
    with checkpoint_lock(FOLDER / "resume", wait=1):
        try:
            trainer.fit(scored(0.5), Checkpoint(FOLDER / "resume"), "test")
        except Preempted as stop:
            print(f"saved at {stop}")
            sys.exit(stop.exit_code)


if __name__ == "__main__":
    run_cli(main)

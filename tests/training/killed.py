"""`python killed.py FOLDER COUNT`: kill -9 a training at so many random moments, let each go on, compare with an uninterrupted one."""

import os
import random
import signal
import sys
import time
from pathlib import Path

import torch
import torch._dynamo  # two seconds, which the first optimiser would take in each child
from safetensors.torch import load_file, save_file

from handbone.training.checkpoint import Checkpoint
from small_training import Small, make_files
from training_params import PARAMS

LONG = PARAMS.model_copy(update={"epochs": 12, "accumulate": 2, "batch_size": 1})


def child(files: list[Path], folder: Path) -> int:
    """Fork: the child trains, writes its weights and is gone."""
    if pid := os.fork():
        return pid
    progress = Small(files, LONG).training.run(lambda model: float(model[0].weight.sum()), Checkpoint(folder / "resume"), "test")
    save_file({name: tensor.contiguous() for name, tensor in progress.best_weights.items()}, folder / "end.safetensors")
    os._exit(0)


def main() -> None:
    """Print how many were killed and how many of them ended in the same bits."""
    folder, count = Path(sys.argv[1]), int(sys.argv[2])
    torch.set_num_threads(1)
    files = make_files(folder)
    start = time.perf_counter()
    (folder / "whole").mkdir()
    os.waitpid(child(files, folder / "whole"), 0)
    lasts = time.perf_counter() - start
    expected = load_file(folder / "whole/end.safetensors")
    rng, killed, equal = random.Random(0), 0, 0
    while killed < count:
        own = folder / f"{killed}"
        own.mkdir(exist_ok=True)
        pid = child(files, own)
        time.sleep(rng.uniform(0, lasts))
        os.kill(pid, signal.SIGKILL)
        if os.WIFEXITED(os.waitpid(pid, 0)[1]):  # it was done already: this moment does not count
            (own / "end.safetensors").unlink()
            (own / "resume/last.pt").unlink()
            continue
        os.waitpid(child(files, own), 0)
        found = load_file(own / "end.safetensors")
        killed += 1
        equal += found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in expected)
    print(f"{killed} killed, {equal} equal")


if __name__ == "__main__":
    main()

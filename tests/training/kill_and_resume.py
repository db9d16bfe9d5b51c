"""`python kill_and_resume.py FOLDER COUNT`: kill -9 a training at COUNT random moments, resume it, compare with an uninterrupted one."""

import os
import random
import signal
import sys
import time
from pathlib import Path

import torch
import torch._dynamo  # takes two seconds, which the first optimizer would spend in each child
from safetensors.torch import load_file, save_file

from handbone.training.checkpoint import Checkpoint
from small_training import SmallTraining, make_files, scored
from training_params import PARAMS

LONG = PARAMS.model_copy(update={"epochs": 12, "grad_accum": 2, "batch_size": 1})


def start_child(files: list[Path], folder: Path) -> int:
    """Fork a child that trains, writes its weights and exits -> its process id."""
    if pid := os.fork():
        return pid
    trainer = SmallTraining(files, LONG).trainer
    progress = trainer.fit(lambda model: scored(float(model[0].weight.sum()))(model), Checkpoint(folder / "resume"), "test")
    save_file({name: tensor.contiguous() for name, tensor in progress.best_weights.items()}, folder / "end.safetensors")
    os._exit(0)


def main() -> None:
    """Print how many trainings were killed and how many of them ended with the same bits."""
    folder, count = Path(sys.argv[1]), int(sys.argv[2])
    torch.set_num_threads(1)
    files = make_files(folder)
    start = time.perf_counter()
    (folder / "whole").mkdir()
    os.waitpid(start_child(files, folder / "whole"), 0)
    duration = time.perf_counter() - start
    expected = load_file(folder / "whole/end.safetensors")
    rng, killed, equal = random.Random(0), 0, 0
    while killed < count:
        attempt = folder / f"{killed}"
        attempt.mkdir(exist_ok=True)
        pid = start_child(files, attempt)
        time.sleep(rng.uniform(0, duration))
        os.kill(pid, signal.SIGKILL)
        if os.WIFEXITED(os.waitpid(pid, 0)[1]):  # it had finished already: this moment does not count
            (attempt / "end.safetensors").unlink()
            (attempt / "resume/last.pt").unlink()
            continue
        os.waitpid(start_child(files, attempt), 0)
        found = load_file(attempt / "end.safetensors")
        killed += 1
        equal += found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in expected)
    print(f"{killed} killed, {equal} equal")


if __name__ == "__main__":
    main()

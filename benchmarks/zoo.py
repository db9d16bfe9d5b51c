"""`python -m benchmarks.zoo [NAME ...]`: cost of every network and its Dice after the same short training -> the table in docs/models.md.

It needs the phantom's folds: `dvc repro split pseudo`. Each network trains on the first fold in a separate process. The results are written
after each network, so a run that was stopped resumes with the missing ones; named networks are measured again.
With QUICK=1 nothing is trained and only the cost is computed.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import torch
import yaml
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.table import replace_table
from handbone.config.params import Params, load_params
from handbone.models.registry import ENTRIES, build_model, canonical
from handbone.models.spec import ModelSpec
from handbone.utils.errors import UserError, run_cli
from handbone.utils.io import write_json

FOLDER = Path(__file__).parent
RESULTS, FACTS, PAGE = FOLDER / "zoo.json", FOLDER / "zoo.yaml", FOLDER.parent / "docs/models.md"
ENCODER, CLASSES, SIDE = "resnet34", [f"class {index}" for index in range(29)], 512  # for the cost
FOLD, TRAINED_SIDE, EPOCHS, RATE, LOSS = 0, 96, 8, 1e-3, {"bce": 1.0, "dice": 1.0}  # for the training
HEAD = ["`model.arch`", "paper", "architecture", "M parameters", "GFLOPs", "activations MB", "pretrained", "sides", "Dice", "use"]
Record = Mapping[str, Any]


def encoder(name: str) -> str | None:
    """The encoder of a network that takes one; DPT takes vision transformers only and keeps its default."""
    return ENCODER if ENTRIES[name].takes_encoder and name != "DPT" else None


def no_recompute(name: str) -> dict[str, Any]:
    """Options of a network that keeps all activations: the same figures except for memory, in less time."""
    return {"recompute": False} if name.startswith(("FCDenseNet", "UNet3Plus")) else {}


def cost(name: str) -> dict[str, float]:
    """Parameters, GFLOPs of one forward pass (a multiplication and an addition are two), MB kept for the gradient; one image of 512 px."""
    model = build_model(ModelSpec(name, encoder(name), 3, CLASSES, no_recompute(name))).to("meta").train()
    weights = {storage_id(tensor) for tensor in [*model.parameters(), *model.buffers()]}
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: Tensor) -> Tensor:
        if storage_id(tensor) not in weights:
            kept[storage_id(tensor)] = tensor.untyped_storage()  # the reference prevents that its id is used again
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), FlopCounterMode(display=False) as counter:
        model(torch.empty(1, 3, SIDE, SIDE, device="meta"))
    return {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "gflops": round(counter.get_total_flops() / 1e9, 1),
        "activations_mb": round(sum(storage.nbytes() for storage in kept.values()) / 1e6),
    }


def storage_id(tensor: Tensor) -> int:
    """The same number for all views of the same memory; tensors on the meta device have no address."""
    return int(tensor.untyped_storage()._cdata)


def train(name: str, params: Params) -> dict[str, Any]:
    """The Dice on the first fold's held-out people after the short training, and its seconds; the error of a training that diverges."""
    from stages.train import fold_training

    from handbone.evaluation.model_dice import make_score
    from handbone.training.checkpoint import Checkpoint
    from handbone.training.distributed import make_accelerator  # importing these takes seconds, and only this process needs them

    start = perf_counter()
    model = params.model.model_copy(update={"arch": name, "encoder": encoder(name), "weights": None, "options": {name: no_recompute(name)}})
    settings = {"size": TRAINED_SIDE, "epochs": EPOCHS, "validate_every": EPOCHS, "lr": RATE, "loss": LOSS}
    params = params.model_copy(update={"model": model, "train": params.train.model_copy(update=settings)})
    accelerator = make_accelerator(params.train.precision)
    try:
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()), TemporaryDirectory() as folder:
            training, score = fold_training(FOLD, params), make_score(params, accelerator)
            progress = training.run(accelerator, Checkpoint(Path(folder)), Path(folder), score, watchers=[])
    except UserError as error:
        return {"dice": None, "seconds": round(perf_counter() - start), "error": str(error)}
    return {"dice": round(progress.best_dice, 4), "seconds": round(perf_counter() - start)}


def measure(name: str, params: Params, quick: bool) -> dict[str, Any]:
    """The cost of one network, and its Dice after a training in a separate process."""
    if quick:
        return cost(name)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return cost(name) | pool.submit(train, name, params).result()


def table(records: Mapping[str, Record], facts: Mapping[str, list[Any]]) -> str:
    """The Markdown table of all networks."""
    lines = ["| " + " | ".join(HEAD) + " |", "|---|---|---|---:|---:|---:|---|---|---:|---|"]
    return "\n".join(lines + [_line(name, facts[name], records[name]) for name in ENTRIES])


def _line(name: str, facts: list[Any], record: Record) -> str:
    authors, year, what, pretrained, use = facts
    dice = "" if "dice" not in record else "diverged" if record["dice"] is None else f"{record['dice']:.3f}"
    figures = [f"{record['parameters'] / 1e6:.1f}", f"{record['gflops']:.0f}", f"{record['activations_mb']:.0f}"]
    cells = [f"`{name}`", f"{authors} {year}", what, *figures, pretrained, sides(name), dice, use]
    return "| " + " | ".join(cells) + " |"


def sides(name: str) -> str:
    """The sides of the network's input; the wrapper pads images to them."""
    entry = ENTRIES[name]
    least = f", from {entry.min_size}" if entry.min_size else ""
    return ("any" if entry.divisor == 1 else f"multiples of {entry.divisor}") + least


def main() -> None:
    """Measure the missing networks, or the named ones; write the results and the table."""
    params, quick = load_params(), bool(os.environ.get("QUICK"))
    known = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    named = [canonical(name) for name in sys.argv[1:]]
    todo = named or [name for name in ENTRIES if not (known.get(name, {}).keys() & ({"gflops"} if quick else {"dice"}))]
    length = "seconds each" if quick else f"{EPOCHS} epochs at {TRAINED_SIDE} px, two minutes to half an hour each on two cores"
    print(f"{len(todo)} networks, {length}", file=sys.stderr)
    for position, name in enumerate(todo, 1):
        known[name] = known.get(name, {}) | measure(name, params, quick)
        write_json(RESULTS, {name: known[name] for name in ENTRIES if name in known})
        print(f"{position}/{len(todo)} {name}: {known[name]}", file=sys.stderr, flush=True)
    if set(known) == set(ENTRIES):
        replace_table(PAGE, table(known, yaml.safe_load(FACTS.read_text())))


if __name__ == "__main__":
    run_cli(main)

"""`python -m benchmarks.zoo [NAME ...]`: what every network costs, and learns in the same short training -> the table in docs/models.md.

The phantom must have been made and split: `dvc repro split pseudo`. Each network is trained on the first fold in a process of its own, and
what is known so far is written after each, so that a run that was stopped goes on with what is missing. Named networks are measured again.
With QUICK=1 nothing is trained: what networks cost is computed.
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

from handbone.config.params import Params, load_params
from handbone.models import build_model
from handbone.models.registry import ENTRIES, canonical
from handbone.utils.errors import UserError, run

FOLDER = Path(__file__).parent
RESULTS, FACTS, PAGE = FOLDER / "zoo.json", FOLDER / "zoo.yaml", FOLDER.parent / "docs/models.md"
ENCODER, CLASSES, SIDE = "resnet34", 29, 512  # of what is computed
FOLD, TRAINED_SIDE, EPOCHS, RATE, LOSS = 0, 96, 8, 1e-3, {"bce": 1.0, "dice": 1.0}  # of what is trained
HEAD = ["`model.arch`", "paper", "what it is", "M parameters", "GFLOPs", "activations MB", "pretrained", "sides", "Dice", "when"]
Record = Mapping[str, Any]


def encoder(name: str) -> str | None:
    """The encoder that a network of segmentation-models-pytorch is compared with; DPT takes none but vision transformers."""
    return None if name == "DPT" else ENCODER


def at_once(name: str) -> dict[str, Any]:
    """Options with which a network keeps all activations: the same figures, but for memory, in less time."""
    return {"recompute": False} if name.startswith(("FCDenseNet", "UNet3Plus")) else {}


def cost(name: str) -> dict[str, float]:
    """Parameters, GFLOPs of one image forward (a multiplication and an addition are two), MB kept for the gradient; at 512 px."""
    model = build_model(name, encoder(name), in_channels=3, classes=CLASSES, **at_once(name)).to("meta").train()
    weights = {id_of(tensor) for tensor in [*model.parameters(), *model.buffers()]}
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: Tensor) -> Tensor:
        if id_of(tensor) not in weights:
            kept[id_of(tensor)] = tensor.untyped_storage()  # held, so that no other takes its place
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), FlopCounterMode(display=False) as counter:
        model(torch.empty(1, 3, SIDE, SIDE, device="meta"))
    return {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "gflops": round(counter.get_total_flops() / 1e9, 1),
        "activations_mb": round(sum(storage.nbytes() for storage in kept.values()) / 1e6),
    }


def id_of(tensor: Tensor) -> int:
    """The same for all views of the same memory, which on the meta device has no address."""
    return int(tensor.untyped_storage()._cdata)


def trained(name: str, params: Params) -> dict[str, Any]:
    """The Dice on the first fold's held-out people after the short training, and the seconds that it took."""
    from stages.train import train_fold

    from handbone.training.checkpoint import Checkpoint
    from handbone.training.trainer import make_accelerator  # all these import much, which only the process that trains needs

    start = perf_counter()
    model = params.model.model_copy(update={"arch": name, "encoder": encoder(name), "weights": "none", "options": {name: at_once(name)}})
    settings = {"size": TRAINED_SIDE, "epochs": EPOCHS, "validate_every": EPOCHS, "lr": RATE, "loss": LOSS}
    training = params.train.model_copy(update=settings)
    own = params.model_copy(update={"model": model, "train": training})
    try:
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()), TemporaryDirectory() as folder:
            progress = train_fold(FOLD, own, make_accelerator(training.precision), Checkpoint(Path(folder)))
    except UserError as error:
        return {"dice": None, "seconds": round(perf_counter() - start), "error": str(error)}
    return {"dice": round(progress.best_dice, 4), "seconds": round(perf_counter() - start)}


def measure(name: str, params: Params, quick: bool) -> dict[str, Any]:
    """All of one network; it is trained in a process of its own."""
    if quick:
        return cost(name)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return cost(name) | pool.submit(trained, name, params).result()


def table(records: Mapping[str, Record], facts: Mapping[str, list[Any]]) -> str:
    """The markdown table of all networks."""
    lines = ["| " + " | ".join(HEAD) + " |", "|---|---|---|---:|---:|---:|---|---|---:|---|"]
    return "\n".join(lines + [_line(name, facts[name], records[name]) for name in ENTRIES])


def _line(name: str, facts: list[Any], record: Record) -> str:
    authors, year, what, pretrained, when = facts
    dice = "" if "dice" not in record else "diverged" if record["dice"] is None else f"{record['dice']:.3f}"
    figures = [f"{record['parameters'] / 1e6:.1f}", f"{record['gflops']:.0f}", f"{record['activations_mb']:.0f}"]
    cells = [f"`{name}`", f"{authors} {year}", what, *figures, pretrained, sides(name), dice, when]
    return "| " + " | ".join(cells) + " |"


def sides(name: str) -> str:
    """Which sizes the bare network takes; the wrapper pads to them."""
    entry = ENTRIES[name]
    least = f", from {entry.minimum}" if entry.minimum else ""
    return ("any" if entry.multiple == 1 else f"multiples of {entry.multiple}") + least


def main() -> None:
    """Measure what is missing, or named; write the file and the page's table."""
    params, quick = load_params(), bool(os.environ.get("QUICK"))
    known = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    named = [canonical(name) for name in sys.argv[1:]]
    todo = named or [name for name in ENTRIES if not (known.get(name, {}).keys() & ({"gflops"} if quick else {"dice"}))]
    length = "seconds each" if quick else f"{EPOCHS} epochs at {TRAINED_SIDE} px, two minutes to half an hour each on two cores"
    print(f"{len(todo)} networks, {length}", file=sys.stderr)
    for position, name in enumerate(todo, 1):
        known[name] = known.get(name, {}) | measure(name, params, quick)
        RESULTS.write_text(json.dumps({name: known[name] for name in ENTRIES if name in known}, indent=1) + "\n")
        print(f"{position}/{len(todo)} {name}: {known[name]}", file=sys.stderr, flush=True)
    if set(known) == set(ENTRIES):
        write(table(known, yaml.safe_load(FACTS.read_text())))


def write(rows: str) -> None:
    """Put the table into the page, in place of the one that is there."""
    page = PAGE.read_text()
    start = page.index("| `model.arch` |")
    PAGE.write_text(page[:start] + rows + page[page.index("\n\n", start) :])


if __name__ == "__main__":
    run(main)

"""`handbone export OUT`: the trained models as a folder that predicts without the repository."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

from handbone.cli.model_set import model_set, model_set_of
from handbone.config import paths
from handbone.prediction.extras import require_extra
from handbone.prediction.model import load_networks
from handbone.prediction.model_set import export_model_set
from handbone.prediction.onnx_graph import FILE, PACKAGES, TOLERANCE, OnnxFile, export_onnx


def export_models(out: Path, rev: str | None, onnx: bool = False) -> None:
    """Write the models of the working tree, or of a revision, with what they need to predict. onnx: also as one ONNX file.

    Raises `UserError` for models that cannot be used, if `out` exists, and as `export_onnx` does; then nothing is written.
    """
    if onnx:
        require_extra("onnx", "handbone export --onnx", *PACKAGES)
    graphs: list[OnnxFile] = []
    with model_set_of(rev) if rev is not None else nullcontext(model_set(paths.MODELS)) as found:
        networks = list(load_networks(found).values())  # raises for models that could not predict
        writers: list[Callable[[Path], None]] = [lambda folder: graphs.append(export_onnx(found, networks, folder))] if onnx else []
        export_model_set(found, out, *writers)
    print(f"{out}: {len(networks)} models; handbone predict IMAGES --model {shlex.quote(str(out))} -o OUT uses them")
    for graph in graphs:
        print(f"{out / FILE}: the mean of these models, for {graph.sides}")
        print(f"differs from PyTorch by {graph.difference:.1g} of a probability at most, on images of noise (allowed: {TOLERANCE:g})")

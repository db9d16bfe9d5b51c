"""`handbone export OUT`: the trained models as a folder that predicts without the repository."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

from handbone.cli.model_set import model_set, model_set_of
from handbone.config import paths
from handbone.prediction.model import Model
from handbone.prediction.model_set import export_model_set


def export_models(out: Path, rev: str | None) -> None:
    """Write the models of the working tree, or of a revision, with what they need to predict.

    Raises `UserError` for models that cannot be used, and if `out` exists; then nothing is written.
    """
    with model_set_of(rev) if rev is not None else nullcontext(model_set(paths.MODELS)) as found:
        Model(found)  # raises for models that could not predict
        export_model_set(found, out)
    print(f"{out}: {len(found.folders)} models; handbone predict IMAGES --model {out} -o OUT uses them")

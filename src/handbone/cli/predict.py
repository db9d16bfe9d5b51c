"""`handbone predict IMAGES -o OUT`: masks of any pictures, by the networks of this project or of an exported folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from handbone.cli.model_set import load_model
from handbone.prediction.outputs import KINDS, check_class_names
from handbone.prediction.run import predict_files
from handbone.utils.errors import Problem, nearest, raise_if_any


def predict_images(images: Path, out: Path, kinds: Sequence[str], folder: Path, rev: str | None, window: Sequence[float] | None) -> None:
    """Write the masks to the folder `out`. kinds: the formats; folder: of the models, unless a revision is given.

    Raises `UserError` with every option that cannot be used, as `load_model` does, and as `predict_files` does.
    """
    problems = [Problem("predict.format", "--as", "a format", kind, nearest(kind, KINDS)) for kind in kinds if kind not in KINDS]
    raise_if_any(problems + window_problems(window), "")
    model = load_model(folder, rev)
    if "png" in kinds:
        check_class_names(model.classes)
    count = predict_files(model, images, out, kinds, (window[0], window[1]) if window else None)
    print(f"{out}: {', '.join(kinds)} of {count} images")


def window_problems(window: Sequence[float] | None) -> list[Problem]:
    """What is wrong with the values that become black and white."""
    if not window or window[0] < window[1]:
        return []
    found = "{:g} and {:g}".format(*window)
    return [Problem("predict.window", "--window", "the value of black and a higher one of white", found, "correct it")]

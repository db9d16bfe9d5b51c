"""The networks that are written here, and torchvision's: built by a call with the options that its signature has."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from torch import nn

from handbone.models.outputs import Parts, normalised
from handbone.utils.errors import Problem, UserError, nearest, raise_if_any

FIXED = ("in_channels", "classes", "weights")


def build_own(
    make: Callable[..., nn.Module], name: str, weights: str | None, in_channels: int, classes: int, options: dict[str, Any]
) -> Parts:
    """Call `make`; raises `UserError` for options that it does not know or cannot use, and for weights that do not exist."""
    parameters = inspect.signature(make).parameters
    known = [option for option in parameters if option not in FIXED]
    unknown = [option for option in options if option not in known]
    raise_if_any(
        [Problem("params.yaml: model.options", f"an option of {name}", repr(option), nearest(option, known)) for option in unknown],
        "model.options cannot be used",
    )
    if weights is not None and "weights" not in parameters:
        raise UserError(f"model.weights: expected none, as {name} has no pretrained parts; found {weights!r}; set model.weights=none")
    chosen = options | ({"weights": weights} if "weights" in parameters else {})
    try:
        network = make(in_channels=in_channels, classes=classes, **chosen)
    except (TypeError, ValueError) as error:
        raise UserError(f"model.options: expected options of {name} with values that it can use; found {options}: {error}") from error
    return normalised(network, in_channels)

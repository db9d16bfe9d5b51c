"""The parameters that decide a training."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from handbone.config.params import Params


def training_settings(params: Params) -> dict[str, Any]:
    """The parameters on which the weights of a fold depend; those of its files' making are not among them."""
    data = params.data.model_dump(include={"classes", "exclusive", "mirror"})
    return params.model_dump(include={"seed", "model", "train"}) | {"data": data}


def settings_hash(params: Params) -> str:
    """A short hash of `training_settings`, and of the number of folds."""
    document = json.dumps([training_settings(params), params.split.n_folds], sort_keys=True)
    return hashlib.sha256(document.encode()).hexdigest()[:16]

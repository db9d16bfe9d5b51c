"""A small finished run with real networks: pictures of the test set, models, the decision and the submission."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import pandas as pd
import pytest
import torch

from handbone.cache.sample import read_sample
from handbone.config import paths
from handbone.models.registry import build_model
from handbone.models.saved import TrainedModelInfo, save_model
from handbone.models.spec import ModelSpec
from handbone.utils.hashing import file_hash
from handbone.utils.io import write_table
from stages import infer, submit, validate

ChangeParams = Callable[[dict[str, Any]], None]
OPTIONS = {"decoder_channels": [8, 8, 4, 4, 4]}
IMAGES = Path("data/raw/test/DCM")


@pytest.fixture
def finished_run(cached_run: ChangeParams, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """finished_run({"infer.hflip": True}) runs the stages from infer to submit with these parameters, and networks of random weights."""

    def run(changes: dict[str, Any] | None = None) -> None:
        cached_run({"model.arch": "Unet", "model.encoder": "tu-resnet10t", "model.options": {"Unet": OPTIONS}} | (changes or {}))
        write_table(paths.AREAS, pd.DataFrame(columns=["key", "class", "pixels", "x", "y"]))
        spec = ModelSpec("Unet", "tu-resnet10t", 1, ["Radius", "Ulna"], OPTIONS, (changes or {}).get("data.exclusive", False))
        for fold in (0, 1):
            torch.manual_seed(fold)
            info = TrainedModelInfo(spec, None, None, file_hash(paths.FOLDS), 32, fold, 1, 0.5)
            save_model(paths.fold_model(fold), build_model(spec).state_dict(), info)
        for key in ("C/c1", "D/d1"):
            (IMAGES / key).parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(IMAGES / f"{key}.png"), read_sample(paths.cached_sample("test", key)).image)
        for subset in ("oof", "test"):
            monkeypatch.setattr("sys.argv", ["stages.infer", subset])
            infer.main()
        validate.main()
        submit.main()

    return run

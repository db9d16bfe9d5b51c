"""What tests of several rooms share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from handbone.cache.sample import CachedSample, write_sample
from handbone.config import paths
from handbone.masks.boxed import BoxedMasks
from handbone.masks.cropped_maps import CroppedMaps
from handbone.masks.packed import PackedMasks
from handbone.utils.errors import UserError
from handbone.utils.hashing import file_hash
from handbone.utils.io import write_json, write_table
from params_file import write_params

if TYPE_CHECKING:
    from handbone.models.wrapper import SegmentationModel

Fails = Callable[..., AbstractContextManager[pytest.ExceptionInfo[UserError]]]


@pytest.fixture
def fails() -> Fails:
    """`with fails("annotation.label", "a.json"):` expects a `UserError` with exactly these codes' set, each place named somewhere in it."""

    @contextmanager
    def expect(code: str, *places: str) -> Iterator[pytest.ExceptionInfo[UserError]]:
        with pytest.raises(UserError) as caught:
            yield caught
        assert caught.value.codes == {code}, caught.value
        for place in places:
            assert any(place in found for found in caught.value.places), caught.value

    return expect


@pytest.fixture
def in_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Samples are mapped without worker processes, whose start takes a second; tests of `map_samples` and of the graph have them."""

    def mapped(function: Callable[[Any], Any], items: Sequence[Any], *_: Any) -> list[Any]:
        return [function(item) for item in items]

    for module in ("stages.preprocess", "handbone.phantom.dataset", "handbone.doctor.labels.reading"):
        monkeypatch.setattr(f"{module}.map_samples", mapped)


def build(
    arch: str, encoder: str | None = None, weights: str | None = None, in_channels: int = 3, classes: int = 29, **options: Any
) -> SegmentationModel:
    """The network of that name, with classes "0", "1", ..."""
    from handbone.models.registry import build_model  # here, as it imports torch, which most rooms do not need
    from handbone.models.spec import ModelSpec

    return build_model(ModelSpec(arch, encoder, in_channels, [str(index) for index in range(classes)], options), weights)


# a small finished run for the stages after training: cache, folds and stored predictions of two folds and two classes
CLASSES = ["Radius", "Ulna"]
FOLD_OF = {"A/a1": 0, "A/a2": 0, "B/b1": 1, "B/b2": 1}
TEST_NAMES = {"C/c1": "c1.png", "D/d1": "d1.png"}
SHAPE, SIZE = (32, 48), 24  # full resolution, and the longer side of the network's input

ChangeParams = Callable[..., None]


@pytest.fixture
def change_params(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ChangeParams:
    """Makes `tmp_path` the working directory, with the demo's params.yaml; change_params({"decide.threshold": 0.4}) changes values."""
    monkeypatch.chdir(tmp_path)
    data = {"data.classes": CLASSES, "data.root": "data/raw", "folds": [0, 1], "split.n_folds": 2}
    write_params(data | {"model.in_channels": 1, "train.size": 32, "infer.hflip": False, "infer.batch_size": 2})
    return write_params


@pytest.fixture
def cached_run(change_params: ChangeParams) -> ChangeParams:
    """The cache of training and test images, and the folds."""
    rng = np.random.default_rng(0)
    truth = BoxedMasks.from_crops(SHAPE, [(4, 4), (8, 20)], [np.ones((20, 20), bool), np.ones((16, 20), bool)])
    for subset, keys, masks in [("train", FOLD_OF, PackedMasks.pack(truth)), ("test", TEST_NAMES, None)]:
        for key in keys:
            write_sample(paths.cached_sample(subset, key), CachedSample(rng.integers(0, 255, SHAPE, np.uint8), SHAPE, masks))
    people = {key: key.split("/")[0] for key in [*FOLD_OF, *TEST_NAMES]}
    hashes = {key: file_hash(paths.cached_sample("train" if key in FOLD_OF else "test", key)) for key in people}
    index = pd.DataFrame([(key, people[key], hashes[key]) for key in FOLD_OF], columns=["key", "person", "sha256"])
    write_table(paths.TRAIN_INDEX, index)
    write_table(paths.FOLDS, pd.DataFrame([(key, people[key], fold) for key, fold in FOLD_OF.items()], columns=["key", "person", "fold"]))
    rows = [(key, people[key], name, *SHAPE, hashes[key]) for key, name in TEST_NAMES.items()]
    write_table(paths.TEST_INDEX, pd.DataFrame(rows, columns=["key", "person", "image_name", "height", "width", "sha256"]))
    return change_params


@pytest.fixture
def predicted_run(cached_run: ChangeParams) -> ChangeParams:
    """The cached run with predictions: probabilities that rise from left to right, so that each threshold gives other masks."""
    rising = np.linspace(0, 255, SIZE).astype(np.uint8)
    maps = CroppedMaps.from_dense(np.stack([np.tile(rising, (16, 1)), np.tile(rising[::-1], (16, 1))]))
    for subset, keys in [("oof", FOLD_OF), ("test", TEST_NAMES)]:
        for key in keys:
            maps.save(paths.prediction(subset, key))
        network = {"spec": {"arch": "Unet", "classes": CLASSES}, "size": SIZE, "folds_sha256": file_hash(paths.FOLDS)}
        models = {str(fold): {"sha256": f"hash of fold {fold}"} | network for fold in (0, 1)}
        tables = [paths.TEST_INDEX] if subset == "test" else [paths.TRAIN_INDEX, paths.FOLDS]
        files = {key: file_hash(paths.prediction(subset, key)) for key in keys}
        record = {"models": models, "tables": {str(table): file_hash(table) for table in tables}, "files": files}
        write_json(paths.prediction_record(subset), record)
    return cached_run

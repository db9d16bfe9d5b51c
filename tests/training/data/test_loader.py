"""Batches of a fold's samples."""

from pathlib import Path
from time import sleep

import numpy as np
import pandas as pd
import pytest

from conftest import Fails
from handbone.cache.sample import CachedSample, write_sample
from handbone.config.params import Params
from handbone.masks.boxed import BoxedMasks
from handbone.masks.packed import PackedMasks
from handbone.training.data import loader as loader_module
from handbone.training.data.faults import raise_fault
from handbone.training.data.loader import closed_workers, first_batch, make_loader

SHAPES = [(64, 96), (96, 40), (50, 50)]


@pytest.fixture
def samples(tmp_path: Path) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    for index, shape in enumerate(SHAPES):
        masks = PackedMasks.pack(BoxedMasks.from_dense(rng.random((2, *shape)) < 0.5))
        write_sample(tmp_path / f"{index}.npz", CachedSample(rng.integers(0, 256, shape, np.uint8), shape, masks))
    heights, widths = zip(*SHAPES, strict=True)
    files = [tmp_path / f"{index}.npz" for index in range(len(SHAPES))]
    return pd.DataFrame({"file": files, "height": heights, "width": widths, "rate": 1.0, "weight": 1.0})


def params(crop: int | None, workers: int = 0) -> Params:
    base = Params()
    train = base.train.model_copy(update={"size": 48, "crop": crop, "batch_size": 2})
    data, machine = base.data.model_copy(update={"classes": ["a", "b"]}), base.machine.model_copy(update={"num_workers": workers})
    return base.model_copy(update={"train": train, "data": data, "machine": machine})


@pytest.mark.parametrize(("crop", "shape"), [(None, (48, 48)), (32, (32, 32))])
def test_samples_are_padded_to_the_largest_shape_or_to_the_window(crop: int | None, shape: tuple[int, int], samples: pd.DataFrame) -> None:
    loader, batches = make_loader(samples, params(crop), 3)
    shapes = [batch.images.shape for batch in loader]
    assert len(batches) == 2 and sorted(shapes) == [(1, 1, *shape), (2, 1, *shape)]


@pytest.mark.parametrize("workers", [0, 1])
def test_the_first_batch_is_that_of_the_epoch(workers: int, samples: pd.DataFrame) -> None:
    loader, batches = make_loader(samples, params(None, workers), 3)
    batches.epoch, batches.start = 4, 1
    draw, seconds = first_batch(loader, batches)
    assert (seconds > 0) == (workers > 0)
    expected = next(iter(loader))
    for batch in (draw(), draw()):
        assert all(np.array_equal(one, other) for one, other in zip(batch, expected, strict=True))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_damaged_sample_is_an_error_that_names_its_file(
    workers: int, samples: pd.DataFrame, fails: Fails, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also from a worker process, of which PyTorch passes on the text alone."""
    monkeypatch.setattr(loader_module, "available_bytes", lambda: 0)  # so that files are read when they are needed
    whole, _ = make_loader(samples, params(None, workers), 3)
    samples["file"][1].write_bytes(b"PK")
    with fails("cache.corrupt", str(samples["file"][1])), closed_workers(whole):
        for batch in whole:
            raise_fault(batch)


@pytest.mark.parametrize("workers", [0, 2])
def test_an_exception_of_a_library_names_the_file_too(workers: int, samples: pd.DataFrame, fails: Fails) -> None:
    loader, _ = make_loader(samples, params(None, workers), 3)
    loader.dataset._samples._in_memory[1] = (None, None)
    with fails("train.sample", str(samples["file"][1])), closed_workers(loader):
        for batch in loader:
            raise_fault(batch)


def test_a_worker_that_hangs_ends_the_training_instead_of_costing_a_night(samples: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader_module, "TIMEOUT", 2.0)
    monkeypatch.setattr(loader_module, "collate_or_fault", lambda _: sleep(600))
    loader, _ = make_loader(samples, params(None, 1), 3)
    with pytest.raises(RuntimeError, match="timed out"), closed_workers(loader):
        next(iter(loader))

"""`train.batch_size: auto`, on a GPU that is not there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from accelerate import Accelerator
from hypothesis import given
from hypothesis import strategies as st

from conftest import Fails
from handbone.config.params import Params
from handbone.training import batch_size
from handbone.training.batch_size import BATCHES, USED, WITHOUT_GPU, choices, find_batch_size, largest_that_fits
from handbone.training.data.fold import TrainFiles
from handbone.training.fold_training import FoldTraining
from handbone.training.init_weights import InitWeights
from handbone.training.trial import Trial
from imports import ROOT

GIB = 2**30
GPU, CPU = torch.device("cuda"), torch.device("cpu")
Find = Callable[..., int]


@given(st.integers(0, 40), st.integers(0, 40), st.integers(1, 2000))
def test_the_largest_batch_below_both_limits(memory: int, limit: int, images: int) -> None:
    """memory: from which on a step fails; limit: bytes, where each image takes one."""
    found = largest_that_fits(lambda batch: None if batch > memory else Trial(1.0, batch), choices(images), limit)
    fitting = [batch for batch in choices(images) if batch <= min(memory, limit)]
    assert (found and found[0]) == (max(fitting) if fitting else None)


def test_small_data_sets_keep_some_steps_per_epoch() -> None:
    assert choices(640) == list(BATCHES) and choices(100)[-1] == 6 and choices(3) == [1, 2]


@pytest.fixture
def find(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Find:
    """`find_batch_size` on a card of 10 GiB, where an image takes one: find(params, shape) -> the batch; find.tried: the batches."""
    tried: list[int] = []

    def steps(model: object, params: Params, shape: tuple[int, int], device: torch.device) -> Callable[[int], Trial]:
        def step(images: int) -> Trial:
            tried.append(images)
            return Trial(0.1, images * shape[0] / 512 * GIB)

        return step

    card = SimpleNamespace(name="Some Card", total_memory=10 * GIB)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: card)
    monkeypatch.setattr(batch_size, "TrialSteps", steps)

    def find(params: Params, shape: tuple[int, int] = (512, 512), images: int = 640) -> int:
        return find_batch_size(params, images, shape, GPU, tmp_path / "batch_sizes")

    find.tried, find.card, find.folder = tried, card, tmp_path / "batch_sizes"  # type: ignore[attr-defined]
    return find


PARAMS = Params().model_copy(update={"model": Params().model.model_copy(update={"encoder": "resnet18"})})


def test_a_tenth_of_the_card_stays_free(find: Find) -> None:
    assert USED == 0.9 and find(PARAMS) == 8
    assert find.tried == [1, 2, 3, 4, 6, 8, 12]


def test_the_first_training_finds_it_and_others_read_it(find: Find) -> None:
    assert find(PARAMS) == 8
    find.tried.clear()
    other = PARAMS.model_copy(update={"seed": 5, "train": PARAMS.train.model_copy(update={"lr": 0.1, "epochs": 3})})
    assert find(other) == 8 and not find.tried
    assert find(PARAMS, (1024, 1024)) == 4 and find.tried  # other images are another question
    find.card.total_memory = 5 * GIB
    assert find(PARAMS) == 4  # another card as well


def test_folds_that_begin_together_take_the_same(find: Find, monkeypatch: pytest.MonkeyPatch) -> None:
    """On one GPU they take memory from each other, so each may find another number."""
    begun: list[int] = []
    first = batch_size._tried

    def tried(*arguments: object) -> int | None:
        begun.append(1)
        if len(begun) == 2:
            return 3
        assert find(PARAMS) == 3  # the other fold, while this one tries
        return first(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(batch_size, "_tried", tried)
    assert find(PARAMS) == 3 and len(begun) == 2


def test_no_image_that_fits_is_an_error(find: Find, fails: Fails) -> None:
    with fails("train.batch_size", "params.yaml: train.batch_size"):
        find(PARAMS, (2**14, 2**14))
    assert not find.folder.exists()


@pytest.mark.parametrize("text", ['{"batch_size": "8"}', '{"batch_size": 0}', "[]", '{"batch_size": true}'])
def test_a_damaged_record_is_an_error_that_names_it(find: Find, fails: Fails, text: str) -> None:
    find(PARAMS)
    (record,) = find.folder.iterdir()
    record.write_text(text)
    with fails("train.batch_size", str(record)):
        find(PARAMS)


def test_without_a_gpu_it_is_the_default(tmp_path: Path) -> None:
    assert find_batch_size(PARAMS, 640, (512, 512), CPU, tmp_path) == WITHOUT_GPU == Params().train.batch_size
    assert not list(tmp_path.iterdir())


def test_the_training_and_its_fingerprint_have_the_number(tmp_path: Path) -> None:
    """So a resumed training, and one with the same number in params.yaml, is the same training."""
    rows = pd.DataFrame({"key": ["A/a"], "person": ["A"], "height": [64], "width": [64]})
    for name, table in {"index": rows, "areas": rows, "folds": rows, "pseudo": rows[:0]}.items():
        table.to_csv(tmp_path / name, index=False)
    tables = [tmp_path / name for name in ("index", "areas", "folds", "pseudo")]
    files = TrainFiles(*tables, sample=lambda key: tmp_path / key, pseudo_sample=lambda key: tmp_path / key)
    accelerator, weights = Accelerator(cpu=True), InitWeights(None, of_experiment=False)

    def training(batch: int | str) -> FoldTraining:
        params = PARAMS.model_copy(update={"train": PARAMS.train.model_copy(update={"batch_size": batch})})
        return FoldTraining(0, params, files, weights).with_batch_size(accelerator)

    auto = training("auto")
    assert auto.params.train.images_per_batch == WITHOUT_GPU and auto == training(WITHOUT_GPU)
    assert auto.fingerprint(ROOT) == training(WITHOUT_GPU).fingerprint(ROOT) != training(4).fingerprint(ROOT)


def test_auto_is_no_number_before_it_is_found() -> None:
    with pytest.raises(ValueError, match="auto"):
        _ = Params().train.model_copy(update={"batch_size": "auto"}).images_per_batch

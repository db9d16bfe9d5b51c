"""Trial steps are real steps, and too little memory is an answer."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest
import torch
from torch import nn

from handbone.config.params import Params
from handbone.training.estimate import CONTEXT, state_bytes
from handbone.training.trial import TrialSteps
from small_training import small_network
from training_params import PARAMS as TRAIN

PARAMS = Params().model_copy(update={"train": TRAIN, "data": Params().data.model_copy(update={"classes": ["a", "b"]})})
CPU = torch.device("cpu")


class Hungry(nn.Module):
    """Runs out of memory from three images on."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.network, self.error = small_network(), error

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if len(images) > 2:
            raise self.error
        return self.network(images)


def test_a_step_trains_and_is_timed() -> None:
    model = small_network()
    before = model[0].weight.detach().clone()
    trial = TrialSteps(model, PARAMS, (32, 32), CPU)(4)
    assert trial is not None and trial.seconds and trial.memory == CONTEXT
    assert not torch.equal(before, model[0].weight)
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("CUDNN_STATUS_ALLOC_FAILED")])
def test_too_little_memory_is_no_error(error: Exception) -> None:
    step = TrialSteps(Hungry(error), PARAMS, (32, 32), CPU)
    assert step(3) is None and step(2) is not None


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collector")
def test_what_a_failed_step_has_made_is_gone_before_the_memory_is_given_back() -> None:
    class Watched(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network, self.made, self.alive = small_network(), list[weakref.ref[torch.Tensor]](), list[bool]()

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            features = self.network(images)
            self.made += [weakref.ref(images), weakref.ref(features)]
            raise torch.OutOfMemoryError("CUDA out of memory")  # a new one, as the traceback of a kept one keeps the tensors

        def zero_grad(self, set_to_none: bool = True) -> None:
            self.alive.append(any(reference() is not None for reference in self.made))
            super().zero_grad(set_to_none)

    model = Watched()
    assert TrialSteps(model, PARAMS, (32, 32), CPU)(3) is None
    assert len(model.made) == 2 and not model.alive[-1]


def test_the_norms_of_a_frozen_encoder_are_frozen_as_in_a_training() -> None:
    model = small_network()
    model.encoder_stages = [["0.weight", "0.bias", "1.weight", "1.bias"]]  # type: ignore[assignment]
    params = PARAMS.model_copy(update={"train": TRAIN.model_copy(update={"encoder_lr_mult": 0.0})})
    assert TrialSteps(model, params, (32, 32), CPU)(2) is not None
    assert not model[1].training and model.training


def test_other_errors_are() -> None:
    with pytest.raises(RuntimeError, match="shape"):
        TrialSteps(Hungry(RuntimeError("shape")), PARAMS, (32, 32), CPU)(3)


def test_every_loss_of_every_epoch_is_in_a_step() -> None:
    loss = {"bce": 1.0, "lovasz": [[1, 0.0], [5, 1.0]], "boundary": 0.5}
    params = PARAMS.model_copy(update={"train": TRAIN.model_copy(update={"loss": loss})})
    assert TrialSteps(small_network(), params, (32, 32), CPU)(2) is not None


def test_a_training_has_weights_averages_gradients_and_moments() -> None:
    model = nn.Linear(10, 10, bias=False)
    assert state_bytes(model, TRAIN) == 5 * 400
    assert state_bytes(model, TRAIN.model_copy(update={"swa_epochs": 2})) == 6 * 400

"""A resumed training ends with the same weights as an uninterrupted one; several processes end where one does."""

import math
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from accelerate.optimizer import patch_optimizer_step
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

from conftest import Fails
from handbone.config.params import TrainParams
from handbone.training import estimate, trainer
from handbone.training.checkpoint import Checkpoint
from handbone.training.preemption import Preempted
from handbone.training.state import CurveRow, Progress
from small_training import EachCurve, SmallTraining, make_files, scored, small_network
from training_params import PARAMS


class KilledError(Exception):
    """Simulates a kill."""


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    return make_files(tmp_path)


def train(files: list[Path], folder: Path, stop_at: int | None = None, params: TrainParams = PARAMS) -> Progress:
    """Train. stop_at: raise `KilledError` during the validation of that epoch."""
    small = SmallTraining(files, params)

    def evaluate(model: nn.Module) -> NDArray[np.float64]:
        if stop_at is not None and small.batches.epoch == stop_at:
            raise KilledError
        return scored(float(sum(parameter.abs().sum() for parameter in model.parameters())))(model)

    return small.trainer.fit(evaluate, Checkpoint(folder), "test")


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


SWA = PARAMS.model_copy(update={"swa_epochs": 3, "validate_every": 1, "optimizer": "lion", "lr": 1e-3, "max_grad_norm": 0.5})


@pytest.mark.parametrize(("stop_at", "params"), [(2, PARAMS), (4, PARAMS), (5, PARAMS), (4, SWA)])
def test_resumed_equals_uninterrupted(files: list[Path], tmp_path: Path, stop_at: int, params: TrainParams) -> None:
    whole = train(files, tmp_path / "whole", params=params)
    with pytest.raises(KilledError):
        train(files, tmp_path / "resumed", stop_at, params)
    resumed = train(files, tmp_path / "resumed", params=params)
    assert same(whole.best_weights, resumed.best_weights)
    assert whole.rows == resumed.rows
    assert whole.best_epoch == resumed.best_epoch


def test_the_curve_has_one_row_per_epoch_and_a_score_in_validated_epochs(files: list[Path], tmp_path: Path) -> None:
    rows = train(files, tmp_path).rows
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4, 5]
    assert [row["dice"] is not None for row in rows] == [False, True, False, True, True]
    assert rows[-1]["loss"] is not None
    assert rows[0]["loss"] is not None
    assert rows[-1]["loss"] < rows[0]["loss"]


def test_the_curve_is_reported_after_every_epoch_and_after_a_resume(files: list[Path], tmp_path: Path) -> None:
    curves: list[list[CurveRow]] = []

    def preempt_in_epoch_4(rows: list[CurveRow]) -> None:
        curves.append(list(rows))
        if len(rows) == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Preempted):
        SmallTraining(files, PARAMS).trainer.fit(scored(0.5), Checkpoint(tmp_path), "test", [EachCurve(preempt_in_epoch_4)])
    assert [len(rows) for rows in curves] == [1, 2, 3]
    resumed: list[list[CurveRow]] = []
    SmallTraining(files, PARAMS).trainer.fit(scored(0.5), Checkpoint(tmp_path), "test", [EachCurve(resumed.append)])
    assert [len(rows) for rows in resumed] == [3, 4, 5] and resumed[0] == curves[-1]


def test_a_diverged_training_is_an_error(files: list[Path], tmp_path: Path, fails: Fails) -> None:
    with fails("train.diverged", "train.lr"):
        train(files, tmp_path, params=PARAMS.model_copy(update={"lr": 1e30}))


@pytest.mark.parametrize("grad_accum", [1, 2])
def test_after_sigterm_it_saves_in_the_middle_of_an_epoch(files: list[Path], tmp_path: Path, grad_accum: int) -> None:
    class Preempting(nn.Sequential):
        passes = 0

        def forward(self, images: Tensor) -> Tensor:
            self.passes += 1
            if self.passes == 2 + 5 + 2:  # two of the dry run, the first epoch, the second batch of the second epoch
                os.kill(os.getpid(), signal.SIGTERM)
            logits: Tensor = super().forward(images)
            return logits

    params = PARAMS.model_copy(update={"batch_size": 1, "grad_accum": grad_accum})
    whole = train(files, tmp_path / "whole", params=params)
    torch.manual_seed(3)
    small = SmallTraining(files, params, network=Preempting(*small_network()))
    with pytest.raises(Preempted, match="epoch 2 of 5, batch 2 of 5"):
        small.trainer.fit(scored(0.0), Checkpoint(tmp_path / "stopped"), "test")
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    resumed = train(files, tmp_path / "stopped", params=params)
    assert same(whole.best_weights, resumed.best_weights) and whole.rows == resumed.rows


@pytest.mark.parametrize("moments", [4, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_at_random_moments_it_ends_with_the_same_weights(tmp_path: Path, moments: int) -> None:
    """In a separate process, which imports once and forks: it kills each child while it trains, and another child resumes."""
    script = Path(__file__).with_name("kill_and_resume.py")
    environment = os.environ | {"PYTHONPATH": str(script.parent.parent), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path), str(moments)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert f"{moments} killed, {moments} equal" in done.stdout, done.stdout[-2000:]


def test_accumulated_batches_are_one_step(files: list[Path], tmp_path: Path) -> None:
    """Two batches of two equal one of four, for a network without batch statistics and a loss that is a mean."""
    bce = PARAMS.model_copy(update={"loss": {"bce": 1.0}, "epochs": 2, "max_grad_norm": 0.1})
    ends = []
    for batch_size, grad_accum in ((4, 1), (2, 2)):
        small = SmallTraining(files[:4], bce.model_copy(update={"batch_size": batch_size, "grad_accum": grad_accum}), plain=True)
        ends.append(small.trainer.fit(scored(0.0), Checkpoint(tmp_path / f"{batch_size}"), "test"))
    one, two = ends
    assert [row["loss"] for row in one.rows] == pytest.approx([row["loss"] for row in two.rows], abs=2e-6)
    assert all(torch.allclose(one.best_weights[name], two.best_weights[name], atol=1e-6) for name in one.best_weights)


def test_two_processes_end_where_one_does(files: list[Path], tmp_path: Path) -> None:
    """Five images in batches of three and two, so the parts are two and one, one and one. Loss curve, Dice and weights are the same.

    The one is no process of a launch, whose wrapper would be the same: averages of the weights have to follow the wrapped model.
    """
    script = Path(__file__).with_name("train_distributed.py")
    for processes in (1, 2):
        several = ["-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", "0", "--standalone"]
        launch = [sys.executable, *(several if processes == 2 else [])]
        environment = os.environ | {"PYTHONPATH": str(script.parent.parent), "OMP_NUM_THREADS": "1"}
        out = tmp_path / f"out{processes}"
        done = subprocess.run([*launch, str(script), str(tmp_path), str(out)], env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
    one, two = (load_file(tmp_path / f"out{processes}" / "end.safetensors") for processes in (1, 2))
    assert one["loss"].tolist() == pytest.approx(two["loss"].tolist(), rel=1e-5)
    assert one.keys() == two.keys() and all(torch.allclose(one[name], two[name], atol=1e-5) for name in one)


def test_patience_ends_a_training_that_no_longer_improves(files: list[Path], tmp_path: Path) -> None:
    params = PARAMS.model_copy(update={"epochs": 50, "validate_every": 1, "patience": 3})
    scores = iter([0.1, 0.3, 0.2, 0.3, 0.1])
    progress = SmallTraining(files, params).trainer.fit(lambda model: scored(next(scores))(model), Checkpoint(tmp_path), "test")
    assert len(progress.rows) == 5 and progress.best_epoch == 2
    resumed = SmallTraining(files, params).trainer.fit(scored(1.0), Checkpoint(tmp_path), "test")
    assert len(resumed.rows) == 5  # a finished training stays finished when it is resumed


def test_without_patience_all_epochs_are_trained(files: list[Path], tmp_path: Path) -> None:
    params = PARAMS.model_copy(update={"epochs": 8, "validate_every": 1, "patience": None})
    assert len(SmallTraining(files, params).trainer.fit(scored(0.0), Checkpoint(tmp_path), "test").rows) == 8


def test_without_a_maximum_norm_gradients_are_not_clipped(files: list[Path], tmp_path: Path) -> None:
    """The same as with a maximum that no gradient reaches; a small maximum changes the weights."""
    ends = {}
    for norm in (None, 1e9, 1e-3):
        params = PARAMS.model_copy(update={"max_grad_norm": norm, "optimizer": "sgd", "epochs": 2})
        ends[norm] = train(files, tmp_path / f"{norm}", params=params).best_weights
    assert same(ends[None], ends[1e9]) and not same(ends[None], ends[1e-3])


def test_without_averages_the_weights_themselves_are_validated_and_kept(files: list[Path], tmp_path: Path) -> None:
    params = PARAMS.model_copy(update={"ema_decay": None, "swa_epochs": None, "validate_every": 5})
    small = SmallTraining(files, params)
    end = small.trainer.fit(scored(0.0), Checkpoint(tmp_path), "test").best_weights
    assert same(end, dict(small.model.state_dict()))


def test_frozen_batch_norm_keeps_its_statistics_and_trains_its_weights(files: list[Path], tmp_path: Path) -> None:
    params = PARAMS.model_copy(update={"freeze_batch_norm": True, "ema_decay": None, "epochs": 2})
    small = SmallTraining(files, params)
    before = {name: tensor.clone() for name, tensor in small.model.state_dict().items()}
    end = small.trainer.fit(scored(0.0), Checkpoint(tmp_path), "test").best_weights
    assert torch.equal(end["1.running_mean"], before["1.running_mean"]) and end["1.num_batches_tracked"] == 0
    assert not torch.equal(end["1.weight"], before["1.weight"])


def test_a_frozen_encoder_stays_as_it_is(tmp_path: Path) -> None:
    """With the statistics of its batch norms; those of the other batch norms change, whether or not they have weights."""

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4))
            self.encoder_stages = [[f"encoder.{name}" for name, _ in self.encoder.named_parameters()]]
            self.rest = nn.Sequential(nn.BatchNorm2d(4), nn.BatchNorm2d(4, affine=False), nn.Conv2d(4, 2, 1))

        def forward(self, image: Tensor) -> Tensor:
            return self.rest(self.encoder(image))

    params = PARAMS.model_copy(update={"encoder_lr_mult": 0.0, "ema_decay": None, "epochs": 2})
    small = SmallTraining(make_files(tmp_path), params, network=Network())
    before = {name: tensor.clone() for name, tensor in small.model.state_dict().items()}
    end = small.trainer.fit(scored(0.0), Checkpoint(tmp_path / "resume"), "test").best_weights
    unchanged = {name for name, tensor in end.items() if torch.equal(tensor, before[name])}
    assert unchanged == {name for name in end if name.startswith("encoder.")}


def test_swa_keeps_the_mean_of_the_last_epochs(files: list[Path], tmp_path: Path) -> None:
    params = PARAMS.model_copy(update={"swa_epochs": 3, "validate_every": 5})
    small, ends = SmallTraining(files, params), []

    def remember(rows: list[CurveRow]) -> None:
        ends.append(small.model.state_dict()["0.weight"].clone())

    averaged = small.trainer.fit(scored(0.0), Checkpoint(tmp_path), "test", [EachCurve(remember)]).best_weights
    assert torch.allclose(averaged["0.weight"], torch.stack(ends[2:]).mean(0), atol=1e-6)


def test_the_first_line_has_the_estimate(files: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(files, tmp_path)
    assert "per epoch" in capsys.readouterr().out


def test_a_training_that_would_take_days_on_a_cpu_does_not_start(
    files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: Fails
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(estimate, "CPU_HOURS", 0)
    with fails("train.no_gpu"):
        train(files, tmp_path)
    assert not list(tmp_path.rglob("*.ckpt"))


class Overflowing:
    """A scaler of fp16 as accelerate's optimizer uses it: it skips a step whose gradients are not finite."""

    def __init__(self) -> None:
        self.skipped = 0

    def step(self, optimizer: torch.optim.Optimizer, closure: None) -> None:
        gradients = [parameter.grad for group in optimizer.param_groups for parameter in group["params"] if parameter.grad is not None]
        if all(gradient.isfinite().all() for gradient in gradients):
            optimizer.step()
        else:
            self.skipped += 1

    def update(self) -> None:
        pass


class Spiking(nn.Sequential):
    """Infinite logits at these passes; the first two passes are those of the dry run."""

    passes, spikes = 0, range(0)

    def forward(self, images: Tensor) -> Tensor:
        self.passes += 1
        logits: Tensor = super().forward(images)
        return logits * float("inf") if self.passes in self.spikes else logits


def spiking(files: list[Path], spikes: range, scaler: Overflowing | None) -> SmallTraining:
    torch.manual_seed(3)
    network = Spiking(*small_network(plain=True))
    network.spikes = spikes
    small = SmallTraining(files, PARAMS, network=network)
    if scaler is not None:
        optimizer = small.trainer._state.optimizer
        optimizer.scaler = scaler
        optimizer._optimizer_original_step_method = optimizer.optimizer.step
        optimizer._accelerate_step_called = False
        optimizer._optimizer_patched_step_method = patch_optimizer_step(optimizer, optimizer.optimizer.step)
    return small


def test_a_step_that_the_scaler_skips_changes_nothing(files: list[Path], tmp_path: Path) -> None:
    """Two batches of the second epoch have infinite losses: weights, averages and the learning rate do not move there."""
    scaler = Overflowing()
    small = spiking(files, range(6, 8), scaler)
    steps: list[int] = []
    small.trainer._state.ema.update = lambda: steps.append(1)  # type: ignore[method-assign]
    progress = small.trainer.fit(scored(0.5), Checkpoint(tmp_path), "test")
    assert (scaler.skipped, progress.skipped, progress.skipped_in_a_row) == (2, 2, 0)
    assert len(steps) == 5 * 3 - 2
    assert all(row["loss"] is not None and math.isfinite(row["loss"]) for row in progress.rows)


def test_a_training_in_bf16_goes_on_where_there_is_only_fp16_and_back(files: list[Path]) -> None:
    """As in a cluster with GPUs of several kinds, where `train.precision: auto` means both."""
    bf16, fp16 = SmallTraining(files, PARAMS).trainer._state, SmallTraining(files, PARAMS).trainer._state
    scaler = fp16.accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    fp16.load_state_dict(bf16.state_dict())
    scaler.scale(torch.ones(1))
    assert scaler.get_scale() == 8
    scaler.update(2.0)
    bf16.load_state_dict(saved := fp16.state_dict())
    scaler.update(4.0)
    fp16.load_state_dict(saved)
    assert scaler.get_scale() == 2


def test_an_infinite_loss_without_a_scaler_is_an_error(files: list[Path], tmp_path: Path, fails: Fails) -> None:
    with fails("train.diverged", "train.lr"):
        spiking(files, range(6, 7), None).trainer.fit(scored(0.5), Checkpoint(tmp_path), "test")


def test_many_skipped_steps_in_a_row_are_an_error(files: list[Path], tmp_path: Path, fails: Fails, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "MAX_SKIPPED", 4)
    with fails("train.diverged", "train.lr") as error:
        spiking(files, range(6, 99), Overflowing()).trainer.fit(scored(0.5), Checkpoint(tmp_path), "test")
    assert "4 steps in a row" in error.value.problems[0].found


def test_weights_that_are_not_finite_are_never_kept(files: list[Path], tmp_path: Path, fails: Fails) -> None:
    """The last step of a training can spoil them, and no loss comes after it."""
    small = SmallTraining(files, PARAMS.model_copy(update={"epochs": 1, "ema_decay": None}))

    def spoil() -> None:
        with torch.no_grad():
            next(small.trainer._state.ema.model.parameters()).fill_(float("nan"))

    small.trainer._state.ema.update = spoil  # type: ignore[method-assign]
    with fails("train.diverged", "train.lr") as error:
        small.trainer.fit(scored(0.5), Checkpoint(tmp_path), "test")
    assert "weights" in error.value.problems[0].found


def test_a_disk_that_is_too_full_for_a_checkpoint_is_an_error_before_the_first_step(
    files: list[Path], tmp_path: Path, fails: Fails, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = SmallTraining(files, PARAMS)
    size, weights = small.trainer._state.nbytes()
    assert weights == sum(tensor.nbytes for tensor in small.model.state_dict().values()) and size > 4 * weights
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=2 * size + weights - 1))
    with fails("io.disk_full", str(tmp_path)):
        small.trainer.require_space(Checkpoint(tmp_path / "resume"), tmp_path / "models")
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=2 * size + weights))
    small.trainer.require_space(Checkpoint(tmp_path / "resume"), tmp_path / "models")


def test_the_network_that_is_scored_is_channels_last(files: list[Path], tmp_path: Path) -> None:
    """The weights decide how convolutions run, as an image of one channel has both memory formats."""
    found: list[bool] = []

    def evaluate(model: nn.Module) -> NDArray[np.float64]:
        found.append(all(weight.is_contiguous(memory_format=torch.channels_last) for weight in model.parameters() if weight.dim() == 4))
        return scored(0.5)(model)

    SmallTraining(files, PARAMS.model_copy(update={"epochs": 1})).trainer.fit(evaluate, Checkpoint(tmp_path), "test")
    assert found == [True]


def test_a_score_starts_no_search_for_kernels(files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    searched: list[bool] = []

    def evaluate(model: nn.Module) -> NDArray[np.float64]:
        searched.append(torch.backends.cudnn.benchmark)
        return scored(0.5)(model)

    SmallTraining(files, PARAMS.model_copy(update={"epochs": 1})).trainer.fit(evaluate, Checkpoint(tmp_path), "test")
    assert searched == [False] and torch.backends.cudnn.benchmark

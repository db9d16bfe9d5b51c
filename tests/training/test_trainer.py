"""A training that is interrupted ends in the very weights of one that is not; several processes end where one does."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from handbone.config.params import TrainParams
from handbone.training.checkpoint import Checkpoint
from handbone.training.preemption import StoppedError
from handbone.training.trainer import Progress
from handbone.utils.errors import UserError
from small_training import Small, make_files
from training_params import PARAMS


class KilledError(Exception):
    """Stands for a kill."""


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    return make_files(tmp_path)


def train(files: list[Path], folder: Path, stop_at: int | None = None, params: TrainParams = PARAMS) -> Progress:
    """Train; with `stop_at`, break off while that epoch's score is computed."""
    small = Small(files, params)

    def evaluate(model: nn.Module) -> float:
        if stop_at is not None and small.batches.epoch == stop_at:
            raise KilledError
        return float(sum(parameter.abs().sum() for parameter in model.parameters()))

    return small.training.run(evaluate, Checkpoint(folder), "test")


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


SWA = PARAMS.model_copy(update={"swa_epochs": 3, "validate_every": 1, "optimizer": "lion", "lr": 1e-3, "clip_norm": 0.5})


@pytest.mark.parametrize(("stop_at", "params"), [(2, PARAMS), (4, PARAMS), (5, PARAMS), (4, SWA)])
def test_resumed_equals_uninterrupted(files: list[Path], tmp_path: Path, stop_at: int, params: TrainParams) -> None:
    whole = train(files, tmp_path / "whole", params=params)
    with pytest.raises(KilledError):
        train(files, tmp_path / "resumed", stop_at, params)
    resumed = train(files, tmp_path / "resumed", params=params)
    assert same(whole.best_weights, resumed.best_weights)
    assert whole.rows == resumed.rows
    assert whole.best_epoch == resumed.best_epoch


def test_the_curve_has_a_row_an_epoch_and_a_score_where_it_is_asked_for(files: list[Path], tmp_path: Path) -> None:
    rows = train(files, tmp_path).rows
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4, 5]
    assert [row["dice"] is not None for row in rows] == [False, True, False, True, True]
    assert rows[-1]["loss"] is not None
    assert rows[0]["loss"] is not None
    assert rows[-1]["loss"] < rows[0]["loss"]


def test_a_diverged_training_is_an_error(files: list[Path], tmp_path: Path) -> None:
    diverging = PARAMS.model_copy(update={"lr": 1e30})
    with pytest.raises(UserError, match=r"lower train\.lr"):
        train(files, tmp_path, params=diverging)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_told_to_end_it_saves_in_the_middle_of_an_epoch(files: list[Path], tmp_path: Path, accumulate: int) -> None:
    params = PARAMS.model_copy(update={"batch_size": 1, "accumulate": accumulate})
    whole = train(files, tmp_path / "whole", params=params)
    small = Small(files, params)
    loss, calls = small.training._loss, []

    def counted(*arguments: Tensor) -> Tensor:
        calls.append(1)
        if len(calls) == 2 + 5 + 2:  # two of the probe, the first epoch, the second batch of the second epoch
            os.kill(os.getpid(), signal.SIGTERM)
        return loss(*arguments)

    small.training._loss = counted
    with pytest.raises(StoppedError, match="epoch 2, batch 2 of 5"):
        small.training.run(lambda _: 0.0, Checkpoint(tmp_path / "stopped"), "test")
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    resumed = train(files, tmp_path / "stopped", params=params)
    assert same(whole.best_weights, resumed.best_weights) and whole.rows == resumed.rows


def test_killed_at_twenty_random_moments_it_ends_in_the_same_weights(tmp_path: Path) -> None:
    """In a process of its own, which imports once and forks: each of its children is killed while it trains, and another goes on."""
    script = Path(__file__).with_name("killed.py")
    environment = os.environ | {"PYTHONPATH": str(script.parent.parent), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, str(script), str(tmp_path), "20"], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "20 killed, 20 equal" in done.stdout, done.stdout[-2000:]


def test_accumulated_batches_are_one_step(files: list[Path], tmp_path: Path) -> None:
    """Of the mean of their gradients: a network without batch statistics, and a loss that is a mean, see one large batch."""
    bce = PARAMS.model_copy(update={"loss": {"bce": 1.0}, "epochs": 2, "clip_norm": 0.1})
    rows, weights = [], []
    for batch_size, accumulate in ((4, 1), (2, 2)):
        small = Small(files[:4], bce.model_copy(update={"batch_size": batch_size, "accumulate": accumulate}), plain=True)
        rows.append(small.training.run(lambda _: 0.0, Checkpoint(tmp_path / f"{batch_size}"), "test").rows)
        weights.append(small.training.progress.best_weights)
    assert [row["loss"] for row in rows[0]] == pytest.approx([row["loss"] for row in rows[1]], abs=2e-6)
    assert all(torch.allclose(weights[0][name], weights[1][name], atol=1e-6) for name in weights[0])


def test_two_processes_end_where_one_does(files: list[Path], tmp_path: Path) -> None:
    """Five images in batches of three and two: shares of two and one, of one and one. Loss curve, Dice and weights are one process's."""
    script = Path(__file__).with_name("shared.py")
    for processes in (1, 2):
        launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", str(processes), "--master_port", "0", "--standalone"]
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
    progress = Small(files, params).training.run(lambda _: next(scores), Checkpoint(tmp_path), "test")
    assert len(progress.rows) == 5 and progress.best_epoch == 2
    again = Small(files, params).training.run(lambda _: 1.0, Checkpoint(tmp_path), "test")
    assert len(again.rows) == 5  # taken up again, it is as over as it was


def test_frozen_batch_norm_keeps_its_statistics_and_learns_its_weights(files: list[Path], tmp_path: Path) -> None:
    params = PARAMS.model_copy(update={"freeze_batch_norm": True, "ema_decay": 0.0, "epochs": 2})
    small = Small(files, params)
    before = {name: tensor.clone() for name, tensor in small.model.state_dict().items()}
    end = small.training.run(lambda _: 0.0, Checkpoint(tmp_path), "test").best_weights
    assert torch.equal(end["1.running_mean"], before["1.running_mean"]) and end["1.num_batches_tracked"] == 0
    assert not torch.equal(end["1.weight"], before["1.weight"])


def test_a_frozen_encoder_stays_as_it_is(tmp_path: Path) -> None:
    """The statistics of its batch norms as well, while those of the rest move, with and without weights of their own."""

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4))
            self.rest = nn.Sequential(nn.BatchNorm2d(4), nn.BatchNorm2d(4, affine=False), nn.Conv2d(4, 2, 1))

        def forward(self, image: Tensor) -> Tensor:
            return self.rest(self.encoder(image))

    params = PARAMS.model_copy(update={"encoder_lr": 0.0, "ema_decay": 0.0, "epochs": 2})
    small = Small(make_files(tmp_path), params, network=Network())
    before = {name: tensor.clone() for name, tensor in small.model.state_dict().items()}
    end = small.training.run(lambda _: 0.0, Checkpoint(tmp_path / "resume"), "test").best_weights
    same = {name for name, tensor in end.items() if torch.equal(tensor, before[name])}
    assert same == {name for name in end if name.startswith("encoder.")}


def test_swa_keeps_the_mean_of_the_last_epochs(files: list[Path], tmp_path: Path) -> None:
    """That of the weights at the ends of epochs 3, 4, 5, which a training without average shows one by one."""
    params = PARAMS.model_copy(update={"swa_epochs": 3, "validate_every": 5})
    averaged = Small(files, params).training.run(lambda _: 0.0, Checkpoint(tmp_path / "averaged"), "test").best_weights
    small, seen = Small(files, params), []
    update = small.training.swa.update

    def remembered(model: nn.Module) -> None:
        seen.append({name: tensor.clone() for name, tensor in model.state_dict().items()})
        update(model)

    small.training.swa.update = remembered
    small.training.run(lambda _: 0.0, Checkpoint(tmp_path / "seen"), "test")
    assert len(seen) == 3
    assert torch.allclose(averaged["0.weight"], torch.stack([weights["0.weight"] for weights in seen]).mean(0), atol=1e-6)


def test_the_first_lines_say_what_it_will_take(files: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(files, tmp_path)
    assert "an epoch" in capsys.readouterr().out

"""Checkpoints that a thread writes: what the file holds, when one is due, and how errors and ends reach the training."""

import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from conftest import Fails
from handbone.training.checkpoint import Checkpoint
from handbone.training.checkpoint_writer import PAUSE, CheckpointWriter

LIMIT = 20  # seconds in which a thread must do what it is asked to
EVERY = 300.0  # seconds
KILLED_CHILD = Path(__file__).with_name("checkpoint_writing.py")


class Gated(Checkpoint):
    """A checkpoint whose saves wait for `gate`. It counts those under way at once, and runs `act` in each."""

    def __init__(self, folder: Path, act: Callable[[], None] = lambda: None) -> None:
        super().__init__(folder)
        self.gate, self.started = threading.Event(), threading.Semaphore(0)
        self.active, self.most, self.epochs = 0, 0, list[int]()
        self._act = act

    def save(self, state: dict[str, Any]) -> None:
        self.active += 1
        self.most = max(self.most, self.active)
        self.started.release()
        assert self.gate.wait(LIMIT)
        self._act()
        super().save(state)
        self.epochs.append(state["epoch"])
        self.active -= 1


def fail() -> None:
    raise RuntimeError("a fault of this test")


def wait_until(condition: Callable[[], bool]) -> None:
    pause = threading.Event()
    for _ in range(LIMIT * 1000):
        if condition():
            return
        pause.wait(0.001)
    raise AssertionError("it does not happen")


def training_state() -> tuple[dict[str, Any], nn.Module, torch.optim.Optimizer]:
    """The state of a network after a step: tensors in both layouts, scalars, numbers in lists, and PyTorch's notes on a state_dict."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.rand(2, 3, 5, 5)).square().sum().backward()
    optimizer.step()
    progress = {"rows": [{"epoch": 1, "dice": None}], "losses": [0.5], "best_weights": {"w": torch.ones(2)}}
    return {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "progress": progress}, model, optimizer


def test_the_file_is_that_of_a_save_without_a_thread(tmp_path: Path) -> None:
    """Byte for byte, for the first state and for one that is copied to the same memory."""
    state, _, optimizer = training_state()
    writer, direct = CheckpointWriter(Checkpoint(tmp_path / "a/k"), EVERY), Checkpoint(tmp_path / "b/k")
    with writer:
        for _ in range(2):
            writer.save(state, wait=True)
            direct.save(state)
            assert (tmp_path / "a/k/last.pt").read_bytes() == (tmp_path / "b/k/last.pt").read_bytes()
            optimizer.step()


def test_the_state_may_change_as_soon_as_it_is_saved(tmp_path: Path) -> None:
    state, model, optimizer = training_state()
    checkpoint = Gated(tmp_path)
    state["epoch"], expected = 1, [tensor.clone() for tensor in model.state_dict().values()]
    with CheckpointWriter(checkpoint, EVERY) as writer:
        writer.save(state)
        optimizer.step()
        model(torch.rand(2, 3, 5, 5))  # moves the batch norm's statistics
        state["progress"]["rows"][0]["dice"] = 0.9
        state["progress"]["rows"].append({})
        state["progress"]["losses"].clear()
        state["progress"]["best_weights"]["w"].zero_()
        checkpoint.gate.set()
    loaded = checkpoint.load()
    assert loaded is not None
    assert all(map(torch.equal, loaded["model"].values(), expected))
    assert not all(map(torch.equal, model.state_dict().values(), expected))
    assert loaded["optimizer"]["state"][0]["step"] == 1
    assert loaded["progress"]["rows"] == [{"epoch": 1, "dice": None}] and loaded["progress"]["losses"] == [0.5]
    assert loaded["progress"]["best_weights"]["w"].tolist() == [1, 1]


def test_a_state_whose_tensors_change_in_number_shape_and_type_is_saved_as_it_is(tmp_path: Path) -> None:
    """An optimizer has no moments before its first step."""
    checkpoint = Checkpoint(tmp_path)
    with CheckpointWriter(checkpoint, EVERY) as writer:
        for moments in ({}, {0: torch.ones(3)}, {0: torch.ones(2)}, {0: torch.ones(2, dtype=torch.int64), 1: torch.tensor(7.0)}):
            writer.save({"moments": moments}, wait=True)
            loaded = checkpoint.load()
            assert loaded is not None and loaded["moments"].keys() == moments.keys()
            for number, tensor in moments.items():
                assert loaded["moments"][number].dtype == tensor.dtype and torch.equal(loaded["moments"][number], tensor)


def test_one_state_is_written_at_a_time_and_none_is_left_out(tmp_path: Path) -> None:
    checkpoint = Gated(tmp_path)
    writer = CheckpointWriter(checkpoint, EVERY)

    def save_three() -> None:
        with writer:
            for epoch in (1, 2, 3):
                writer.save({"epoch": epoch, "w": torch.full((2,), epoch)})

    training = threading.Thread(target=save_three)
    training.start()
    assert checkpoint.started.acquire(timeout=LIMIT)
    assert not checkpoint.started.acquire(timeout=0.1)  # the second save waits for the first
    checkpoint.gate.set()
    training.join(LIMIT)
    assert not training.is_alive() and checkpoint.most == 1 and checkpoint.epochs == [1, 2, 3]
    loaded = checkpoint.load()
    assert loaded is not None and loaded["w"].tolist() == [3, 3]


def test_a_save_that_waits_is_on_the_disk_when_it_returns(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path)
    with CheckpointWriter(checkpoint, EVERY) as writer:
        writer.save({"epoch": 1})
        writer.save({"epoch": 2}, wait=True)
        assert checkpoint.load() == {"epoch": 2}


class TestDue:
    """With a clock that the test moves; a save takes `seconds`."""

    @pytest.fixture
    def clock(self) -> list[float]:
        return [1000.0]

    def saved(self, folder: Path, clock: list[float], seconds: float) -> CheckpointWriter:
        def take() -> None:
            clock[0] += seconds

        checkpoint = Gated(folder, take)
        checkpoint.gate.set()
        writer = CheckpointWriter(checkpoint, EVERY, lambda: clock[0])
        writer.save({"epoch": 1}, wait=True)
        return writer

    def test_the_first_epoch_is_saved_however_short_it_is(self, tmp_path: Path, clock: list[float]) -> None:
        writer = CheckpointWriter(Checkpoint(tmp_path), EVERY, lambda: clock[0])
        assert writer.due(epoch_ended=True)

    def test_a_long_first_epoch_is_saved_before_it_ends(self, tmp_path: Path, clock: list[float]) -> None:
        writer = CheckpointWriter(Checkpoint(tmp_path), EVERY, lambda: clock[0])
        clock[0] += EVERY - 1
        assert not writer.due()
        clock[0] += 1
        assert writer.due()

    def test_the_time_within_an_epoch_counts_from_the_beginning_of_the_last_save(self, tmp_path: Path, clock: list[float]) -> None:
        with self.saved(tmp_path, clock, seconds=10) as writer:
            clock[0] += EVERY - 11
            assert not writer.due()
            clock[0] += 1
            assert writer.due()

    def test_saves_at_the_ends_of_epochs_take_a_bounded_share_of_the_time(self, tmp_path: Path, clock: list[float]) -> None:
        with self.saved(tmp_path, clock, seconds=2) as writer:
            clock[0] += 2 * PAUSE - 3
            assert not writer.due(epoch_ended=True)
            clock[0] += 1
            assert writer.due(epoch_ended=True) and not writer.due()

    def test_a_slow_disk_does_not_stretch_the_time_that_a_kill_loses(self, tmp_path: Path, clock: list[float]) -> None:
        with self.saved(tmp_path, clock, seconds=EVERY / 2) as writer:
            clock[0] += EVERY / 2
            assert writer.due() and writer.due(epoch_ended=True)

    def test_nothing_is_due_while_a_state_is_being_written(self, tmp_path: Path, clock: list[float]) -> None:
        checkpoint = Gated(tmp_path)
        with CheckpointWriter(checkpoint, EVERY, lambda: clock[0]) as writer:
            writer.save({"epoch": 1})
            clock[0] += 2 * EVERY
            assert not writer.due() and not writer.due(epoch_ended=True)
            checkpoint.gate.set()
            wait_until(writer.due)

    def test_a_failed_write_is_due_at_once(self, tmp_path: Path, clock: list[float]) -> None:
        """So that the training hears of it now, and not in five minutes."""
        checkpoint = Gated(tmp_path, fail)
        checkpoint.gate.set()
        writer = CheckpointWriter(checkpoint, EVERY, lambda: clock[0])
        writer.save({"epoch": 1})
        wait_until(writer.due)
        with pytest.raises(RuntimeError, match="a fault of this test"):
            writer.close()


def end_with_error(writer: CheckpointWriter, state: dict[str, Any]) -> None:
    """A training that fails just after it has saved."""
    with writer:
        writer.save(state)
        raise KeyError("of the training")


def unwritable(folder: Path) -> Checkpoint:
    """A checkpoint whose file cannot be replaced, as a folder has its name."""
    (folder / "last.pt").mkdir()
    return Checkpoint(folder)


def test_an_error_of_the_thread_is_raised_by_the_next_save(tmp_path: Path, fails: Fails) -> None:
    with CheckpointWriter(unwritable(tmp_path), EVERY) as writer:
        writer.save({"epoch": 1})
        with fails("io.folder", "last.pt"):
            writer.save({"epoch": 2})
        (tmp_path / "last.pt").rmdir()
        writer.save({"epoch": 3})  # an error is raised once
    assert Checkpoint(tmp_path).load() == {"epoch": 3}


def test_an_error_of_the_thread_is_raised_by_a_save_that_waits(tmp_path: Path, fails: Fails) -> None:
    with CheckpointWriter(unwritable(tmp_path), EVERY) as writer, fails("io.folder", "last.pt"):
        writer.save({"epoch": 1}, wait=True)


def test_an_error_of_the_last_write_is_raised_at_the_end(tmp_path: Path, fails: Fails) -> None:
    with fails("io.folder", "last.pt"), CheckpointWriter(unwritable(tmp_path), EVERY) as writer:
        writer.save({"epoch": 1})


def test_an_error_of_the_last_write_hides_no_other_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyError, match="of the training"):
        end_with_error(CheckpointWriter(unwritable(tmp_path), EVERY), {"epoch": 1})
    assert f"WARNING: {tmp_path}/last.pt" in capsys.readouterr().err


def test_a_fault_of_the_last_write_hides_no_other_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = Gated(tmp_path, fail)
    checkpoint.gate.set()
    with pytest.raises(KeyError, match="of the training"):
        end_with_error(CheckpointWriter(checkpoint, EVERY), {"epoch": 1})
    assert "a fault of this test" in capsys.readouterr().err


def test_a_state_is_on_the_disk_when_the_training_fails_just_after(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="of the training"):
        end_with_error(CheckpointWriter(Checkpoint(tmp_path), EVERY), {"epoch": 1, "w": torch.zeros(10**6)})
    loaded = Checkpoint(tmp_path).load()
    assert loaded is not None and loaded["epoch"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["last.pt"]


def test_a_closed_writer_leaves_no_thread(tmp_path: Path) -> None:
    with CheckpointWriter(Checkpoint(tmp_path), EVERY) as writer:
        writer.save({"epoch": 1})
    wait_until(lambda: not any(thread.name.startswith("checkpoint") for thread in threading.enumerate()))


def test_a_kill_while_the_thread_writes_leaves_the_state_before(tmp_path: Path) -> None:
    """And the next save removes the half file."""
    child = subprocess.Popen([sys.executable, str(KILLED_CHILD), str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None and child.stdout.readline() == "half a file\n"
    child.kill()
    assert child.wait(LIMIT) == -signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == 2
    loaded = Checkpoint(tmp_path).load()
    assert loaded is not None and loaded["w"].tolist() == [1.0] * 1000
    with CheckpointWriter(Checkpoint(tmp_path), EVERY) as writer:
        writer.save({"w": torch.full((1000,), 3.0)})
    assert [path.name for path in tmp_path.iterdir()] == ["last.pt"]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_copies_the_state_before_it_changes_it(tmp_path: Path) -> None:
    """The GPU is busy when the state is saved, and changes it as soon as it can."""
    weights, work = torch.ones(10**7, device="cuda"), torch.rand(4096, 4096, device="cuda")
    checkpoint = Checkpoint(tmp_path)
    with CheckpointWriter(checkpoint, every=0) as writer:  # due as soon as the last state is written
        for value in (1.0, 2.0, 3.0):
            for _ in range(20):
                work = (work @ work).clamp_(0, 1)
            writer.save({"w": weights})
            weights.add_(1)
            wait_until(writer.due)
            loaded = checkpoint.load()
            assert loaded is not None and bool((loaded["w"] == value).all())

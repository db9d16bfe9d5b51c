"""`handbone folds`: who trains where and when, and what of it is told. DVC stands aside here; test_pipeline_folds.py has the real one."""

import asyncio
from collections.abc import Callable

import pytest

from handbone import folds
from handbone.cli.folds import Outcome, Output, Slot, make_slots, raise_if_failed, train, train_all, visible_devices
from handbone.utils.errors import UserError

CPU = Slot((), 1)


@pytest.fixture
def four_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folds, "cores", lambda: 4)


@pytest.mark.usefixtures("four_cores")
@pytest.mark.parametrize(
    ("visible", "wanted", "jobs", "processes", "slots"),
    [
        ("01", None, None, 1, [Slot(("0",), 2), Slot(("1",), 2)]),
        ("0123", "13", None, 1, [Slot(("1",), 2), Slot(("3",), 2)]),
        ("01234", None, None, 2, [Slot(("0", "1"), 1), Slot(("2", "3"), 1)]),  # the fifth is left over
        ("01", None, 1, 1, [Slot(("0",), 4)]),
        ("01", None, 3, 1, [Slot(("0",), 1), Slot(("1",), 1), Slot(("0",), 1)]),  # several folds on one GPU
        ("", None, None, 1, [Slot((), 4)]),
        ("", None, 2, 1, [Slot((), 2)] * 2),
        ("", None, 2, 2, [Slot((), 1)] * 2),
        ("", None, 9, 1, [Slot((), 1)] * 9),
    ],
)
def test_the_machine_is_shared_out(visible: str, wanted: str | None, jobs: int | None, processes: int, slots: list[Slot]) -> None:
    assert make_slots(visible, wanted, jobs, processes) == slots


@pytest.mark.parametrize(
    ("wanted", "jobs", "processes", "culprits"),
    [
        (["0", "7", "x"], None, 1, ["'7'", "'x'"]),
        (["0", "0"], None, 1, ["each GPU once"]),
        (["0"], 0, 2, ["--jobs", "machine.processes"]),
        ([""], None, 1, ["''"]),
    ],
)
def test_gpus_that_do_not_suffice_are_an_error(wanted: list[str], jobs: int | None, processes: int, culprits: list[str]) -> None:
    """CUDA itself would hide an unknown GPU, and the fold would train on the CPU for days."""
    with pytest.raises(UserError) as error:
        make_slots(["0", "1"], wanted, jobs, processes)
    assert all(culprit in str(error.value) for culprit in culprits)


@pytest.mark.parametrize(("named", "count", "devices"), [(None, 2, ["0", "1"]), ("2,GPU-a", 2, ["2", "GPU-a"]), ("", 0, []), ("-1", 0, [])])
def test_a_scheduler_may_have_given_gpus(monkeypatch: pytest.MonkeyPatch, named: str | None, count: int, devices: list[str]) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: count)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if named is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    assert visible_devices() == devices


def test_a_training_sees_its_own_gpu_and_its_share_of_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    environment = Slot(("3",), 8).environment()
    assert (environment["CUDA_VISIBLE_DEVICES"], environment["OMP_NUM_THREADS"]) == ("3", "8")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    environment = CPU.environment()
    assert "CUDA_VISIBLE_DEVICES" not in environment
    assert environment["OMP_NUM_THREADS"] == "5"


def test_a_fold_starts_as_soon_as_a_gpu_is_free() -> None:
    """Fold 0 takes as long as 1, 2 and 3 together; 1 fails, which stops nobody."""
    busy: set[tuple[str, ...]] = set()
    started: list[tuple[int, str]] = []

    async def fake(fold: int, slot: Slot) -> Outcome:
        assert slot.devices not in busy, "two trainings on one GPU"
        busy.add(slot.devices)
        started.append((fold, slot.devices[0]))
        await asyncio.sleep(0.2 if fold == 0 else 0.05)
        busy.remove(slot.devices)
        return Outcome(fold, 1 if fold == 1 else 0, [])

    outcomes = asyncio.run(train_all([0, 1, 2, 3, 4], [Slot(("0",), 1), Slot(("1",), 1)], fake))
    assert started[:4] == [(0, "0"), (1, "1"), (2, "1"), (3, "1")]
    assert [(outcome.fold, outcome.code) for outcome in outcomes] == [(0, 0), (1, 1), (2, 0), (3, 0), (4, 0)]


def test_failures_are_told_together_with_their_last_lines() -> None:
    raise_if_failed([Outcome(0, 0, ["fine"])])
    with pytest.raises(UserError) as error:
        raise_if_failed([Outcome(0, 0, ["fine"]), Outcome(1, 255, ["first", "out of memory"]), Outcome(4, -9, ["killed"])])
    text = str(error.value)
    assert text.startswith("2 of 3 folds failed")
    assert text.endswith("\n\nfold 1, exit code 255:\n  first\n  out of memory\n\nfold 4, exit code -9:\n  killed")


def fake_dvc(monkeypatch: pytest.MonkeyPatch, answers: list[tuple[int, bytes]]) -> list[list[str]]:
    """Replace DVC by a list of exit codes and outputs; the commands that it was given."""
    commands = []

    async def run_dvc(arguments: list[str], environment: dict[str, str], take: Callable[[bytes], None]) -> int:
        code, output = answers[len(commands)]
        commands.append(arguments)
        take(output)
        return code

    monkeypatch.setattr(folds, "run_dvc", run_dvc)
    monkeypatch.setattr(folds, "PAUSE", 0.0)
    return commands


@pytest.mark.parametrize(
    "message", [b"ERROR: Unable to acquire lock. Most\n", b"ERROR: 'data/cache' is busy, it is being blocked by:\n  (PID 1)\n"]
)
def test_a_lock_is_waited_for(monkeypatch: pytest.MonkeyPatch, message: bytes) -> None:
    commands = fake_dvc(monkeypatch, [(255, message), (255, message), (0, b"done\n")])
    assert asyncio.run(train(3, CPU)) == Outcome(3, 0, ["done"])
    assert commands == [["repro", "-s", "train@3"]] * 3


def test_no_lock_is_waited_for_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    commands = fake_dvc(monkeypatch, [(255, b"Unable to acquire lock")] * 3)
    monkeypatch.setattr(folds, "TRIES", 3)
    assert asyncio.run(train(0, CPU)).code == 255
    assert len(commands) == 3


def test_another_failure_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    commands = fake_dvc(monkeypatch, [(255, b"out of memory\n")])
    assert asyncio.run(train(0, CPU)) == Outcome(0, 255, ["out of memory"])
    assert len(commands) == 1


def test_lines_are_told_apart_and_a_bar_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    output = Output(1)
    for chunk in [b"\x1b[32mepo", b"ch 1\x1b[0m\n\n  fi", "né\n".encode()[:3], "né\n".encode()[3:], b"fold 1: best\nfold 10\n"]:
        output.feed(chunk)
    for percent in range(100):
        output.feed(b"\r%d%%" % percent)
    output.feed(b"\r100%\nlast")
    output.close()
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["fold 1: epoch 1", "fold 1:   finé", "fold 1: best", "fold 1: fold 10", "fold 1: 0%", "fold 1: 100%", "fold 1: last"]
    assert list(output.tail) == ["epoch 1", "  finé", "fold 1: best", "fold 10", "100%", "last"]

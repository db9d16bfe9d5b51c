"""`handbone folds`: which fold trains where and when, and what is printed. test_pipeline_folds.py runs it with the real DVC."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from conftest import Fails
from handbone.cli.folds import Outcome, Output, RunDvc, Slot, device_names, make_slots, raise_if_failed, train, train_all
from handbone.utils.errors import UserError

CPU = Slot((), 1)


@pytest.mark.parametrize(
    ("visible", "wanted", "jobs", "gpus_per_fold", "slots"),
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
def test_folds_share_gpus_and_four_cores(visible: str, wanted: str | None, jobs: int | None, gpus_per_fold: int, slots: list[Slot]) -> None:
    assert make_slots(visible, wanted, jobs, gpus_per_fold, cores=4) == slots


@pytest.mark.parametrize(
    ("wanted", "jobs", "gpus_per_fold", "codes", "places"),
    [
        (["0", "7", "x"], None, 1, {"folds.device"}, ["--devices", "--devices"]),
        (["0", "0"], None, 1, {"folds.device_repeated"}, ["--devices"]),
        (["0"], 0, 2, {"folds.jobs", "folds.gpus_per_fold"}, ["--jobs", "params.yaml: machine.gpus_per_fold"]),
        ([""], None, 1, {"folds.device"}, ["--devices"]),
    ],
)
def test_gpus_that_cannot_be_used_are_an_error(
    wanted: list[str], jobs: int | None, gpus_per_fold: int, codes: set[str], places: list[str]
) -> None:
    """CUDA itself would hide an unknown GPU, and the fold would train on the CPU for days."""
    with pytest.raises(UserError) as error:
        make_slots(["0", "1"], wanted, jobs, gpus_per_fold, cores=4)
    assert (error.value.codes, error.value.places) == (codes, places)


@pytest.mark.parametrize(("visible", "count", "names"), [(None, 2, ["0", "1"]), ("2,GPU-a", 2, ["2", "GPU-a"]), ("", 0, []), ("-1", 0, [])])
def test_gpus_have_the_names_that_a_scheduler_gave(visible: str | None, count: int, names: list[str]) -> None:
    assert device_names(count, visible) == names


def test_a_training_has_the_gpu_and_the_threads_of_its_slot() -> None:
    environment = Slot(("3",), 8).environment({"CUDA_VISIBLE_DEVICES": "2,3", "HOME": "/"})
    assert (environment["CUDA_VISIBLE_DEVICES"], environment["OMP_NUM_THREADS"], environment["HOME"]) == ("3", "8", "/")


def test_a_number_of_threads_already_set_is_kept() -> None:
    environment = CPU.environment({"OMP_NUM_THREADS": "5"})
    assert environment["OMP_NUM_THREADS"] == "5"
    assert "CUDA_VISIBLE_DEVICES" not in environment


def test_a_fold_starts_as_soon_as_a_gpu_is_free() -> None:
    """Fold 0 takes as long as 1, 2 and 3 together; 1 fails, and the others still train."""
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


def test_failures_are_reported_together_with_their_last_lines(fails: Fails, capsys: pytest.CaptureFixture[str]) -> None:
    raise_if_failed([Outcome(0, 0, ["fine"])])
    with fails("folds.failed") as error:
        raise_if_failed([Outcome(0, 0, ["fine"]), Outcome(1, 255, ["first", "out of memory"]), Outcome(4, -9, ["killed"])])
    assert error.value.places == ["fold 1", "fold 4"]
    assert capsys.readouterr().out == "\nfold 1, exit code 255:\n  first\n  out of memory\n\nfold 4, exit code -9:\n  killed\n"


def fake_dvc(answers: list[tuple[int, bytes]]) -> tuple[RunDvc, list[list[str]]]:
    """A DVC with these exit codes and outputs, and the list of commands that it gets."""
    commands: list[list[str]] = []

    async def run(arguments: Sequence[str], environment: dict[str, str], take: Callable[[bytes], None]) -> int:
        code, output = answers[len(commands)]
        commands.append(list(arguments))
        take(output)
        return code

    return run, commands


@pytest.mark.parametrize(
    "message", [b"ERROR: Unable to acquire lock. Most\n", b"ERROR: 'data/cache' is busy, it is being blocked by:\n  (PID 1)\n"]
)
def test_a_fold_waits_for_a_lock(message: bytes) -> None:
    run, commands = fake_dvc([(255, message), (255, message), (0, b"done\n")])
    assert asyncio.run(train(3, CPU, run, pause=0)) == Outcome(3, 0, ["done"])
    assert commands == [["repro", "-s", "train@3"]] * 3


def test_a_fold_does_not_wait_for_a_lock_forever() -> None:
    run, commands = fake_dvc([(255, b"Unable to acquire lock")] * 3)
    assert asyncio.run(train(0, CPU, run, tries=3, pause=0)).code == 255
    assert len(commands) == 3


def test_a_fold_that_fails_for_another_reason_is_not_tried_again() -> None:
    run, commands = fake_dvc([(255, b"out of memory\n")])
    assert asyncio.run(train(0, CPU, run)) == Outcome(0, 255, ["out of memory"])
    assert len(commands) == 1


def test_lines_have_their_folds_name_and_a_progress_bar_is_printed_rarely(capsys: pytest.CaptureFixture[str]) -> None:
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


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("Unable to read RWLock-file '.dvc/tmp/rwlock'. JSON structure is corrupted: Expecting value", ".dvc/tmp/rwlock"),
        ("RWLock-file '.dvc/tmp/rwlock' format error.", ".dvc/tmp/rwlock"),
        ("'/x/models/fold_0' is busy, it is being blocked by:", ".dvc/tmp/rwlock"),
        ("ERROR: unexpected error - file is not a database", "Repo.site_cache_dir"),
        ("ERROR: unexpected error - database disk image is malformed", "Repo.site_cache_dir"),
        ("'./dvc.lock' validation failed.", "git checkout dvc.lock"),
        ("ERROR: failed to reproduce 'train@0': 'outs'", ".dvc/cache/runs"),
        ("ERROR: something else", "the error above"),
    ],
)
def test_damaged_files_of_dvc_have_their_way_out(line: str, named: str, fails: Fails) -> None:
    with fails("folds.failed", "fold 0") as error:
        raise_if_failed([Outcome(0, 255, ["> python -m stages.train 0", line, ""])])
    assert named in error.value.problems[0].fix


def test_dvc_gets_sigterm_when_the_command_is_killed(tmp_path: Path) -> None:
    """So that its trainings save and end, instead of training beside those of the next command."""
    code = (
        "import asyncio, os; from handbone.cli import folds; folds.DVC = ['bash', '-c']\n"
        f"script = 'trap \"touch {tmp_path}/ended; exit\" TERM; touch {tmp_path}/begun; while true; do sleep 0.05; done'\n"
        "asyncio.run(folds.run_dvc([script], dict(os.environ)))"
    )
    process = subprocess.Popen([sys.executable, "-c", code])
    for name in ("begun", "ended"):
        deadline = time.monotonic() + 60
        while not (tmp_path / name).exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.kill()
    process.wait()

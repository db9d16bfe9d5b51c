"""Every training ends, with its worker processes, however it ends; and no two use one checkpoint."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from handbone.utils.ending import REPORTS

SCRIPT = Path(__file__).with_name("failing_training.py")
LIMIT = 20  # seconds from the fault to the exit code
MAX_START = 100  # seconds until the fault on a busy machine
SHELL = ["bash", "-c", '"$@"; true', "-"]


def slow(*values: Any) -> Any:
    """Like its neighbours, and every case takes seconds to import PyTorch."""
    return pytest.param(*values, marks=pytest.mark.slow)


def start(folder: Path, fault: str, **environment: str) -> subprocess.Popen[str]:
    names = {"PYTHONPATH": f"{SCRIPT.parent.parent}", "OMP_NUM_THREADS": "1"} | environment
    command = [sys.executable, str(SCRIPT), str(folder), fault]
    return subprocess.Popen(
        command,
        env=os.environ | names,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=_handle_signals,
    )


def _handle_signals() -> None:
    """A shell may have SIGINT ignored in the background, and nohup SIGHUP; children inherit that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def wait_for(file: Path, process: subprocess.Popen[str]) -> list[int]:
    """The numbers in the file, once it is written."""
    deadline = time.monotonic() + MAX_START
    while not file.exists() or not file.read_text():
        assert time.monotonic() < deadline and process.poll() is None, process.communicate()[0]
        time.sleep(0.05)
    return [int(word) for word in file.read_text().split()]


def alive(pids: list[int]) -> list[int]:
    """Those that still run, after a moment to end."""
    deadline = time.monotonic() + 10
    while left := [pid for pid in pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE]:
        if time.monotonic() > deadline:
            break
        time.sleep(0.05)
    return left


def ended(process: subprocess.Popen[str], pids: list[int], limit: float = LIMIT) -> str:
    """What it printed; it and its workers are gone within the limit."""
    output, _ = process.communicate(timeout=limit)
    assert not alive(pids)
    return output


def test_an_unexpected_exception_ends_a_training_with_workers(tmp_path: Path) -> None:
    process = start(tmp_path, "error")
    output = ended(process, wait_for(tmp_path / "pids", process))
    assert process.returncode == 1 and "RuntimeError: a fault of this test" in output


def test_a_killed_worker_ends_a_training_with_advice(tmp_path: Path) -> None:
    process = start(tmp_path, "killed")
    output = ended(process, wait_for(tmp_path / "pids", process))
    assert process.returncode == 1 and "machine.num_workers" in output and "Traceback" not in output


@pytest.mark.parametrize(("number", "code"), [slow(signal.SIGTERM, 143), (signal.SIGINT, 130), slow(signal.SIGHUP, 129)])
def test_a_signal_to_all_processes_ends_it_after_saving(tmp_path: Path, number: signal.Signals, code: int) -> None:
    process = start(tmp_path, "hold")
    pids = wait_for(tmp_path / "pids", process)
    for pid in pids:
        os.kill(pid, number)
    (tmp_path / "go").touch()
    output = ended(process, pids)
    assert process.returncode == code and "saved at epoch 2 of 5" in output and "Traceback" not in output
    assert (tmp_path / "resume/last.pt").exists()


@pytest.mark.slow
def test_a_second_ctrl_c_ends_it_at_once(tmp_path: Path) -> None:
    process = start(tmp_path, "hold")
    pids = wait_for(tmp_path / "pids", process)
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    output = ended(process, pids, 5)
    assert process.returncode in (-signal.SIGINT, 130) and "Traceback" not in output


@pytest.mark.slow
def test_workers_end_with_a_training_that_is_killed(tmp_path: Path) -> None:
    process = start(tmp_path, "hold")
    pids = wait_for(tmp_path / "pids", process)
    process.kill()
    ended(process, pids, 5)


def test_a_second_training_with_the_same_checkpoint_refuses(tmp_path: Path) -> None:
    first = start(tmp_path, "hold")
    pids = wait_for(tmp_path / "pids", first)
    second = start(tmp_path, "hold")
    output, _ = second.communicate(timeout=MAX_START)
    assert second.returncode == 1 and f"process {pids[0]} on" in output and "Traceback" not in output
    (tmp_path / "go").touch()
    ended(first, pids, 60)
    assert first.returncode == 0


@pytest.mark.parametrize(
    ("number", "shell"),
    [
        (signal.SIGTERM, SHELL),
        slow(signal.SIGKILL, SHELL),
        slow(signal.SIGTERM, []),
        slow(signal.SIGKILL, []),
    ],
)
def test_a_training_ends_with_its_dvc_after_saving(tmp_path: Path, number: signal.Signals, shell: list[str]) -> None:
    """DVC starts the training itself, or a shell that does not replace itself by it."""
    dvc = [sys.executable, "-c", "import subprocess, sys; subprocess.run(sys.argv[1:])"]
    command = [*dvc, *shell, sys.executable, str(SCRIPT), str(tmp_path), "hold"]
    names = {"PYTHONPATH": f"{SCRIPT.parent.parent}", "OMP_NUM_THREADS": "1", "DVC_STAGE": "train@0"}
    process = subprocess.Popen(command, env=os.environ | names, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    pids = wait_for(tmp_path / "pids", process)
    process.send_signal(number)
    process.wait(5)
    time.sleep(1.5)
    (tmp_path / "go").touch()
    assert not alive(pids)
    assert "saved at epoch 2 of 5" in process.communicate(timeout=10)[0]
    assert (tmp_path / "resume/last.pt").exists()


def test_processes_of_one_launch_print_an_error_once(tmp_path: Path) -> None:
    code = "from handbone.utils.errors import *; run_cli(lambda: (_ for _ in ()).throw(UserError(Problem('a.b', 'here', 'x', 'y', 'z'))))"
    done = [
        subprocess.run([sys.executable, "-c", code], env=os.environ | {REPORTS: str(tmp_path)}, capture_output=True, text=True)
        for _ in range(2)
    ]
    assert [one.returncode for one in done] == [1, 1]
    assert [one.stderr.count("here: expected x") for one in done] == [1, 0]

"""Ctrl-C, signals and the end of a parent leave no traceback, no temporary file and no process."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from imports import ROOT

POOL = """
import os, sys, time
from pathlib import Path
from handbone.utils.errors import run_cli
from handbone.utils.io import replacing
from handbone.utils.parallel import map_samples, prefetch_map

def work(item):
    with replacing(Path(sys.argv[1]) / f"out{item}"):
        (Path(sys.argv[1]) / str(os.getpid())).touch()
        time.sleep(float(sys.argv[3]))
    return item

def main():
    if sys.argv[2] == "processes":
        map_samples(work, list(range(400)), 2, "test")
    else:
        list(prefetch_map(work, range(400)))

if __name__ == "__main__":
    run_cli(main)
"""


def start(folder: Path, text: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    (folder / "script.py").write_text(text)
    command = [sys.executable, str(folder / "script.py"), *arguments]
    return subprocess.Popen(
        command,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # a shell may have it ignored in the background
    )


PRINTS = """
import sys
from handbone.utils.errors import Problem, UserError, run_cli

def main():
    print("x\\n" * int(sys.argv[1]))
    if sys.argv[2] == "error":
        raise UserError(Problem("a.code", "file", "one", "two", "fix it"))
    if sys.argv[2] == "exit":
        sys.exit(3)

run_cli(main)
"""


@pytest.mark.parametrize(("end", "status"), [("done", 141), ("error", 1), ("exit", 3)])
@pytest.mark.parametrize("lines", [1, 100_000])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_closed_pipe_ends_a_command_without_a_word(tmp_path: Path, end: str, status: int, lines: int, unbuffered: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    (tmp_path / "script.py").write_text(PRINTS)
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "PYTHONUNBUFFERED": unbuffered}
    command = [sys.executable, str(tmp_path / "script.py"), str(lines), end]
    done = subprocess.run(command, env=environment, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    printed_first = lines > 1 or unbuffered  # else the error comes before the output is written
    assert done.returncode == (141 if printed_first else status)
    assert done.stderr.strip() == ("" if done.returncode != 1 else "ERROR: file: expected one; found two; fix it")


def numbers(folder: Path, count: int) -> list[int]:
    """The process ids that are noted in the folder, once there are so many."""
    deadline = time.monotonic() + 60
    while len(found := [int(name) for name in os.listdir(folder) if name.isdecimal()]) < count:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


def descendants(process: int) -> set[int]:
    """The process ids of its children and theirs, once there are some."""
    deadline = time.monotonic() + 60
    while not (found := psutil.Process(process).children(recursive=True)):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return {child.pid for child in found}


def are_gone(pids: list[int]) -> bool:
    deadline = time.monotonic() + 10
    while any(psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE for pid in pids):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("kind", ["processes", "threads"])
def test_ctrl_c_in_a_pool_is_one_line(tmp_path: Path, kind: str, number: signal.Signals, code: int) -> None:
    """A terminal sends Ctrl-C to all processes."""
    process = start(tmp_path, POOL, str(tmp_path), kind, "0.2")
    pids = numbers(tmp_path, 2 if kind == "processes" else 1)
    os.killpg(process.pid, number) if number == signal.SIGINT else process.send_signal(number)
    output, _ = process.communicate(timeout=20)
    assert process.returncode == code and are_gone(pids)
    assert "Traceback" not in output and ("Interrupted." in output) == (number == signal.SIGINT)
    assert not list(tmp_path.glob(".*.partial")), "what was begun is finished"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("after", [0, 0.3, 1])
def test_a_signal_to_all_processes_of_a_starting_pool_leaves_no_traceback(
    tmp_path: Path, after: float, number: signal.Signals, code: int
) -> None:
    process = start(tmp_path, POOL, str(tmp_path), "processes", "0.2")
    pids = descendants(process.pid)
    time.sleep(after)
    pids |= descendants(process.pid)
    os.killpg(process.pid, number)
    output, _ = process.communicate(timeout=20)
    assert process.returncode == code and are_gone(list(pids)) and "Traceback" not in output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_pool_does_not_wait_for_an_item_that_takes_long(tmp_path: Path, number: signal.Signals) -> None:
    process = start(tmp_path, POOL, str(tmp_path), "processes", "60")
    pids = numbers(tmp_path, 2)
    process.send_signal(number)
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 128 + number and are_gone(pids) and "Traceback" not in output


def test_workers_end_with_a_process_that_is_killed(tmp_path: Path) -> None:
    process = start(tmp_path, POOL, str(tmp_path), "processes", "0.2")
    pids = numbers(tmp_path, 2)
    process.kill()
    assert are_gone(pids)


def test_a_killed_pool_worker_is_one_error(tmp_path: Path) -> None:
    process = start(tmp_path, POOL, str(tmp_path), "processes", "0.2")
    os.kill(numbers(tmp_path, 2)[0], signal.SIGKILL)
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 1 and "Traceback" not in output and "machine." in output


def test_a_stage_ends_with_its_dvc_and_removes_its_temporary_file(tmp_path: Path) -> None:
    script = """
import os, sys, time
from pathlib import Path
from handbone.utils.errors import run_cli
from handbone.utils.io import replacing

def main():
    with replacing(Path(sys.argv[1]) / "out"):
        (Path(sys.argv[1]) / str(os.getpid())).touch()
        time.sleep(60)

run_cli(main)
"""
    dvc = f"import subprocess, sys; subprocess.run([sys.executable, {str(tmp_path / 'stage.py')!r}, {str(tmp_path)!r}])"
    (tmp_path / "stage.py").write_text(script)
    process = start(tmp_path, dvc, DVC_STAGE="infer@test")
    pids = numbers(tmp_path, 1)
    process.kill()
    assert are_gone(pids)
    assert sorted(name for name in os.listdir(tmp_path) if not name.isdecimal()) == ["script.py", "stage.py"]


def test_a_stage_ends_with_a_dvc_that_ended_while_the_stage_imported_its_libraries(tmp_path: Path) -> None:
    folder = repr(str(tmp_path))
    imports = f"import os, sys, time; from pathlib import Path; sys.path.insert(0, {str(ROOT)!r}); import stages\n"
    imports += f"(Path({folder}) / str(os.getpid())).touch()\nwhile not (Path({folder}) / 'go').exists(): time.sleep(0.05)\n"
    (tmp_path / "stage.py").write_text(f"{imports}from handbone.utils.errors import run_cli\nrun_cli(lambda: time.sleep(60))\n")
    process = start(
        tmp_path, f"import subprocess, sys; subprocess.run([sys.executable, {str(tmp_path / 'stage.py')!r}])", DVC_STAGE="train@0"
    )
    pids = numbers(tmp_path, 1)
    process.kill()
    process.wait()
    (tmp_path / "go").touch()
    assert are_gone(pids)


def test_a_command_that_dvc_has_not_started_outlives_its_shell(tmp_path: Path) -> None:
    """As under nohup, when the user logs out."""
    code = f"import os, time; from pathlib import Path; from handbone.utils.errors import run_cli; folder = Path({str(tmp_path)!r})\n"
    code += "run_cli(lambda: ((folder / str(os.getpid())).touch(), time.sleep(1.2), (folder / 'done').touch()))"
    (tmp_path / "stage.py").write_text(code)
    process = start(tmp_path, f"import subprocess, sys; subprocess.run([sys.executable, {str(tmp_path / 'stage.py')!r}])")
    numbers(tmp_path, 1)
    process.kill()
    deadline = time.monotonic() + 20
    while not (tmp_path / "done").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_ctrl_c_while_a_stage_imports_its_libraries_is_silent() -> None:
    process = subprocess.Popen(
        [sys.executable, "-X", "importtime", "-m", "stages.train", "0"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "numpy" in line:  # one of the first libraries
            break
    process.send_signal(signal.SIGINT)
    output = process.stderr.read()
    assert process.wait(10) == -signal.SIGINT and "Traceback" not in output


INTERRUPTED_IMPORT = """
import os, signal, sys
class Finder:
    def find_spec(self, name, *_):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder())
from handbone.cli import main
main()
"""


@pytest.mark.parametrize("module", ["argparse", "handbone.utils.errors", "handbone.utils.ending", "psutil"])
def test_ctrl_c_while_a_command_imports_its_libraries_is_silent(tmp_path: Path, module: str) -> None:
    process = start(tmp_path, INTERRUPTED_IMPORT.format(module=module), "status")
    output, _ = process.communicate(timeout=20)
    assert process.returncode == -signal.SIGINT and not output

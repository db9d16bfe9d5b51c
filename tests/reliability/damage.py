"""The kinds of faults: each disturbs one command, repeats it, and returns what is wrong at the end."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from reliability.graph import LIMIT, LOOP, Attempt, Ended, Graph, Running, command

ENDS_WITHIN = 20.0  # seconds in which a training whose worker died, and an orphan, must end
LAST = 400  # letters of an output that a record keeps
NO_OVERRIDE = "setpriv --bounding-set=-dac_override,-dac_read_search"  # without it root may write into every folder


@dataclass
class Fault:
    """moment: where or when; hit: false if the command had ended before; in_loop: in the training's loop; faults: what is wrong."""

    moment: str
    hit: bool = True
    in_loop: bool = False
    faults: list[str] = field(default_factory=list)


def kill(graph: Graph, stage: str, rng: random.Random) -> Fault:
    """kill -9 of the whole process group."""
    return _signalled(graph, stage, rng, lambda running: running.signal_group(signal.SIGKILL))


def terminate(graph: Graph, stage: str, rng: random.Random) -> Fault:
    """SIGTERM to the whole process group, as from a scheduler."""
    return _signalled(graph, stage, rng, lambda running: running.signal_group(signal.SIGTERM))


def interrupt(graph: Graph, stage: str, rng: random.Random) -> Fault:
    """SIGINT to the whole process group, as by Ctrl-C."""
    return _signalled(graph, stage, rng, lambda running: running.signal_group(signal.SIGINT))


def kill_dvc(graph: Graph, stage: str, rng: random.Random) -> Fault:
    """kill -9 of DVC alone: its stage must end with it, or at least not disturb its successor."""
    return _signalled(graph, stage, rng, lambda running: running.process.kill())


def terminate_dvc(graph: Graph, stage: str, rng: random.Random) -> Fault:
    """SIGTERM to DVC alone."""
    return _signalled(graph, stage, rng, lambda running: running.process.terminate())


def kill_worker(graph: Graph, stage: str, rng: random.Random) -> Fault:
    """kill -9 of one process that the stage started: the stage ends soon, and says what happened."""
    with graph.attempt(stage) as attempt:
        running = attempt.start(command(stage))
        worker = _wait_for_worker(running)
        time.sleep(rng.uniform(0, 1 if stage == LOOP else 0.2))
        started = time.monotonic()
        with suppress(psutil.NoSuchProcess):
            if worker:
                worker.kill()
        ended = running.wait()
        fault = Fault(f"after {started - running.start:.1f} s", hit=ended.code != 0, in_loop=stage == LOOP)
        if fault.hit and ended.seconds - (started - running.start) > ENDS_WITHIN:
            fault.faults.append("goes on without its worker")
        fault.faults += _clear_error(ended) if fault.hit else []
        fault.faults += _end(graph, stage, attempt, attempt.run(command(stage)))
        return fault


def fill_disk(graph: Graph, stage: str, rng: random.Random) -> Fault:
    """A disk with room for only a random part of what the stage writes; the command is repeated on a larger one."""
    free = rng.randrange(8, max(16, graph.kilobytes[stage]))
    with graph.attempt(stage) as attempt:
        source, logs = attempt.folder.with_name(attempt.folder.name + ".source"), attempt.folder.with_name(attempt.folder.name + ".logs")
        shutil.move(attempt.folder, source)
        attempt.folder.mkdir()
        logs.mkdir()
        script = f"""set -e
            mount -t tmpfs -o size=2g tmpfs {attempt.folder}
            cp -a {source}/. {attempt.folder}
            used=$(df --output=used -k {attempt.folder} | tail -1)
            mount -o remount,size=$((used + {free}))k {attempt.folder}
            cd {attempt.folder}
            for try in first second; do
                timeout -s KILL {LIMIT} {command(stage)} > {logs}/$try 2>&1 && echo 0 > {logs}/$try.code || echo $? > {logs}/$try.code
                mount -o remount,size=2g {attempt.folder}
            done
            rm -r {source}
            cp -a {attempt.folder} {source}"""
        namespace = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--mount"]
        done = subprocess.run([*namespace, "bash", "-c", script], env=attempt.environment(), capture_output=True, text=True)
        if done.returncode:
            return Fault(f"cannot make a small disk: {done.stderr.strip()}", hit=False)
        first, second = (Ended(int((logs / f"{name}.code").read_text()), (logs / name).read_text(), 0) for name in ("first", "second"))
        attempt.folder.rmdir()
        shutil.move(source, attempt.folder)
        faults = _clear_error(first) if first.code else []
        return Fault(f"{free} of {graph.kilobytes[stage]} kB", hit=first.code != 0, faults=faults + _end(graph, stage, attempt, second))


def lock_folder(graph: Graph, stage: str, rng: random.Random) -> Fault:
    """A folder without write permission; the command is repeated with it."""
    with graph.attempt(stage) as attempt:
        names = ["data", "data/cache", "data/predictions", "models", "reports", "reports/train", "submissions", ".dvc/tmp", ".dvc/cache"]
        folder = attempt.folder / rng.choice([name for name in names if (attempt.folder / name).is_dir()])
        mode = folder.stat().st_mode
        folder.chmod(0o555)
        first = attempt.run(f"{NO_OVERRIDE} {command(stage)}")
        folder.chmod(mode)
        fault = Fault(f"{folder.relative_to(attempt.folder)}/", hit=first.code != 0)
        fault.faults += _clear_error(first) if fault.hit else []
        if fault.hit and folder.name not in first.output:
            fault.faults.append("the error does not name the folder")
        fault.faults += _end(graph, stage, attempt, attempt.run(command(stage)))
        return fault


def flip_byte(graph: Graph, stage: str, rng: random.Random) -> Fault:
    """One bit of one file that the stage reads is another one, while its size and time are as before, as on a failing disk.

    DVC, which trusts size and time, sees nothing. So the stage itself must refuse the file, or end in the right bytes.
    """
    with graph.attempt(stage) as attempt:
        files = [path for name in ("data", "models", "reports") for path in (attempt.folder / name).rglob("*")]
        victim = rng.choice([path for path in files if path.suffix in (".npz", ".safetensors", ".json", ".csv")])
        original = victim.read_bytes()
        _flip(victim, rng)
        first = attempt.run(f"dvc repro --single-item --force {stage}")
        fault = Fault(victim.relative_to(attempt.folder).as_posix())
        if first.code:
            fault.faults += _clear_error(first)
            if victim.name not in first.output:
                fault.faults.append("the error does not name the file")
        else:
            flipped, victim_name = victim.read_bytes(), fault.moment
            victim.write_bytes(original)
            fault.faults += [
                f"silently other: {name}" for name in graph.differences(stage, attempt) if name not in ("dvc.lock", victim_name)
            ]
            victim.write_bytes(flipped)
        victim.write_bytes(original)
        fault.faults += _end(graph, stage, attempt, attempt.run(f"dvc repro --single-item --force {stage}")) if first.code else []
        return fault


def run_two(graph: Graph, stage: str, rng: random.Random) -> Fault:
    """The same command twice at once: one may wait or refuse, and the results are those of one."""
    with graph.attempt(stage) as attempt:
        first = attempt.start(command(stage))
        delay = rng.uniform(0, graph.seconds[stage])
        time.sleep(delay)
        second = attempt.start(command(stage))
        faults = [fault for ended in (first.wait(), second.wait()) if ended.code for fault in _clear_error(ended)]
        return Fault(f"second after {delay:.1f} s", faults=faults + _end(graph, stage, attempt, attempt.run(command(stage))))


def _signalled(graph: Graph, stage: str, rng: random.Random, disturb: Callable[[Running], None]) -> Fault:
    with graph.attempt(stage) as attempt:
        running = attempt.start(command(stage))
        moment = _wait_for_moment(graph, stage, rng, attempt, running)
        hit, in_loop = running.alive(), stage == LOOP and bool(attempt.checkpoints())
        disturb(running)
        ended = running.wait()
        fault = Fault(f"after {moment:.1f} s{', in the loop' if in_loop else ''}", hit, in_loop)
        if ended.code is None:
            fault.faults.append("does not end")
        if "Traceback" in ended.output:
            fault.faults.append(f"a traceback: {ended.output[-LAST:]!r}")
        fault.faults += _end(graph, stage, attempt, _repeat(attempt, stage))
        deadline = time.monotonic() + ENDS_WITHIN
        while attempt.orphans() and time.monotonic() < deadline:
            time.sleep(0.1)
        if orphans := attempt.orphans():
            fault.faults.append(f"{len(orphans)} processes still run")
        return fault


def _repeat(attempt: Attempt, stage: str) -> Ended:
    """The same command; again, for at most as long as an orphan may take to end, if it is refused because another one still runs."""
    deadline = time.monotonic() + ENDS_WITHIN
    while True:
        ended = attempt.run(command(stage))
        if ended.code == 0 or "Traceback" in ended.output or not attempt.orphans() or time.monotonic() > deadline:
            return ended


def _wait_for_moment(graph: Graph, stage: str, rng: random.Random, attempt: Attempt, running: Running) -> float:
    """Wait for a random moment of the stage; three of four moments of the training are in its loop, from the first checkpoint on."""
    if stage == LOOP and rng.random() < 0.75:
        while running.alive() and not attempt.checkpoints():
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.25 * graph.seconds[stage]))
    else:
        time.sleep(rng.uniform(0, graph.seconds[stage]))
    return time.monotonic() - running.start


def _wait_for_worker(running: Running) -> psutil.Process | None:
    """A process that works for the stage, once there is one."""
    while running.alive():
        for process in running.descendants():
            try:
                if process.name().startswith("python") and "stages." in " ".join(process.cmdline()) and (workers := _workers(process)):
                    return workers[-1]
            except psutil.Error:
                continue
        time.sleep(0.01)
    return None


def _workers(stage: psutil.Process) -> list[psutil.Process]:
    """The processes of a stage that load or prepare samples, without multiprocessing's helpers."""
    lines = [(process, " ".join(process.cmdline())) for process in stage.children(recursive=True)]
    return [
        process
        for process, line in lines
        if "python" in process.name() and "resource_tracker" not in line and not ("forkserver" in line and process.ppid() == stage.pid)
    ]


def _flip(path: Path, rng: random.Random) -> None:
    """Flip one bit in place; the time of change stays. A hard or symbolic link into DVC's cache would damage both."""
    times, data = path.stat(), bytearray(path.read_bytes())
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def _clear_error(ended: Ended) -> list[str]:
    """What is wrong with the error in which a command ended."""
    if ended.code is None:
        return ["does not end"]
    if ended.code == 0:
        return ["no error"]
    if "Traceback" in ended.output:
        return [f"a traceback: {ended.output[-LAST:]!r}"]
    return [] if "ERROR" in ended.output else [f"no error message: {ended.output[-LAST:]!r}"]


def _end(graph: Graph, stage: str, attempt: Attempt, ended: Ended) -> list[str]:
    """What is wrong after the repeated command: its exit, or files that are not those of the undisturbed run."""
    if ended.code != 0:
        return [f"the repeated command ends with {ended.code}: {ended.output[-LAST:]!r}"]
    return [f"differs: {name}" for name in graph.differences(stage, attempt)[:4]]

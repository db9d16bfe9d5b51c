"""Run sections one after the other, each in a process with a time limit, and keep what each has found, also if this process is killed.

This process imports neither torch nor the project, so that nothing that breaks there can stop it.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from benchmarks.gpu.record import write_json

Found = dict[str, Any]
LEAST_S = 12.0  # a section is skipped if less time is left
DUMP_S = 0.5  # for the processes of a section that is killed to write where they are
RESERVE_S = 5.0  # kept for writing the results
LOOK_S = 1.0  # between two looks at what a section has found
LOG_BYTES = 60_000  # of each log, from its end
LOG_END = 3000  # characters of a failed section's log in the JSON


@dataclass(frozen=True)
class Section:
    """One process: `function` is `module:name`, called with a `Record` and a `Setup`.

    needed_s: seconds that it takes, without torch.compile; preset: what it measures, "" for none; needs_data: whether `data` must run
    before.
    """

    name: str
    function: str
    needed_s: float
    preset: str = ""
    needs_data: bool = True


@dataclass(frozen=True)
class Setup:
    """What a section is given. tiny: small sizes that a CPU can run; compiled: also measure torch.compile; seconds: its time limit."""

    function: str
    preset: str
    tiny: bool
    compiled: bool
    seconds: float
    file: str


@dataclass(frozen=True)
class Options:
    """limit_s: seconds for all sections; work: folder in which they run; out: folder for gpu.json and logs.txt; path: for PYTHONPATH."""

    limit_s: float
    work: Path
    out: Path
    path: Sequence[Path]
    tiny: bool = False
    compiled: bool = False


def run_sections(sections: Sequence[Section], options: Options, facts: Mapping[str, Any]) -> Found:
    """Run the sections in order -> `facts`, and what each section has found.

    gpu.json is rewritten as soon as a section has found something, logs.txt after each section, also one in which this process ends.
    """
    start = monotonic()
    found: Found = {section.name: {"skipped": "the run ended before this section"} for section in sections}
    report: Found = {**facts, "complete": False, "sections": found}
    for index, section in enumerate(sections):
        _write(options, report)
        left = options.limit_s - (monotonic() - start)
        if left < LEAST_S:
            found[section.name] = {"skipped": f"{left:.0f} s were left of --limit"}
            continue
        print(f"[{monotonic() - start:4.0f} s] {section.name} ...", file=sys.stderr, flush=True)
        seconds = time_for(section, sections[index + 1 :], left - RESERVE_S)

        def keep(values: Found, name: str = section.name) -> None:
            found[name] = values
            write_json(options.out / "gpu.json", report)

        try:
            keep(run_section(section, options, seconds, keep))
        except BaseException:
            _write(options, report)
            raise
    report |= {"complete": True, "seconds": round(monotonic() - start, 1)}
    _write(options, report)
    return report


def time_for(section: Section, later: Sequence[Section], left: float) -> float:
    """Seconds after which `section` is killed, of those that are `left`: what later sections do not need, but at least its share."""
    needed = sum(each.needed_s for each in later)
    return max(left - needed, left * section.needed_s / (section.needed_s + needed))


def run_section(section: Section, options: Options, seconds: float, keep: Callable[[Found], None]) -> Found:
    """Run one section, and kill it and its children after `seconds` -> what it recorded, its time, and what went wrong.

    keep: gets what it has recorded so far, each time that there is more.
    """
    file, log = options.work / f"{section.name}.json", options.work / f"{section.name}.log"
    setup = Setup(section.function, section.preset, options.tiny, options.compiled, seconds, str(file))
    start, kept = monotonic(), list[Found]()

    def look() -> None:
        with suppress(FileNotFoundError):
            found = json.loads(file.read_text(encoding="utf-8"))
            if found not in kept[-1:]:
                kept.append(found)
                keep(found)

    code = _run_process([sys.executable, "-m", "benchmarks.gpu.section", json.dumps(asdict(setup))], options, log, seconds, look)
    found: Found = {**(kept[-1] if kept else {}), "seconds": round(monotonic() - start, 1)}
    if code != 0:
        end = log.read_text(encoding="utf-8", errors="replace")[-LOG_END:]
        found |= {"failed": f"killed after {seconds:.0f} s" if code is None else f"exit status {code}", "log_end": end}
    return found


def _run_process(command: Sequence[str], options: Options, log: Path, seconds: float, look: Callable[[], None]) -> int | None:
    """-> the exit status, None if the time was over; calls `look` now and then, and at the end. None of the children outlives it."""
    path = os.pathsep.join([*map(str, options.path), os.environ.get("PYTHONPATH", "")])
    # OMP_WAIT_POLICY: as stages set it
    variables = {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command,
            cwd=options.work,
            env=os.environ | variables,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0)),  # SIGABRT would write the whole memory to the disk
        )
        try:
            return _end_of(process, monotonic() + seconds, look)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # the whole session: loaders ignore SIGTERM
            process.wait()
            look()


def _end_of(process: subprocess.Popen[bytes], deadline: float, look: Callable[[], None]) -> int | None:
    """The exit status; None at the deadline, when the process has written the stack of each of its threads to its log."""
    while (left := deadline - monotonic()) > 0:
        with suppress(subprocess.TimeoutExpired):
            return process.wait(min(left, LOOK_S))
        look()
    os.killpg(process.pid, signal.SIGABRT)  # Python's fault handler
    sleep(DUMP_S)
    return None


def _write(options: Options, report: Found) -> None:
    write_json(options.out / "gpu.json", report)
    logs = sorted(options.work.glob("**/*.log"))
    parts = [b"===== %s\n%s\n" % (str(log.relative_to(options.work)).encode(), log.read_bytes()[-LOG_BYTES:]) for log in logs]
    (options.out / "logs.txt").write_bytes(b"".join(parts))

"""Run sections one after the other, each in a process with a time limit, and keep what each has found.

This process imports neither torch nor the project, so that nothing that breaks there can stop it.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
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
LOG_BYTES = 60_000  # of each log, from its end
LOG_END = 3000  # characters of a failed section's log in the JSON


@dataclass(frozen=True)
class Section:
    """One process: `function` is `module:name`, called with a `Record` and a `Setup`.

    cap_s: seconds after which the process is killed; preset: what it measures, "" for none; needs_data: whether `data` must run before.
    """

    name: str
    function: str
    cap_s: float
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
    """Run the sections in order -> `facts`, and what each section has found; gpu.json and logs.txt are rewritten after each section."""
    start = monotonic()
    found: Found = {section.name: {"skipped": "the run ended before this section"} for section in sections}
    report: Found = {**facts, "complete": False, "sections": found}
    for section in sections:
        _write(options, report)
        left = options.limit_s - (monotonic() - start)
        if left < LEAST_S:
            found[section.name] = {"skipped": f"{left:.0f} s were left of --limit"}
            continue
        print(f"[{monotonic() - start:4.0f} s] {section.name} ...", file=sys.stderr, flush=True)
        found[section.name] = run_section(section, options, min(section.cap_s, left - RESERVE_S))
    report |= {"complete": True, "seconds": round(monotonic() - start, 1)}
    _write(options, report)
    return report


def run_section(section: Section, options: Options, seconds: float) -> Found:
    """Run one section, and kill it and its children after `seconds` -> what it recorded, its time, and what went wrong."""
    file, log = options.work / f"{section.name}.json", options.work / f"{section.name}.log"
    setup = Setup(section.function, section.preset, options.tiny, options.compiled, seconds, str(file))
    start = monotonic()
    code = _run_process([sys.executable, "-m", "benchmarks.gpu.section", json.dumps(asdict(setup))], options, log, seconds)
    found: Found = {}
    with suppress(FileNotFoundError):
        found = json.loads(file.read_text(encoding="utf-8"))
    found["seconds"] = round(monotonic() - start, 1)
    if code != 0:
        end = log.read_text(encoding="utf-8", errors="replace")[-LOG_END:]
        found |= {"failed": f"killed after {seconds:.0f} s" if code is None else f"exit status {code}", "log_end": end}
    return found


def _run_process(command: Sequence[str], options: Options, log: Path, seconds: float) -> int | None:
    """-> the exit status, None if the time was over. None of the children outlives the process."""
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
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGABRT)  # Python's fault handler writes the stack of each thread to the log
            sleep(DUMP_S)
            return None
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # the whole session: loaders ignore SIGTERM
            process.wait()


def _write(options: Options, report: Found) -> None:
    write_json(options.out / "gpu.json", report)
    logs = sorted(options.work.glob("**/*.log"))
    parts = [b"===== %s\n%s\n" % (str(log.relative_to(options.work)).encode(), log.read_bytes()[-LOG_BYTES:]) for log in logs]
    (options.out / "logs.txt").write_bytes(b"".join(parts))

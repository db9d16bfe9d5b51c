"""The runner of `python -m benchmarks.gpu`: whatever a section does, the JSON is complete. CI runs the sections themselves with --tiny."""

import json
import os
import signal
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

import pytest
from benchmarks.gpu.__main__ import SECTIONS, choose, failed
from benchmarks.gpu.record import Record
from benchmarks.gpu.runner import Options, Section, run_sections, time_for
from benchmarks.gpu.trainings import EQUAL, _compare

from imports import ROOT

MODULE = """
import os, signal, subprocess, sys, time

def works(record, setup):
    record.put("value", 1 / 3)
    with record.guard("part"):
        raise ValueError("a part failed")
    record.put("after", [setup.preset, setup.tiny])

def raises(record, setup):
    record.put("before", 1)
    raise RuntimeError("out of luck")

def hangs(record, setup):
    ignored = "for number in (signal.SIGTERM, signal.SIGABRT): signal.signal(number, signal.SIG_IGN)"
    ignore = f"import signal, time\\n{ignored}\\ntime.sleep(600)"
    record.put("child", subprocess.Popen([sys.executable, "-c", ignore]).pid)
    time.sleep(600)

def killed(record, setup):
    record.put("before", 1)
    os.kill(os.getpid(), signal.SIGKILL)

def leaves_a_child(record, setup):
    record.put("child", subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]).pid)
"""


def _section(name: str, needed_s: float = 60.0) -> Section:
    return Section(name, f"sections:{name}", needed_s, "gpu24")


def _options(folder: Path, limit_s: float = 100.0) -> Options:
    (folder / "work").mkdir()
    (folder / "sections.py").write_text(MODULE)
    return Options(limit_s, folder / "work", folder / "out", [folder, ROOT], tiny=True)


def _ends(pid: int) -> bool:
    """Whether the process is gone, or waits only for its parent."""
    for _ in range(100):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


def test_a_section_that_fails_stops_no_other(tmp_path: Path) -> None:
    names = ["raises", "killed", "works"]
    report = run_sections([_section(name) for name in names], _options(tmp_path), {"commit": "abc"})
    assert json.loads((tmp_path / "out/gpu.json").read_text()) == report
    assert report["complete"] and report["commit"] == "abc"
    raised, killed, works = (report["sections"][name] for name in names)
    assert failed(report["sections"]) == ["raises", "killed", "works.part"]
    assert raised["before"] == 1 and "1" in raised["failed"] and "out of luck" in raised["log_end"]
    assert killed["before"] == 1 and "-9" in killed["failed"]
    assert works["value"] == 0.3333 and works["after"] == ["gpu24", True]
    assert "a part failed" in works["part_failed"] and "Traceback" in works["part_failed"] and "failed" not in works
    assert "out of luck" in (tmp_path / "out/logs.txt").read_text()


def test_a_section_over_its_time_is_killed_with_its_children(tmp_path: Path) -> None:
    report = run_sections([_section("hangs", 3.0), _section("leaves_a_child", 92.0)], _options(tmp_path), {})
    hangs, leaves = report["sections"]["hangs"], report["sections"]["leaves_a_child"]
    assert "3 s" in hangs["failed"] and hangs["seconds"] < 30
    assert "in hangs" in hangs["log_end"], "the stack of what was killed is missing"
    assert "failed" not in leaves
    assert _ends(hangs["child"]) and _ends(leaves["child"])


def test_sections_for_which_no_time_is_left_are_named(tmp_path: Path) -> None:
    report = run_sections([_section("works"), _section("raises")], _options(tmp_path, limit_s=5.0), {})
    assert [list(found) for found in report["sections"].values()] == [["skipped"], ["skipped"]]
    assert json.loads((tmp_path / "out/gpu.json").read_text())["complete"]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_run_that_is_ended_has_written_what_it_found(number: signal.Signals, tmp_path: Path) -> None:
    """The sections before, and of the one that runs each figure that it has."""
    _options(tmp_path)
    code = f"""
import signal, sys
from pathlib import Path
from benchmarks.gpu.runner import Options, Section, run_sections
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
folder = Path({str(tmp_path)!r})
sections = [Section(name, f"sections:{{name}}", 60.0) for name in ("works", "hangs", "raises")]
run_sections(sections, Options(100.0, folder / "work", folder / "out", [folder, {str(ROOT)!r}]), {{}})
"""
    run = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.DEVNULL)
    file, report = tmp_path / "out/gpu.json", {}
    while "child" not in report.get("sections", {}).get("hangs", {}):
        assert run.poll() is None
        time.sleep(0.05)
        report = json.loads(file.read_text()) if file.is_file() else {}
    run.send_signal(number)
    run.wait()
    child = report["sections"]["hangs"]["child"]
    if number == signal.SIGKILL:
        os.killpg(os.getpgid(child), 9)
    assert _ends(child)
    report = json.loads(file.read_text())
    assert not report["complete"]
    assert report["sections"]["works"]["value"] == 0.3333 and report["sections"]["hangs"]["child"] == child
    assert list(report["sections"]["raises"]) == ["skipped"]


def test_a_section_may_use_what_later_ones_do_not_need() -> None:
    first, later = _section("works", 30.0), [_section("raises", 20.0), _section("killed", 50.0)]
    assert time_for(first, later, 150.0) == 80
    assert time_for(first, later, 50.0) == 15  # too little for all: its share
    assert time_for(first, [], 7.0) == 7


def test_trainings_are_compared_as_soon_as_both_have_ended(tmp_path: Path) -> None:
    record = Record(tmp_path / "trainings.json")
    record.put("killed", {"sha256": "a"})
    _compare(record)
    assert not record.get("equal")
    record.put(EQUAL["killed"], {"sha256": "a"})
    record.put("terminated", {"sha256": "b"})
    _compare(record)
    assert record.get("equal") == {"killed": True, "terminated": False}
    assert failed({"trainings": json.loads((tmp_path / "trainings.json").read_text())}) == ["trainings.terminated"]


def test_only_names_sections_and_brings_the_data_they_need() -> None:
    assert choose("", tiny=False) == list(SECTIONS)
    assert [section.name for section in choose("steps_gpu80,checks", tiny=False)] == ["data", "checks", "steps_gpu80"]
    assert [section.name for section in choose("environment", tiny=True)] == ["environment"]
    with pytest.raises(SystemExit, match="nothing_like_it"):
        choose("nothing_like_it", tiny=False)


@pytest.mark.parametrize("function", sorted({section.function for section in SECTIONS}))
def test_every_section_is_there(function: str) -> None:
    module, _, name = function.partition(":")
    assert callable(getattr(import_module(module), name))

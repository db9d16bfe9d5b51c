"""The harness itself: which mutants and moments there are, how an end is judged, and one small run of it."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from handbone.report.html import Section, document
from handbone.report.origin import stages_section
from handbone.report.overview import headline
from imports import ROOT
from reliability.damage import _clear_error, _flip
from reliability.faults import KINDS, Record, plan, table
from reliability.graph import LOOP, STAGES, Attempt, Ended
from reliability.mutants import mutants

SOURCE = """
def f(a: int = 1, *, b: str) -> list[int]:
    if a < 2 and not b:
        raise ValueError(f"more than {a + 1}")
    return a + 1
"""


def test_mutants_change_one_thing_each() -> None:
    texts = [text for _, text in mutants(SOURCE)]
    assert len(set(texts)) == len(texts) == 9
    expected = ["a <= 2 and", "a >= 2 and", "a < 3 and", "a < 2 or", "and b:", "return a - 1", "return a + 2", "return None", "a: int=2"]
    assert all(sum(change in text for text in texts) == 1 for change in expected)
    assert all("list[int]" in text and "{a + 1}" in text for text in texts)  # neither annotations nor the text of errors


def test_the_plan_is_drawn_from_its_seed_and_visits_every_stage() -> None:
    def moments(seed: int) -> list[tuple[str, str, float]]:
        return [(kind, stage, rng.random()) for kind, stage, rng in plan(200, list(KINDS), seed)]

    assert moments(0) == moments(0) != moments(1)
    kills = [stage for kind, stage, _ in moments(0) if kind == "kill"]
    assert len(kills) == 200 and set(kills) == set(STAGES)
    assert kills.count(LOOP) * 3 / 4 > 60  # three of four are in the loop


def test_an_end_without_a_clear_error_is_noticed() -> None:
    assert not _clear_error(Ended(1, "ERROR: disk full", 1))
    assert _clear_error(Ended(0, "", 1)) and _clear_error(Ended(None, "", 1)) and _clear_error(Ended(1, "Killed", 1))
    assert _clear_error(Ended(1, "Traceback (most recent call last):\nERROR: failed", 1))


def test_a_flipped_bit_keeps_size_and_time(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(bytes(100))
    os.utime(path, ns=(10**18, 10**18))
    _flip(path, random.Random(0))
    assert path.stat().st_mtime_ns == 10**18
    assert sum(byte.bit_count() for byte in path.read_bytes()) == 1 and path.stat().st_size == 100


def test_the_table_counts_what_survived() -> None:
    records = [
        Record("kill", "train@0", "", hit, loop, faults)
        for hit, loop, faults in [(True, True, []), (True, False, ["x"]), (False, False, [])]
    ]
    assert table(records).splitlines()[-1] == "| kill | 2 | 1 | 1 | 1 |"


def written(folder: Path, date: str, seconds: float, score: str) -> Attempt:
    """A folder with a page of this date, time of a stage and score, and with the lock file that names it."""
    title = {"parameters": {"model": {"arch": "Unet", "encoder": "resnet18"}, "train": {"size": 64}, "data": {"root": "data"}}}
    headings = headline(title | {"models": {}, "git": {}}, date)
    page = document(*headings, score, [stages_section(["split"], {"split": seconds}), Section("Lineage", score)])
    (folder / "reports").mkdir(parents=True)
    (folder / "reports/index.html").write_text(page)
    outs = "    - path: reports/index.html\n      hash: md5\n      md5: {}\n      size: {}\n    - path: {}\n"
    (folder / "dvc.lock").write_text(outs.format(hashlib.md5(page.encode()).hexdigest(), len(page), score))
    return Attempt(folder)


def test_pages_that_differ_in_date_and_times_alone_are_the_same(tmp_path: Path) -> None:
    first = written(tmp_path / "first", "2026-11-26 18:40 UTC", 9.8, "0.93").digests()
    assert first == written(tmp_path / "later", "2026-11-27 00:00 UTC", 125, "0.93").digests()
    other = written(tmp_path / "other", "2026-11-26 18:40 UTC", 9.8, "0.94").digests()
    assert first.keys() == other.keys() == {"reports/index.html", "dvc.lock"}
    assert all(first[name] != other[name] for name in first)


@pytest.mark.slow
def test_a_killed_training_and_a_flipped_bit_end_in_the_undisturbed_bytes() -> None:
    words = [sys.executable, "-m", "reliability.faults", "--moments", "2", "--only", "kill,bytes"]
    done = subprocess.run(words, cwd=ROOT, env=os.environ | {"PYTHONPATH": "src:tests"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr

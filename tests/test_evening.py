"""docs/evening.md by its text alone: its blocks of commands, one after the other, as somebody pastes them.

The phantoms are smaller and the trainings shorter (`SMALL` in project.py); nothing else differs. So scores differ, claims do not.
"""

import hashlib
import re
from pathlib import Path

import pytest

from imports import ROOT
from pages import blocks
from project import DECIDE, INFER, SMALL, STAGES, TRAIN, Project, ran

SUBMISSION = "submissions/submission.csv"


@pytest.mark.slow
def test_the_evening(tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    project = Project.create(tmp_path / "project", SMALL)
    outputs = {block.text: project.sh(f"set -e\n{block.text}") for block in blocks(ROOT / "docs/evening.md")}

    def ran_in(command: str) -> set[str]:
        (output,) = (output for block, output in outputs.items() if command in block)
        return ran(output)

    assert ran_in("dvc repro\ngit add") == STAGES
    assert ran_in("-n upernet") == ran_in("-n linknet") == TRAIN | INFER
    assert ran_in("-n mean") == ran_in("-n greedy") == ran_in("-n decided") == DECIDE
    assert "ERROR" not in "".join(outputs.values())
    assert not ran_in("git clone")  # in the clone nothing has to run, and `cmp` of the block found the same CSV
    assert not project.git("status", "--porcelain")
    _rerun_gives_the_same_bytes(project)
    _lost_predictions_are_one_error(Project(tmp_path / "again"))


def _rerun_gives_the_same_bytes(project: Project) -> None:
    names = [SUBMISSION, "reports/decision.json", "reports/validation_counts.csv", "reports/metrics.json"]
    before = [project.digest(name) for name in names]
    project.sh("dvc repro --force --single-item validate && dvc repro --force --single-item submit")
    assert [project.digest(name) for name in names] == before


def _lost_predictions_are_one_error(clone: Project) -> None:
    """A file of a member is lost in the working tree and in the cache: the error names the command that brings it, which does."""
    lost = sorted((clone.folder / "data/members/linknet/oof").rglob("*.npz"))[0]
    md5 = hashlib.md5(lost.read_bytes()).hexdigest()
    cached = clone.folder / ".dvc/cache/files/md5" / md5[:2] / md5[2:]
    before = clone.digest(SUBMISSION)
    lost.unlink()
    cached.unlink()
    output = clone.sh("dvc repro --force --single-item validate", code=255)
    assert "Traceback" not in output
    assert str(lost.relative_to(clone.folder)) in output
    (fix,) = set(re.findall(r"dvc pull \S+\.dvc", output))
    clone.sh(fix)
    clone.sh("dvc repro --force --single-item validate && dvc repro --force --single-item submit")
    assert clone.digest(SUBMISSION) == before

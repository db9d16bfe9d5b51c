"""`handbone best` in a small git repository with experiments in DVC's cache."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from project import Project

GRAPH = """
stages:
  validate:
    cmd: python validate.py
    deps: [validate.py]
    params: [found, more]
    outs: [reports/validation_counts.csv, data/folds.csv]
    metrics: [{reports/metrics.json: {cache: false}}]
"""
STAGE = """
import json, pathlib, random, yaml
found = yaml.safe_load(open("params.yaml"))["found"]
noise = random.Random(0)
keys = [f"ID{person:03}/image" for person in range(20)]
hits = {key: round(1000 * found) + noise.randrange(-9, 9) * (found > 0.8) for key in keys}
for folder in ("reports", "data"):
    pathlib.Path(folder).mkdir(exist_ok=True)
counts = "".join(f"{key},Ulna,{hits[key]},0,{1000 - hits[key]}\\n" for key in keys)
pathlib.Path("reports/validation_counts.csv").write_text("key,class,tp,fp,fn\\n" + counts)
pathlib.Path("data/folds.csv").write_text("key,person\\n" + "".join(f"{key},{key[:5]}\\n" for key in keys))
dice = sum(2 * hits[key] / (1000 + hits[key]) for key in keys) / len(keys)
pathlib.Path("reports/metrics.json").write_text(json.dumps({"dice": {"mean": dice}, "n_images": len(keys), "n_folds": 1}))
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A commit, and two experiments, of which one is better."""
    project = Project(tmp_path_factory.mktemp("project"))
    files = {"dvc.yaml": GRAPH, "validate.py": STAGE, "params.yaml": "found: 0.8\nmore: {}\n"}
    files[".gitignore"] = "/data/\n/reports/validation_counts.csv\n"
    for name, text in files.items():
        (project.folder / name).write_text(text)
    project.git("init", "-q")
    project.sh("dvc init -q && dvc repro -q")
    project.commit("start")
    project.sh("dvc exp run -q -S found=0.7 -n worse && dvc exp run -q -S found=0.9 -S +more.names=[a,b] -n better")
    project.reset()
    return project


def test_experiments_are_listed_by_score_with_what_differs(project: Project) -> None:
    rows = project.sh("handbone best").split("\n\n")[0].splitlines()[1:]
    assert [name for row in rows for name in row.split() if name in ("better", "HEAD", "worse")] == ["better", "HEAD", "worse"]
    assert "* " in rows[0] and "found=0.9" in rows[0] and "more.names=" in rows[0]
    assert not project.git("status", "--porcelain")


def test_the_document_has_the_intervals(project: Project) -> None:
    better, head, worse = json.loads(project.sh("handbone best --json"))
    assert head["difference"] is None and head["parameters"] == {}
    assert 0 < better["difference"]["low"] < better["difference"]["mean"] < better["difference"]["high"]
    assert better["difference"]["mean"] == pytest.approx(better["score"] - head["score"], abs=1e-6)
    assert worse["parameters"] == {"found": {"before": 0.8, "after": 0.7}}


def test_only_the_best_are_listed_and_another_revision_is_compared_with(project: Project) -> None:
    project.git("tag", "first")
    output = project.sh("handbone best -n 1 --against first --commits")
    assert "better" in output and "worse" not in output and "1 more" in output and "those to first" in output


def test_without_the_cache_there_are_scores_alone(project: Project, tmp_path: Path) -> None:
    project.git("clone", "-q", ".", str(tmp_path / "clone"))
    clone = Project(tmp_path / "clone")
    clone.git("fetch", "-q", "origin", "refs/exps/*:refs/exps/*")
    assert [row["difference"] for row in json.loads(clone.sh("handbone best --json"))] == [None] * 3


@pytest.mark.parametrize("arguments", ["--against nothing", "--against HEAD~1"])
def test_a_revision_that_cannot_be_compared_with_is_an_error(project: Project, arguments: str) -> None:
    printed = project.sh(f"handbone best {arguments}", code=1)
    assert "Traceback" not in printed and "git log --oneline" in printed


def test_a_revision_without_metrics_is_an_error(project: Project, tmp_path: Path) -> None:
    project.git("clone", "-q", ".", str(tmp_path / "clone"))
    clone = Project(tmp_path / "clone")
    clone.sh("git rm -q reports/metrics.json && git commit -qm without")
    assert "reports/metrics.json" in clone.sh("handbone best", code=1)

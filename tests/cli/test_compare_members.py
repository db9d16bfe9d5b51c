"""`handbone compare --html` between single experiments and an ensemble of them, in a small git repository with small images."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from handbone.cache.sample import CachedSample, write_sample
from handbone.evaluation.decision import Decision, decided_counts
from handbone.evaluation.dice import counts_table
from handbone.masks.boxed import BoxedMasks
from handbone.masks.cropped_maps import CroppedMaps
from handbone.masks.packed import PackedMasks
from handbone.utils.hashing import file_hash
from handbone.utils.io import write_json
from project import Project

KEYS, CLASSES, SIZE = [f"ID{person}/image" for person in range(4)], ["Radius", "Ulna"], 32
GRAPH = """
stages:
  run:
    cmd: mkdir -p data reports && cp -r source/data . && cp -r source/reports .
    deps: [source, members]
    outs: [data/cache, data/folds.csv, data/predictions/oof, data/predictions/test, reports/validation_counts.csv, reports/decision.json]
"""
TRUTH = PackedMasks.pack(BoxedMasks.from_dense(np.pad(np.ones((2, 16, 16), bool), ((0, 0), (8, 8), (8, 8)))))


def predicted(left: int, right: int) -> CroppedMaps:
    """The probabilities of each of `CLASSES`, 200 of 255 from the column `left` to `right`: Ulna begins a column later."""
    maps = np.zeros((2, SIZE, SIZE), np.uint8)
    for number in range(2):
        maps[number, 8:24, left + number : right] = 200
    return CroppedMaps.from_dense(maps)


def write_source(folder: Path, decision: Decision, maps: dict[str, CroppedMaps], classes: list[str] = CLASSES) -> None:
    """What a run leaves. maps: of each member, with the classes of this run; those of `current` are its predictions."""
    source, rng, order = folder / "source", np.random.default_rng(0), [CLASSES.index(name) for name in classes]
    shutil.rmtree(source, ignore_errors=True)
    for key in KEYS:
        write_sample(source / f"data/cache/train/{key}.npz", CachedSample(rng.integers(0, 255, (16, 16), np.uint8), (SIZE, SIZE), TRUTH))
        for subset in ("oof", "test"):
            maps["current"].reordered(order).save(source / f"data/predictions/{subset}/{key}.npz")
    for subset in ("oof", "test"):
        model = {"spec": {"arch": "Unet", "encoder": None, "classes": classes}, "size": SIZE}
        files = {key: file_hash(source / f"data/predictions/{subset}/{key}.npz") for key in KEYS}
        write_json(source / f"data/predictions/{subset}/models.json", {"models": {"0": model}, "tables": {}, "files": files})
    counts = decided_counts([maps[name] for name in decision.names], TRUTH, decision)[order]
    (source / "reports").mkdir()
    pd.concat([counts_table(key, classes, counts) for key in KEYS]).to_csv(source / "reports/validation_counts.csv", index=False)
    decision.save(source / "reports/decision.json")
    pd.DataFrame({"key": KEYS, "person": [key[:3] for key in KEYS], "fold": 0}).to_csv(source / "data/folds.csv", index=False)


def finish(project: Project, message: str) -> None:
    project.sh("dvc repro -q")
    project.commit(message)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Commits `single`, with another order of classes, and `both`, the union of it and the current run."""
    folder = tmp_path_factory.mktemp("project")
    project = Project.with_members(folder, {"dvc.yaml": GRAPH, ".gitignore": "/data/\n/reports/\n"})
    other = predicted(12, 24)
    write_source(project.folder, Decision(0.5), {"current": other}, CLASSES[::-1])
    finish(project, "single")
    project.sh("git tag single && handbone members add single --as other")
    maps = {"current": predicted(9, 20), "other": other}
    write_source(project.folder, Decision(0.25, members={"current": 1, "other": 2}), maps)
    finish(project, "both")
    project.sh("git tag both && dvc push -q -A")
    return project


@pytest.fixture
def project(base: Project, tmp_path: Path) -> Project:
    """A copy, to be changed."""
    return base.copy(tmp_path / "copy")


def shown(project: Project, *revisions: str) -> str:
    output = project.sh(f"handbone compare {' '.join(revisions)} --html page.html")
    assert "4 held-out images" in output
    return (project.folder / "page.html").read_text()


def test_an_ensemble_is_compared_with_a_single_experiment(base: Project) -> None:
    """Its masks are the joined ones, from the pins of the revision and from the working tree alike."""
    page = shown(base, "single", "both")
    assert page.count("<figure") == 3 * len(KEYS)
    assert shown(base, "single").replace("the working tree", "both") == page
    assert not base.git("status", "--porcelain", "--untracked-files=no")


def test_what_the_cache_lacks_comes_with_the_commands_that_fetch_it(project: Project) -> None:
    """The pins of the ensemble too, from a revision in which they do not exist."""
    project.sh("rm -r .dvc/cache/files data && git checkout -q single")
    asked = []
    while not asked or asked[-1]:
        output = project.sh("handbone compare single both --html page.html", code=None)
        asked.append(sorted(set(re.findall(r"run (dvc fetch [^;]+);", output))))
        assert "Traceback" not in output and asked[-1] != asked[-2:-1]
        project.sh(" && ".join([*asked[-1], "true"]))
    assert any("data/members/other/oof" in command for command in asked[-2]) and len(asked) == 4
    assert (project.folder / "page.html").is_file()


def test_members_that_are_not_checked_out_are_one_error(project: Project) -> None:
    project.sh("rm -r data/members")
    output = project.sh("handbone compare single --html page.html", code=1)
    (command,) = re.findall(r"run (dvc checkout [^,]+),", output)
    project.sh(command)
    assert shown(project, "single")


def test_a_revision_without_the_pin_is_an_error(project: Project) -> None:
    project.sh("git rm -q members/other.dvc && git commit -qm without")
    for revisions in ("HEAD single", "single"):
        output = project.sh(f"handbone compare {revisions} --html page.html", code=1)
        assert "Traceback" not in output and "other" in output and "members" in output

"""`handbone members` in a small git repository with experiments in DVC's cache: what is pinned is found again everywhere."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from handbone.cli.members import add_member, list_members, remove_member
from handbone.config import paths
from handbone.utils.hashing import file_hash
from handbone.utils.io import write_json
from project import Project, ran

if TYPE_CHECKING:
    from conftest import Fails

GRAPH = """
stages:
  infer:
    foreach: {oof: a, test: b}
    do:
      cmd: mkdir -p data/predictions && cp -r "source/${key}" "data/predictions/${key}"
      deps: ["source/${key}"]
      params: [infer]
      outs: ["data/predictions/${key}"]
  validate:
    cmd: find data/members data/predictions -path '*/oof/*.npz' | sort | xargs cat > decided
    deps: [data/predictions/oof, members]
    params: [decide]
    outs: [decided]
"""


def write_source(folder: Path, arch: str) -> None:
    """Two subsets of two "predictions", which are texts here, and their records."""
    for subset, keys in (("oof", ["A/a1", "B/b1"]), ("test", ["C/c1", "C/c2"])):
        files = {key: folder / "source" / subset / f"{key}.npz" for key in keys}
        for key, file in files.items():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"{arch} {key}\n")
        model = {"spec": {"arch": arch, "encoder": None, "classes": ["Radius"]}, "size": 512}
        record = {"models": {"0": model}, "tables": {}, "files": {key: file_hash(file) for key, file in files.items()}}
        write_json(folder / "source" / subset / "models.json", record)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A commit with the network Unet, and an experiment `other` with FPN; a remote that has everything."""
    folder = tmp_path_factory.mktemp("project")
    params = "infer:\n  window_size: 256\ndecide:\n  members: {}\n"
    project = Project.with_members(folder, {"dvc.yaml": GRAPH, "params.yaml": params, ".gitignore": "/data/\n/decided\n"})
    write_source(project.folder, "Unet")
    project.sh("mkdir -p data/members && dvc repro -q")
    project.commit("start")
    write_source(project.folder, "FPN")
    project.sh("dvc exp run -q -n other")
    project.reset()
    project.sh("dvc push -q")
    return project


@pytest.fixture
def project(base: Project, tmp_path: Path) -> Project:
    """A copy, to be changed."""
    return base.copy(tmp_path / "copy")


def test_a_pin_is_what_the_experiment_had_and_comes_back_in_a_clone(project: Project, tmp_path: Path) -> None:
    """The working tree keeps its own run; the plan of a clone is empty before anything is pulled, and pull brings the member."""
    project.sh("handbone members add other --as fpn")
    files = {name: (project.folder / f"data/members/fpn/{name}.npz").read_text() for name in ("oof/A/a1", "oof/B/b1", "test/C/c2")}
    assert files["oof/A/a1"] == "FPN A/a1\n" and files["test/C/c2"] == "FPN C/c2\n"
    assert (project.folder / "data/predictions/oof/A/a1.npz").read_text() == "Unet A/a1\n"
    assert project.git("status", "--porcelain").split() == ["??", "members/fpn.dvc"]
    assert ran(project.sh("dvc repro")) == {"validate"}
    assert "FPN A/a1\nFPN B/b1\nUnet" in (project.folder / "decided").read_text()
    project.commit("with a member")
    project.sh("dvc push -q")
    clone = project.clone(tmp_path / "clone")
    assert not ran(clone.sh("dvc repro --dry --allow-missing"))
    clone.sh("dvc pull -q")
    assert {name: (clone.folder / f"data/members/fpn/{name}.npz").read_text() for name in files} == files
    assert not ran(clone.sh("dvc repro"))
    assert not clone.git("status", "--porcelain")


def test_a_pin_says_what_the_experiment_was(project: Project) -> None:
    assert "no members" in project.sh("handbone members list")
    output = project.sh("handbone members add other --as fpn")
    commit = project.sh("git rev-parse $(git for-each-ref --format='%(refname)' refs/exps | grep other)").strip()
    assert "2 images in data/members/fpn/oof" in output
    meta = yaml.safe_load((project.folder / "members/fpn.dvc").read_text())["meta"]
    assert {"revision": "other", "commit": commit, "arch": "FPN", "encoder": None, "size": 512, "window": 256}.items() <= meta.items()
    assert set(meta["records"]) == {"oof", "test"}
    assert project.sh("handbone members list") == f"fpn: other ({commit[:10]}), FPN, 512 px, windows of 256\n"
    shutil.rmtree(project.folder / "data/members/fpn")
    assert "dvc pull members/fpn.dvc" in project.sh("handbone members list")


def test_a_name_is_of_one_experiment(project: Project, monkeypatch: pytest.MonkeyPatch, fails: Fails) -> None:
    monkeypatch.chdir(project.folder)
    add_member("other", "a")
    pinned = paths.pin("a").read_bytes()
    add_member("other", "a")
    with fails("members.exists", "members/a.dvc"):
        add_member("HEAD", "a")
    assert paths.pin("a").read_bytes() == pinned
    remove_member("a")
    assert not paths.pin("a").exists() and not Path("data/members/a").exists()
    add_member("HEAD", "a")
    assert paths.prediction("oof", "A/a1", "a").read_text() == "Unet A/a1\n"
    with fails("members.unknown", "b"):
        remove_member("b")


def test_pins_are_made_in_the_root_alone(project: Project, monkeypatch: pytest.MonkeyPatch, fails: Fails) -> None:
    """In another folder a pin would be a file that no stage reads."""
    folder = project.folder / "src"
    folder.mkdir(exist_ok=True)
    monkeypatch.chdir(folder)
    for call in (lambda: add_member("HEAD", "a"), lambda: remove_member("a"), list_members):
        with fails("members.folder", str(folder)):
            call()
    assert not list(folder.iterdir())


@pytest.mark.parametrize("name", ["current", "../x", "a.b", "2", "", "a b"])
def test_names_that_no_member_can_have_are_refused(name: str, fails: Fails) -> None:
    for call in (lambda: add_member("HEAD", name), lambda: remove_member(name)):
        with fails("members.name", name):
            call()


def test_what_the_cache_lacks_is_not_pinned_and_the_command_that_fetches_it_is_named(project: Project) -> None:
    """One file of the folder is enough."""
    digest = next(file for file in (project.folder / ".dvc/cache/files").rglob("*") if file.is_file() and file.read_text() == "Unet A/a1\n")
    digest.chmod(0o666)
    digest.unlink()
    output = project.sh("handbone members add HEAD --as a", code=1)
    assert "HEAD: data/predictions/oof:" in output and "data/predictions/test:" not in output
    assert not project.git("status", "--porcelain")
    (command,) = re.findall(r"run (dvc fetch [^;]+);", output)
    project.sh(command)
    project.sh("handbone members add HEAD --as a")


def test_an_experiment_elsewhere_has_the_members(project: Project) -> None:
    """A copy that holds only what git and DVC track: the pin is staged, and its predictions are checked out there."""
    project.sh("handbone members add other --as fpn && git add members")
    assert ran(project.sh("dvc exp run --temp -S +decide.members.fpn=2 -n joined")) == {"validate"}
    project.sh("dvc exp apply joined")
    assert "FPN A/a1" in (project.folder / "decided").read_text()

"""`handbone explain` in small git repositories with a graph of two stages: what it says, and that the commands which it prints do it."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from handbone.cli.explain import closest_parameters
from handbone.cli.preset import preset_params
from handbone.utils.hashing import file_hash
from imports import ROOT
from project import Project

GRAPH = """
stages:
  train:
    cmd: mkdir -p models && cat code/train.txt > models/net.txt && echo ${train.size} >> models/net.txt
    deps: [code/train.txt]
    params: [train.size]
    outs: [models/net.txt]
  submit:
    cmd: python submit.py
    deps: [submit.py, models/net.txt, members]
    params: [decide, train.size]
    outs: [submissions/submission.csv, submissions/submission.json]
    metrics:
    - reports/metrics.json:
        cache: false
"""
SUBMIT = """
import json, yaml
from dataclasses import asdict
from pathlib import Path
from handbone.evaluation.decision import Decision, Gain, SearchRecord
from handbone.evaluation.members import Ensemble, read_pin
from handbone.evaluation.predictions import Predictions
from handbone.submission.lineage import git_revision, lineage
from handbone.utils.io import write_json

params = yaml.safe_load(Path("params.yaml").read_text())
threshold, members = params["decide"]["threshold"], params["decide"]["members"]
for name in ("submissions", "reports"):
    Path(name).mkdir(exist_ok=True)
pins = {name: read_pin(Path(f"members/{name}.dvc")) for name in members if name != "current"}
joined = "".join(Path(f"data/members/{name}/oof/one").read_text().strip() for name in pins)
csv = Path("submissions/submission.csv")
csv.write_text(f"image_name,class,rle\\na.png,Radius,{params['train']['size']} {round(100 * threshold)}{joined}\\n")
search = SearchRecord("a few thresholds", Gain(0.002, 0.001, [-0.001, 0.003]), False, {}, {})
decision = Decision({"Radius": threshold}, searches={"threshold": search}, members=members)
ensemble = Ensemble({name: Predictions({"0": {"sha256": "e" * 64}}, {}, ["Radius"]) for name in pins}, pins, ["Radius"])
tables, models = {"train": Path("code/train.txt"), "test": Path("submit.py")}, {"0": {"sha256": "d" * 64}}
parameters = params | {"model": {"arch": "Unet", "encoder": None}}
record = lineage(csv, git_revision(Path(), ()), tables, Path("dvc.yaml"), models, ensemble.pinned(), asdict(decision), parameters)
write_json(csv.with_suffix(".json"), record)
Path("reports/metrics.json").write_text(json.dumps({"dice": {"mean": threshold}, "n_images": 4, "n_folds": 1}))
"""
PIN = """
wdir: ..
outs:
- path: data/members/unet/oof
meta: {revision: a-network, commit: 0123456789abcdef, arch: FPN, encoder: null, size: 512, window: 256, records: {}}
"""
CSV = "submissions/submission.csv"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A commit with its results, and an experiment that was not applied."""
    project = Project(tmp_path_factory.mktemp("project"))
    (project.folder / "code").mkdir()
    (project.folder / "code/train.txt").write_text("a network\n")
    (project.folder / "members").mkdir()
    (project.folder / "members/README.md").write_text("a note\n")
    (project.folder / "submit.py").write_text(SUBMIT)
    (project.folder / "dvc.yaml").write_text(GRAPH)
    (project.folder / "params.yaml").write_text("train:\n  size: 32\ndecide:\n  threshold: 0.5\n  members: {}\n")
    (project.folder / ".gitignore").write_text("/models/\n/submissions/\n/data/\n")
    project.git("init", "-q")
    project.sh("dvc init -q")
    project.commit("start")
    project.sh("dvc repro -q")
    project.commit("results")
    project.sh("dvc exp run -q -n other -S train.size=64 -S decide.threshold=0.25")
    shutil.copytree(project.folder / "submissions", project.folder.parent / "of-other")
    project.reset()
    return project


@pytest.fixture
def project(base: Project, tmp_path: Path) -> Project:
    """A copy, to be changed."""
    shutil.copytree(base.folder, tmp_path / "copy", symlinks=True)
    shutil.copytree(base.folder.parent / "of-other", tmp_path / "of-other")
    return Project(tmp_path / "copy")


def explained(project: Project, csv: str = CSV, **environment: str) -> dict[str, Any]:
    """The JSON document, after a look that the text is written too."""
    assert "Traceback" not in project.sh(f"handbone explain {csv}", **environment)
    printed = project.sh(f"handbone explain {csv} --json", **environment)  # with what git and DVC print as warnings
    return dict(json.JSONDecoder().raw_decode(printed, printed.index("{\n"))[0])


def made_again(project: Project, steps: list[str]) -> str:
    """The hash of the CSV that the printed commands give, after it was removed."""
    (project.folder / CSV).unlink(missing_ok=True)
    project.sh(" && ".join(steps))
    return project.digest(CSV)


def test_a_committed_submission_is_stored(project: Project) -> None:
    before = project.digest(CSV)
    found = explained(project)
    assert found["answer"] == "stored" and found["sha256"] == before
    assert found["commit"]["subject"] == "results" and found["commit"]["names"]
    assert not found["stored"]["changed"] and not found["stored"]["lost"]
    assert found["metrics"]["dice"]["mean"] == 0.5
    assert made_again(project, found["steps"]) == before


def test_ignored_files_of_a_folder_do_not_count(project: Project) -> None:
    """As the note in members/."""
    graph = (project.folder / "dvc.yaml").read_text()
    (project.folder / "dvc.yaml").write_text(graph.replace("deps: [code/train.txt]", "deps: [code]"))
    (project.folder / ".dvcignore").write_text("/code/README.md\n")
    (project.folder / "code/README.md").write_text("a note\n")
    project.change({"train": {"size": 48}})  # so that no earlier commit has this CSV
    project.sh("dvc repro")
    project.commit("a folder")
    assert not explained(project)["stored"]["changed"]
    (project.folder / "code/train.txt").write_text("another network\n")
    project.git("commit", "-qa", "--amend", "-m", "without dvc repro")
    assert explained(project)["stored"]["changed"] == {"train": ["code"]}


def test_the_text_has_what_it_was_made_from(base: Project) -> None:
    text = base.sh(f"handbone explain {CSV}")
    commit = base.git("rev-parse", "HEAD~1").strip()
    train = file_hash(base.folder / "code/train.txt")
    parts = [commit[:12], "Unet", "32 px", "threshold 0.5", "threshold: not accepted, nested gain +0.0010", "0.5000", train[:12]]
    for part in [*parts, "dddddddddddd", "dvc checkout"]:
        assert part in text, part
    assert "member " not in text
    assert not base.git("status", "--porcelain")


def test_the_members_of_an_ensemble_are_named_and_must_be_stored(project: Project, tmp_path: Path) -> None:
    """What is joined is a source: if neither the cache nor the remote has it, the CSV cannot be made again."""
    project.sh(f"dvc remote add -q -d store {tmp_path / 'store'} && mkdir -p data/members/unet/oof && echo 7 > data/members/unet/oof/one")
    (project.folder / "members/unet.dvc").write_text(PIN)
    project.change({"decide": {"threshold": 0.5, "members": {"current": 1, "unet": 2}}})
    project.sh("dvc commit -q -f members/unet.dvc && dvc repro -q && dvc push -q members/unet.dvc")
    project.commit("ensemble")
    before, text = project.digest(CSV), project.sh(f"handbone explain {CSV}")
    for part in ("current, weight 1", "unet, weight 2: FPN, 512 px, windows of 256", "a-network", "0123456789ab", "eeeeeeeeeeee"):
        assert part in text, part
    project.sh("rm -r .dvc/cache data/members")
    found = explained(project)
    assert found["answer"] == "run" and found["stored"]["remote"] == ["data/members/unet/oof"]
    assert made_again(project, found["steps"]) == before
    project.sh(f"rm -r .dvc/cache {tmp_path / 'store'}")
    found = explained(project)
    assert found["answer"] == "no" and found["stored"]["sources"] == ["data/members/unet/oof"]


def test_parameters_that_were_changed_and_not_committed(project: Project) -> None:
    project.change({"decide": {"threshold": 0.75}})
    project.sh("dvc repro -q")
    found = explained(project)
    assert found["answer"] == "not_committed" and found["commit"] is None
    assert found["metrics"]["dice"]["mean"] == 0.75, "that of the working tree, which belongs to the CSV"
    project.sh(" && ".join(found["steps"]))
    assert explained(project)["answer"] == "stored"
    assert not project.git("status", "--porcelain")


def test_an_experiment_that_was_not_applied_is_found_by_content(project: Project) -> None:
    """Without a record beside the CSV: it comes from the commit too."""
    other = project.folder.parent / "of-other"
    (other / "submission.json").unlink()
    found = explained(project, str(other / "submission.csv"))
    assert found["answer"] == "stored" and found["commit"]["names"] == ["experiment other"]
    assert found["record"]["parameters"]["train"]["size"] == 64 and found["metrics"]["dice"]["mean"] == 0.25
    assert made_again(project, found["steps"]) == found["sha256"]


def test_local_changes_do_not_get_in_the_way_of_the_commands(project: Project) -> None:
    project.change({"decide": {"threshold": 0.6}})
    found = explained(project, str(project.folder.parent / "of-other/submission.csv"))
    assert made_again(project, found["steps"]) == found["sha256"]


def test_what_is_deleted_from_the_cache_is_made_by_the_graph(project: Project) -> None:
    before = project.digest(CSV)
    project.sh("rm -r .dvc/cache")
    found = explained(project)
    assert found["answer"] == "run" and set(found["stored"]["lost"]) >= {CSV, "models/net.txt"}
    assert not found["stored"]["sources"]
    assert made_again(project, found["steps"]) == before


def test_a_clone_gets_it_from_the_remote(project: Project, tmp_path: Path) -> None:
    project.sh(f"dvc remote add -q -d store {tmp_path / 'store'} && dvc push -q")
    project.commit("remote")
    clone = project.clone(tmp_path / "clone")
    shutil.copytree(project.folder / "submissions", clone.folder / "submissions")
    found = explained(clone)
    assert found["answer"] == "remote" and found["stored"]["remote_name"] == "store" and not found["stored"]["lost"]
    assert made_again(clone, found["steps"]) == found["sha256"]


def test_a_remote_that_cannot_be_asked_is_named(project: Project) -> None:
    project.sh("dvc remote add -q -d store azure://there && rm -r .dvc/cache")
    project.commit("remote")
    found = explained(project)
    assert found["answer"] == "run" and "store" in found["stored"]["problem"]


def test_code_that_does_not_belong_to_the_lock(project: Project) -> None:
    """The lock of the commit is of other code: the CSV can be restored, and without its object it cannot be made."""
    project.sh("dvc exp remove -q other")
    (project.folder / "code/train.txt").write_text("another network\n")
    project.git("add", "code")
    project.git("commit", "-q", "--amend", "-m", "results")
    assert explained(project)["stored"]["changed"] == {"train": ["code/train.txt"]}
    project.sh("rm -r .dvc/cache")
    assert explained(project)["answer"] == "no"


def test_a_later_commit_of_other_code_is_not_taken(project: Project) -> None:
    (project.folder / "code/train.txt").write_text("another network\n")
    project.commit("not run yet")
    found = explained(project)
    assert found["commit"]["subject"] == "results" and not found["stored"]["changed"]


def test_sources_that_are_lost_are_named(project: Project) -> None:
    (project.folder / "code/train.txt").rename(project.folder / "raw.txt")
    (project.folder / "dvc.yaml").write_text(GRAPH.replace("code/train.txt", "raw.txt"))
    project.sh("dvc add -q raw.txt && dvc repro -q")
    project.commit("data in DVC")
    project.sh("rm -r .dvc/cache")
    found = explained(project)
    assert found["answer"] == "no" and found["stored"]["sources"] == ["raw.txt"]


def test_without_a_repository_it_says_so(base: Project, tmp_path: Path) -> None:
    shutil.copytree(base.folder / "submissions", tmp_path / "submissions")
    found = explained(Project(tmp_path), GIT_CEILING_DIRECTORIES="/")
    assert found["answer"] == "unknown" and "repository" in found["history"]["problem"] and found["steps"]


def test_a_repository_of_somebody_else_comes_with_the_command(base: Project) -> None:
    found = explained(base, GIT_TEST_ASSUME_DIFFERENT_OWNER="1")
    assert found["answer"] == "unknown" and "safe.directory" in found["steps"][0]


def test_without_git_it_says_so(base: Project, tmp_path: Path) -> None:
    """A PATH with this environment's commands alone."""
    for name in ("handbone", "python", "bash"):
        (tmp_path / name).symlink_to(str(shutil.which(name, path=base.environment()["PATH"])))
    found = explained(base, PATH=str(tmp_path))
    assert found["answer"] == "unknown" and "install git" in found["steps"]


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        ("echo x >> submissions/submission.csv", "another CSV"),
        ("head -c 100 submissions/submission.json > x && mv x submissions/submission.json", "JSON"),
        ("echo '{}' > submissions/submission.json", "submission_sha256"),
        ("echo '[]' > submissions/submission.json", "object"),
        ("rm submissions/submission.json && echo x >> submissions/submission.csv", "no branch, tag or experiment"),
        ("rm submissions/submission.csv", "submission.csv"),
    ],
)
def test_a_record_that_cannot_be_used_is_an_error(project: Project, damage: str, code: str) -> None:
    project.sh(damage)
    output = project.sh(f"handbone explain {CSV}", code=1)
    assert code in output and "Traceback" not in output and output.count("ERROR") == 1


@pytest.mark.parametrize("value", ["text", 3, [1, [2]], None, {"a": {"b": "c"}}])
def test_a_record_of_another_version_is_shown_as_far_as_it_is_understood(project: Project, value: Any) -> None:
    path = (project.folder / CSV).with_suffix(".json")
    record = json.loads(path.read_text())
    record["parameters"] |= {"model": value, "train": value, "folds": value, "split": value}
    record |= {
        "members": {"unet": value},
        "models": {"0": value},
        "git": {"commit": None, "reason": value},
        "decision": {"threshold": value, "members": value, "searches": {"a": value}},
    }
    path.unlink()
    path.write_text(json.dumps(record))
    assert explained(project)["answer"] == "stored"


def test_a_csv_that_the_lock_does_not_know(project: Project) -> None:
    """As `handbone vote` or an editor writes it, with a record of its own."""
    other = project.folder.parent / "of-other"
    project.sh("dvc exp remove -q other && git reflog expire --expire=now --all && git gc -q --prune=now")
    found = explained(project, str(other / "submission.csv"))
    assert found["answer"] == "not_committed" and "no branch, tag or experiment" in found["history"]["problem"]


@pytest.mark.parametrize("damage", ["echo 'stages: [' > dvc.lock", "echo '- 1' > dvc.lock", ": > dvc.lock"])
def test_a_broken_lock_is_not_a_traceback(project: Project, damage: str) -> None:
    project.sh(damage)
    project.commit("broken")
    assert explained(project)["commit"]["subject"] == "results"


def test_a_repository_without_commits(base: Project, tmp_path: Path) -> None:
    shutil.copytree(base.folder / "submissions", tmp_path / "submissions")
    project = Project(tmp_path)
    project.git("init", "-q")
    assert explained(project)["answer"] == "not_committed"


def test_the_closest_preset_is_found() -> None:
    recorded = preset_params("gpu24", ROOT / "presets").model_dump(mode="json", exclude={"machine", "report", "phantom"})
    assert closest_parameters(recorded, ROOT / "presets") == ("preset gpu24", {})
    recorded["train"]["epochs"] = 41
    name, changes = closest_parameters(recorded, ROOT / "presets")
    assert name == "preset gpu24" and list(changes) == ["train.epochs"] and changes["train.epochs"][1] == 41
    assert closest_parameters({"seed": 3}, ROOT / "nothing")[0] == "the defaults"


def test_every_command_of_the_text_is_a_command(base: Project) -> None:
    steps = re.findall(r"^    (\S+)", base.sh(f"handbone explain {CSV}"), re.M)
    assert steps and set(steps) <= {"git", "dvc"}

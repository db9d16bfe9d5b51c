"""dvc.yaml says what the code does: files, parameters, paths."""

import ast
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from handbone.config import paths
from handbone.config.params import parameter_names
from imports import ROOT, closure

STAGES: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
NAMES = list(STAGES)
NETWORKS = "src/handbone/models"


def entries(stage: str, *kinds: str) -> set[str]:
    listed = [entry for kind in kinds for entry in STAGES[stage].get(kind, [])]
    return {next(iter(entry)) if isinstance(entry, dict) else entry for entry in listed}


def constants_used(file: Path) -> set[str]:
    """The names of handbone.config.paths that a file uses."""
    nodes = ast.walk(ast.parse(file.read_text()))
    return {
        node.attr for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "paths"
    }


def files_made_or_read(stage: str) -> set[str]:
    """The paths that a stage's script names, as dvc.yaml would write them."""
    templates = {
        "fold_model": "models/fold_${item.fold}",
        "fold_curve": "reports/train/fold_${item.fold}.csv",
        "cached_sample": None,  # names a file of the subset that it is called with
        "pretrained": "weights/${model.weights}",
        "pseudo_sample": "data/pseudo",
        "probabilities": None,  # names a file below OOF or TEST_PROBABILITIES, which the script names too
    }
    found = {
        templates.get(name) if name in templates else str(getattr(paths, name)) for name in constants_used(ROOT / f"stages/{stage}.py")
    }
    return {path for path in found if path} | {f"data/cache/{subset}" for subset in subsets_used(ROOT / f"stages/{stage}.py")}


def subsets_used(file: Path) -> set[str]:
    """The subsets of which a file names cached samples."""
    calls = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)]
    named = [node.args[0] for node in calls if isinstance(node.func, ast.Attribute) and node.func.attr == "cached_sample"]
    return {str(subset.value) for subset in named if isinstance(subset, ast.Constant)}


@pytest.mark.parametrize("stage", NAMES)
def test_every_file_that_a_stage_imports_is_a_dependency(stage: str) -> None:
    """Trap 12: an import that DVC does not know leaves old results standing after a change of code."""
    code = {entry for entry in entries(stage, "deps") if entry.startswith(("src/", "stages/"))}
    # networks are imported by name, as the parameters say: whoever builds one depends on the folder
    assert code == {NETWORKS if file.startswith(f"{NETWORKS}/") else file for file in closure(ROOT / f"stages/{stage}.py")}


@pytest.mark.parametrize("stage", NAMES)
def test_every_path_of_a_stage_is_declared(stage: str) -> None:
    declared = entries(stage, "deps", "outs", "metrics", "plots")
    for path in files_made_or_read(stage):
        parents = {path, *(parent.as_posix() for parent in Path(path).parents)}
        below = {entry for entry in declared if entry.startswith(f"{path}/")}
        assert parents & declared or below, f"{stage} uses {path}"


@pytest.mark.parametrize("stage", NAMES)
def test_every_out_is_a_path_that_the_stage_names(stage: str) -> None:
    assert entries(stage, "outs", "metrics", "plots") <= files_made_or_read(stage)


@pytest.mark.parametrize("stage", NAMES)
def test_params_are_known_and_those_that_the_stage_reads(stage: str) -> None:
    names, sections = set(parameter_names()), {name.split(".")[0] for name in parameter_names()}
    declared = entries(stage, "params")
    assert declared <= names | sections
    for read in attributes_of_params(ROOT / f"stages/{stage}.py"):
        section = read.split(".")[0]
        free = section in {"machine", "model_dump"}  # decides no result; lists its sections itself
        known = {read, section} & declared or any(entry.startswith(f"{section}.") for entry in declared if read == section)
        assert free or known, f"{stage} reads {read}"


def attributes_of_params(file: Path) -> set[str]:
    """`params.section.key` (or `params.section` alone) wherever a script reads them."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Attribute):
            parts = [node.attr]
            value = node.value
            while isinstance(value, ast.Attribute):
                parts.insert(0, value.attr)
                value = value.value
            if isinstance(value, ast.Name) and value.id == "params":
                found.add(".".join(parts[:2]))
    return {read for read in found if "." in read or not any(other.startswith(f"{read}.") for other in found)}


def test_what_training_does_not_use_does_not_retrain() -> None:
    """Trap 1, for parameters and for code."""
    assert not entries("train", "params") & {"predict", "report", "phantom", "folds", "machine"}
    others = ["submission/", "report/", "inference/tta", "data/phantom/", "data/layout", "data/annotation", "data/raster", "data/prepare"]
    assert not [entry for entry in entries("train", "deps") for other in others if entry.startswith(f"src/handbone/{other}")]


def test_no_stage_depends_on_how_many_processes_the_machine_has() -> None:
    assert not any(entry.startswith("machine") for stage in NAMES for entry in entries(stage, "params"))


def test_outs_are_ignored_by_git_before_dvc_would_write_a_file_for_it() -> None:
    """Trap 4: a .gitignore that DVC writes into models/ becomes part of what validate depends on."""
    outs = sorted(out.replace("${item.fold}", "0") for stage in NAMES for out in entries(stage, "outs"))
    ignored = subprocess.run(["git", "check-ignore", *outs], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert ignored == outs

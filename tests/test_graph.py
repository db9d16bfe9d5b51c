"""dvc.yaml says what the code does: files, parameters, paths."""

import ast
import re
import subprocess
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml

from handbone.config import paths
from handbone.config.params import parameter_names
from imports import ROOT, closure

STAGES: dict[str, dict[str, Any]] = {
    name: stage.get("do", stage) for name, stage in yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"].items()
}
NAMES = list(STAGES)
PER_ITEM = {"${item.images}": "data/cache", "${item.samples}": "data/folds.csv"}  # of the two infer stages, as their items have them
NETWORKS = "src/handbone/models/"  # imported by name, as the parameters say: who builds a network depends on the folder
DATA_SET = ("inputs", "labels", "people", "png", "preprocess", "splits", "strata", "summary", "whole_set")
COVERED_BUT_NOT_IMPORTED = {  # below src/handbone: files whose change reruns a stage only because it depends on their room
    "phantom": {"utils/hashing.py", "utils/npz.py"},
    "preprocess": {f"dataset/{name}.py" for name in ("attributes", "folds", "shapes", "splits", "strata")},
    "split": {"utils/hashing.py", "utils/npz.py", "utils/parallel.py"},
    "pseudo": {
        "cache/sides.py",
        *(
            f"masks/{name}.py"
            for name in (
                "argmax",
                "components",
                "contours",
                "coverage",
                "cropped_maps",
                "histogram",
                "joined",
                "overlaps",
                "rasterize",
                "surfaces",
                "upsample",
            )
        ),
    },
    "train": {f"masks/{name}.py" for name in ("contours", "histogram", "overlaps", "rasterize", "rle", "surfaces")},
    "validate": {"cache/sides.py", *(f"masks/{name}.py" for name in ("contours", "coverage", "overlaps", "rasterize", "rle"))},
    "submit": {  # a table, a CSV and a few Dice: seconds
        *(f"dataset/{name}.py" for name in DATA_SET),
        *(f"evaluation/{name}.py" for name in ("comparison", "held_out_pictures", "model_dice", "overlay")),
        *("masks/coverage.py", "masks/histogram.py", "masks/overlaps.py"),
        *(f"submission/{name}.py" for name in ("alignment", "difference", "vote")),
    },
    "report": {  # a page: seconds
        "cache/sides.py",
        *(f"evaluation/{name}.py" for name in ("attributes", "held_out_pictures", "metrics", "model_dice")),
        *(f"masks/{name}.py" for name in ("contours", "histogram", "rasterize", "rle")),
        *(f"provenance/{name}.py" for name in ("experiments", "explanation", "made_from", "record", "stored", "text")),
        "provenance/uncommitted.py",
    },
}


def entries(stage: str, *kinds: str) -> set[str]:
    listed = [entry for kind in kinds for entry in STAGES[stage].get(kind, [])]
    return {next(iter(entry)) if isinstance(entry, dict) else entry for entry in listed}


def covered(stage: str) -> set[str]:
    """The files of src/ and stages/ that a stage's dependencies name, those of a folder one by one."""
    code = [ROOT / entry for entry in entries(stage, "deps") if entry.startswith(("src/", "stages/"))]
    files = [file for path in code for file in (path.rglob("*.py") if path.is_dir() else [path])]
    return {file.relative_to(ROOT).as_posix() for file in files}


def has_code(file: str) -> bool:
    """Whether it holds more than a docstring, as the __init__.py of most packages does not."""
    return len(ast.parse((ROOT / file).read_text()).body) > 1


def arguments(file: Path, function: str) -> set[str]:
    """The constants that a script passes first to a function of `paths`, such as a subset."""
    calls = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)]
    named = [node.args[0] for node in calls if isinstance(node.func, ast.Attribute) and node.func.attr == function]
    return {str(found.value) for found in named if isinstance(found, ast.Constant)}


def paths_used(file: Path) -> set[str]:
    """The names of handbone.config.paths that a file uses."""
    nodes = ast.walk(ast.parse(file.read_text()))
    return {
        node.attr for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "paths"
    }


def files_made_or_read(stage: str) -> set[str]:
    """The paths that a stage's script names, as dvc.yaml would write them."""
    script = ROOT / f"stages/{stage}.py"
    prediction = "data/predictions/${key}" if stage == "infer" else ""
    templates = {
        "fold_model": "models/fold_${item.fold}",
        "fold_curve": "reports/train/fold_${item.fold}.csv",
        "init_weights": "weights/${model.weights}",
        "pseudo_sample": "data/pseudo",
        "cached_sample": "",  # a file of the subset that it is called with
        "pin": "members",
        "stored": prediction,
        "prediction": prediction,
        "prediction_record": prediction,
    }
    named = {name: getattr(paths, name) for name in paths_used(script) if name not in templates}
    found = {templates.get(name) for name in paths_used(script)}
    found |= {str(path) for value in named.values() for path in (value if isinstance(value, tuple) else [value])}
    found |= {f"data/cache/{subset}" for subset in arguments(script, "cached_sample")}
    found |= {f"data/predictions/{subset}" for name in ("prediction", "prediction_record", "stored") for subset in arguments(script, name)}
    return {path for path in found if path}


@pytest.mark.parametrize("stage", NAMES)
def test_every_file_that_a_stage_imports_is_a_dependency(stage: str) -> None:
    """An import that DVC does not know leaves old results in place after a change of code."""
    assert not closure(ROOT / f"stages/{stage}.py") - covered(stage)


@pytest.mark.parametrize("stage", NAMES)
def test_what_a_stage_depends_on_without_importing_it_is_a_short_list(stage: str) -> None:
    """A file that is covered by its room alone reruns a stage that does not use it: each one is a decision."""
    unused = {file for file in covered(stage) - closure(ROOT / f"stages/{stage}.py") if has_code(file) and not file.startswith(NETWORKS)}
    assert unused == {f"src/handbone/{file}" for file in COVERED_BUT_NOT_IMPORTED.get(stage, set())}


@pytest.mark.parametrize("stage", NAMES)
def test_every_dependency_exists(stage: str) -> None:
    code = {entry for entry in entries(stage, "deps") if entry.startswith(("src/", "stages/"))}
    assert code and all((ROOT / entry).exists() for entry in code)


@pytest.mark.parametrize("stage", NAMES)
def test_every_path_of_a_stage_is_declared(stage: str) -> None:
    declared = {PER_ITEM.get(entry, entry) for entry in entries(stage, "deps", "outs", "metrics", "plots")}
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


def rows_of_what_a_change_reruns() -> list[tuple[list[str], list[str], bool]]:
    """Of each row of docs/dvc.md with parameters: these (`train.*`, `seed`), the stages it names, and whether later ones follow."""
    table = (ROOT / "docs/dvc.md").read_text().split("## What a change reruns")[1].split("##")[0]
    rows = [(re.findall(r"`([a-z_.]+\*?)`", change), runs) for change, runs in re.findall(r"^\| (.+?) \| (.+) \|$", table, re.M)]
    return [(keys, re.findall(rf"\b({'|'.join(NAMES)})\b", runs), "what follows" in runs) for keys, runs in rows if keys]


@pytest.mark.parametrize("parameter", parameter_names())
def test_the_documentation_says_what_a_parameter_reruns(parameter: str) -> None:
    """The row that names it most exactly: the first stage there lists it, and every stage that lists it is named or follows."""
    listing = {stage for stage in NAMES if {parameter, parameter.split(".")[0]} & entries(stage, "params")}
    matching = [(len(key), row) for row in rows_of_what_a_change_reruns() for key in row[0] if fnmatch(parameter, key)]
    _, (_, named, follows) = max(matching)
    later = NAMES[NAMES.index(named[0]) :] if follows else []
    assert listing <= {*named, *later} and (not named or named[0] in listing)


def test_what_training_does_not_use_does_not_retrain() -> None:
    """Neither parameters nor code: prediction settings, decisions, reports and the submission are changed without training again."""
    assert not entries("train", "params") & {"infer", "decide", "report", "phantom", "folds", "machine"}
    others = ["submission", "report", "inference/tta", "inference/crf", "phantom", "dataset", "cli", "evaluation/metrics"]
    files = covered("train") - {"src/handbone/dataset/folds.py"}  # reads the table of folds, as every stage does
    assert not [file for file in files for other in others if file.startswith(f"src/handbone/{other}")]


def test_folds_know_nothing_of_test_images() -> None:
    """Neither their people nor, through a rule that balances folds, their labels."""
    assert {entry for entry in entries("split", "deps") if entry.startswith("data/")} == {
        "data/cache/train/areas.csv",
        "data/cache/train/index.csv",
    }


def test_deciding_depends_on_no_network() -> None:
    """validate, submit and report read stored probabilities: a change of a network's code alone does not run them."""
    for stage in ("validate", "submit", "report"):
        assert not [file for file in covered(stage) if file.startswith(("src/handbone/models", "src/handbone/inference"))]
        assert "models" not in entries(stage, "deps")


def test_no_stage_depends_on_how_many_processes_the_machine_has() -> None:
    assert not any(entry.startswith("machine") for stage in NAMES for entry in entries(stage, "params"))


def test_outs_are_ignored_by_git_before_dvc_would_write_a_file_for_it() -> None:
    """A .gitignore that DVC writes into models/ becomes part of what infer depends on."""
    outs = sorted(out.replace("${item.fold}", "0").replace("${key}", "oof") for stage in NAMES for out in entries(stage, "outs"))
    ignored = subprocess.run(["git", "check-ignore", *outs], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert ignored == outs


def test_the_graph_fits_on_few_screens() -> None:
    assert len((ROOT / "dvc.yaml").read_text().splitlines()) < 250

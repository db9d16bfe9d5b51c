"""What dvc.yaml says about a stage's code."""

from __future__ import annotations

from pathlib import Path

from handbone.config.yaml12 import read_yaml

CODE = ("src/", "stages/")  # the folders of the repository that hold Python code of stages


def stage_code(root: Path, stage: str) -> list[Path]:
    """The Python files that a stage of dvc.yaml depends on, relative to the repository's folder `root`, sorted.

    They are the stage's `deps` below src/ and stages/; a folder counts with all *.py files below it. `stage`: the name in dvc.yaml, without
    the item of a matrix or foreach stage. Raises `UserError` if there is no dvc.yaml in `root`.
    """
    definition = read_yaml(root / "dvc.yaml")["stages"][stage]
    deps = [root / dep for dep in definition.get("do", definition)["deps"] if dep.startswith(CODE)]
    files = {file for dep in deps for file in (dep.rglob("*.py") if dep.is_dir() else [dep])}
    return sorted(file.relative_to(root) for file in files if not file.name.startswith("."))  # hidden: ignored by DVC, too

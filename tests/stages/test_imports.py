"""A stage imports only what it uses: each is a process, and importing the large libraries costs seconds.

A stage that imports torch without a reason also breaks the promise that deciding runs no network.
"""

import subprocess
import sys

import pytest

from imports import ROOT

HEAVY = {"torch", "torchvision", "timm", "segmentation_models_pytorch", "albumentations", "sklearn", "matplotlib", "numba", "accelerate"}
USED: dict[str, set[str]] = {
    "check": set(),
    "phantom": set(),
    "preprocess": set(),
    "split": set(),
    "pseudo": {"numba"},
    "train": {"torch", "albumentations", "numba", "accelerate"},
    "infer": {"torch", "numba", "accelerate"},
    "validate": {"numba"},
    "submit": {"numba"},
    "report": {"matplotlib", "numba", "albumentations", "torch"},  # albumentations itself imports torch
}


@pytest.mark.parametrize("stage", USED)
def test_a_stage_imports_only_what_it_uses(stage: str) -> None:
    code = f"import sys, stages.{stage}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert HEAVY & set(loaded) == USED[stage]


def test_every_stage_is_checked() -> None:
    assert {path.stem for path in (ROOT / "stages").glob("*.py")} - {"__init__"} == set(USED)

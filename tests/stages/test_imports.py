"""A stage imports only what it uses: each is a process of its own, and the large libraries cost seconds."""

import subprocess
import sys

import pytest

from imports import ROOT

HEAVY = {"torch", "torchvision", "timm", "segmentation_models_pytorch", "albumentations", "sklearn", "matplotlib", "numba", "accelerate"}
USED = {
    "phantom": set(),
    "preprocess": set(),
    "split": set(),
    "pseudo": {"numba"},
    "train": {"torch", "albumentations", "numba", "accelerate"},
    "validate": {"torch", "numba"},
    "infer": {"torch", "numba"},
    "report": {"matplotlib", "numba", "albumentations"},
}


@pytest.mark.parametrize("stage", USED)
def test_a_stage_imports_only_what_it_uses(stage: str) -> None:
    code = f"import sys, stages.{stage}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert HEAVY & set(loaded) == USED[stage]

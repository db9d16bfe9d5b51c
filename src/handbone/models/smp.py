"""The networks of segmentation-models-pytorch, with its own encoders and, by the prefix `tu-`, timm's."""

from __future__ import annotations

import inspect
from typing import Any

import segmentation_models_pytorch as smp
import timm

from handbone.errors import Problem, UserError, nearest, raise_if_any
from handbone.models.parts import Parts

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def build_smp(arch: str, encoder: str | None, weights: str | None, in_channels: int, classes: int, options: dict[str, Any]) -> Parts:
    """The architecture `arch` of the library; every reason why it cannot be built is a `UserError`."""
    if weights not in (None, "imagenet"):
        raise UserError(f"model.weights: expected none or imagenet; found {weights!r}")
    named = {} if encoder is None else {"encoder_name": encoder}
    known = smp.encoders.get_encoder_names()
    if encoder and not encoder.startswith("tu-") and encoder not in known:
        expected = "a known encoder, or tu-<name> for one of timm's"
        raise UserError(f"model.encoder: expected {expected}; found {encoder!r}; {nearest(encoder, known)}")
    _check_options(arch, encoder, options)
    if arch == "dpt":  # or a vision transformer takes images of its one size only
        options = {"dynamic_img_size": True} | options
    try:
        network = smp.create_model(arch, **named, encoder_weights=weights, in_channels=in_channels, classes=classes, **options)
    except Exception as error:  # the libraries raise many kinds for what is one thing to the user: these names do not fit together
        raise UserError(_why(arch, encoder, weights, options, error)) from error
    mean, std = _normalisation(encoder)
    return Parts(network, *((mean, std) if in_channels == 3 else ([sum(mean) / 3], [sum(std) / 3])))


def _check_options(arch: str, encoder: str | None, options: dict[str, Any]) -> None:
    """The library hands what it does not know on to the encoder: timm's have options of their own, its own ones swallow any."""
    known = [name for name in inspect.signature(smp.MODEL_ARCHITECTURES_MAPPING[arch]).parameters if name != "kwargs"]
    unknown = [] if encoder and encoder.startswith("tu-") else [name for name in options if name not in known]
    problems = [Problem("params.yaml: model.options", f"an option of {arch}", repr(name), nearest(name, known)) for name in unknown]
    raise_if_any(problems, "model.options cannot be used")


def _why(arch: str, encoder: str | None, weights: str | None, options: dict[str, Any], error: Exception) -> str:
    what = f"model: {arch} with encoder {encoder}, weights {weights} and options {options} cannot be built"
    offline = "without a connection use model.weights=none, or fill the Hugging Face cache elsewhere and copy it here"
    fix = offline if weights else "choose others"
    return f"{what}: found {type(error).__name__}: {str(error)[:300]}; {fix}"


def _normalisation(encoder: str | None) -> tuple[tuple[float, ...], tuple[float, ...]]:
    config = timm.get_pretrained_cfg(encoder.removeprefix("tu-")) if encoder and encoder.startswith("tu-") else None
    return (config.mean, config.std) if config else (IMAGENET_MEAN, IMAGENET_STD)

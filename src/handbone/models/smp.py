"""The networks of segmentation-models-pytorch, with its encoders and, by the prefix `tu-`, those of timm."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from warnings import catch_warnings

import segmentation_models_pytorch as smp
import timm
import torch
from timm.models import adapt_input_conv
from torch import Tensor, nn

from handbone.models.builder import IMAGENET_MEAN, IMAGENET_STD, BuiltNetwork, with_normalisation, with_prefix
from handbone.models.connection import require_source
from handbone.models.pretrained import (
    HUB_FILE,
    IMAGENET,
    KEY,
    State,
    hub_url,
    load_into,
    manual_download,
    packaged_weights,
    read_weights,
    without,
)
from handbone.models.spec import ModelSpec, option_key
from handbone.utils.errors import Problem, UserError, nearest, raise_if_any

Normalisation = tuple[tuple[float, ...], tuple[float, ...]]  # mean and standard deviation of each channel
HALF = (0.5, 0.5, 0.5)
DPN = ((124 / 255, 117 / 255, 104 / 255), (1 / (0.0167 * 255),) * 3)
# the library's encoders, by the start of their names, whose weights were not trained with ImageNet's mean and standard deviation
OTHER_NORMALISATIONS: dict[str, Normalisation] = {
    "xception": (HALF, HALF),
    "inception": (HALF, HALF),
    "timm-tf_efficientnet_lite": (HALF, HALF),
    "dpn": DPN,
}
TIMM = "tu-"
NORMS = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm)
# arguments of the two libraries that other keys of params.yaml decide, or that break the contract of logits (N, classes, H, W)
DECIDED = {
    **dict.fromkeys(("encoder_name", "model_name"), "set model.encoder"),
    **dict.fromkeys(("encoder_weights", "weights", "pretrained", "pretrained_cfg", "pretrained_cfg_overlay"), "set model.weights"),
    **dict.fromkeys(("checkpoint_path", "cache_dir"), "put the file into weights/ and set model.weights"),
    **dict.fromkeys(("in_channels", "in_chans"), "set model.in_channels"),
    **dict.fromkeys(("classes", "num_classes"), "set data.classes"),
    "activation": "remove it: the network must return logits, which a sigmoid turns into probabilities later",
    "aux_params": "remove it: the network must return one tensor",
    "features_only": "remove it",
}
ANY_SIZE = ("swin_", "swinv2_")  # timm's encoders that take images of any size with strict_img_size=False
WINDOW_TABLES = ("relative_position_index", "relative_coords_table", "attn_mask")  # old files have them, timm computes them


def build_smp(arch: str, spec: ModelSpec, weights: str | None) -> BuiltNetwork:
    """The library's architecture `arch` with the encoder, channels, classes and options of `spec`.

    Raises `UserError` for an unknown encoder or option (`model.encoder`, `model.option`), for weights that are missing or do not fit
    (`weights.*`), and if the parts do not fit together (`model.build`).
    """
    encoder = spec.encoder or inspect.signature(smp.MODEL_ARCHITECTURES_MAPPING[arch]).parameters["encoder_name"].default
    _check_encoder(encoder)
    _check_options(arch, encoder, spec)
    spec = replace(spec, options=_any_size(arch, encoder) | dict(spec.options))
    state = _local_weights(encoder, weights)
    if weights == IMAGENET and state is None and (published := _published(encoder)):
        require_source(published[0], KEY, manual_download(*published))
    try:
        network = _build(arch, encoder, spec, weights, state)
        if arch == "dpt":
            _freeze_classifier(network.get_submodule("encoder"), encoder.removeprefix(TIMM))
    except UserError:
        raise
    except Exception as error:  # the libraries raise many types of errors if these names do not fit together
        raise UserError(_build_problem(encoder, spec, weights, error)) from error
    stages = with_prefix("encoder.", list(stages_of(network.get_submodule("encoder"))))
    built = with_normalisation(network, spec.in_channels, stages, *normalisation(encoder))
    return replace(built, side=_only_side(network.get_submodule("encoder"), encoder, spec))


def _any_size(arch: str, encoder: str) -> dict[str, Any]:
    """The options that make an encoder take images of any size, where there are such options."""
    if arch == "dpt":
        return {"dynamic_img_size": True}
    name = encoder.removeprefix(TIMM)
    return {"strict_img_size": False} if encoder.startswith(TIMM) and name.startswith(ANY_SIZE) and "_cr_" not in name else {}


def _only_side(encoder: nn.Module, name: str, spec: ModelSpec) -> int | None:
    """The side in pixels of the images that an encoder of timm takes, if it takes no other, or only multiples of it; else null."""
    config = timm.get_pretrained_cfg(name.removeprefix(TIMM)) if name.startswith(TIMM) else None
    if config is None or not config.fixed_input_size or "dynamic_img_size" in spec.options:
        return None
    side = spec.options.get("img_size", config.input_size[-1])
    modes = {part: part.training for part in encoder.modules()}
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            encoder.eval()(torch.zeros(1, spec.in_channels, 64, 96, device=next(encoder.parameters()).device))
    except Exception:  # each encoder has its own error for another size
        return side if isinstance(side, int) else None
    finally:
        for part, mode in modes.items():
            part.training = mode
    return None


def _check_encoder(encoder: str) -> None:
    known = smp.encoders.get_encoder_names()
    if not encoder.startswith(TIMM) and encoder not in known:
        expected = "a known encoder, or tu-<name> for one of timm's"
        raise UserError(Problem("model.encoder", "params.yaml: model.encoder", expected, repr(encoder), nearest(encoder, known)))


def _check_options(arch: str, encoder: str, spec: ModelSpec) -> None:
    """The library passes unknown options to the encoder: timm's encoders have options, the library's accept and ignore any."""
    decided = [
        Problem("model.option", f"{option_key(spec)}.{name}", "an option that no other key decides", repr(value), DECIDED[name])
        for name, value in spec.options.items()
        if name in DECIDED
    ]
    known = [name for name in inspect.signature(smp.MODEL_ARCHITECTURES_MAPPING[arch]).parameters if name != "kwargs"]
    unknown = [] if encoder.startswith(TIMM) else [name for name in spec.options if name not in [*known, *DECIDED]]
    problems = decided + [
        Problem("model.option", option_key(spec), f"an option of {spec.arch}", repr(name), nearest(name, known)) for name in unknown
    ]
    raise_if_any(problems, "model.options cannot be used")


def _local_weights(encoder: str, weights: str | None) -> State | None:
    """The weights from a file or from an installed package; None if there are none or the library downloads them."""
    if weights is None:
        return None
    if weights != IMAGENET:
        return read_weights(weights)
    return packaged_weights(encoder.removeprefix(TIMM)) if encoder.startswith(TIMM) else None


def _build(arch: str, encoder: str, spec: ModelSpec, weights: str | None, state: State | None) -> nn.Module:
    def create(encoder_weights: str | bool | None, in_channels: int) -> Any:
        return smp.create_model(arch, encoder, encoder_weights, in_channels, len(spec.classes), **spec.options)

    from_timm = encoder.startswith(TIMM)
    if state is None:
        network: nn.Module = create(True if weights and from_timm else weights, spec.in_channels)
        return network
    if from_timm:
        network = create(None, spec.in_channels)
        _load_timm(network.get_submodule("encoder"), encoder.removeprefix(TIMM), state, str(weights), spec.in_channels)
        return network
    network = create(None, 3)
    encoder_module: Any = network.get_submodule("encoder")
    _load_smp(encoder_module, state, str(weights))
    encoder_module.set_in_channels(spec.in_channels, pretrained=True)  # one channel: the sum over RGB
    return network


def _load_smp(encoder: nn.Module, state: State, source: str) -> None:
    """Load one of the library's encoders, which drops its classifier from the dictionary and translates old names."""
    remaining = dict(state)
    try:
        encoder.load_state_dict(remaining)
    except RuntimeError:
        load_into(encoder, remaining, source)


def _load_timm(encoder: nn.Module, model: str, state: State, source: str, in_channels: int) -> None:
    """Load an encoder of timm from a state dict of timm's whole network: strictly, except that the classifier may be missing or differ."""
    whole = {_flat(name): tensor for name, tensor in _whole_network(model, state, source).items()}

    def fit(tensor: Tensor, expected: Tensor) -> Tensor:
        fitted: Tensor = tensor if tensor.shape == expected.shape else adapt_input_conv(in_channels, tensor)
        return fitted

    encoder.load_state_dict({name: fit(whole[_flat(name)], expected) for name, expected in encoder.state_dict().items()})


def _whole_network(model: str, state: State, source: str) -> State:
    """All tensors of timm's network `model`, with zeros for a classifier that `state` does not have."""
    used = _encoder_names(model)
    with torch.device("meta"), catch_warnings(action="ignore"):  # only a check: torch warns that nothing is copied to meta tensors
        network = timm.create_model(model)
        expected = network.state_dict()
        classifier = {name: tensor for name, tensor in expected.items() if _flat(name) not in used}
        state = {name: tensor for name, tensor in state.items() if name in expected or not name.endswith(WINDOW_TABLES)}
        load_into(network, without(state, tuple(classifier)) | classifier, source)
    return {name: _or_zeros(state.get(name), tensor) for name, tensor in expected.items()}


def _or_zeros(tensor: Tensor | None, expected: Tensor) -> Tensor:
    if tensor is None or tensor.shape != expected.shape:
        return torch.zeros(expected.shape, dtype=expected.dtype)
    return tensor


def _encoder_names(model: str) -> set[str]:
    """The tensors that an encoder keeps of timm's network `model`: all except the classifier's."""
    with torch.device("meta"):
        return {_flat(name) for name in timm.create_model(model, features_only=True).state_dict()}


def _freeze_classifier(encoder: nn.Module, model: str) -> None:
    """DPT's encoder is a whole vision transformer; its classifier has no effect and gets no gradient."""
    used = _encoder_names(model)
    for name, parameter in encoder.named_parameters():
        parameter.requires_grad = _flat(name) in used


def _flat(name: str) -> str:
    """timm's encoders call `stages.0.` `stages_0.`, and some of them have one or two `model.` in front."""
    return name.removeprefix("model.").removeprefix("model.").replace(".", "_")


def stages_of(encoder: nn.Module, prefix: str = "") -> Iterator[list[str]]:
    """The stages of an encoder from the image on, each as the names of its parameters.

    Both libraries number the stages in the names of an encoder's parts: conv1, layer1, layer2; patch_embed1, block1; blocks.0.
    A norm, or a part without a number, belongs to the stage of the part before it. A single part is a wrapper around the parts.
    """
    parts = {name: part for name, part in encoder.named_children() if any(True for _ in part.parameters())}
    direct = [f"{prefix}{name}" for name, _ in encoder.named_parameters(recurse=False)]
    if len(parts) == 1:
        ((name, part),) = parts.items()
        first, *others = stages_of(part, f"{prefix}{name}.")
        yield [*direct, *first]
        yield from others
        return
    stages: dict[int, list[str]] = {0: direct} if direct else {}
    number = 0
    for name, part in _parts(parts):
        digits = None if isinstance(part, NORMS) else re.search(r"\d+$", name)
        number = int(digits[0]) if digits else number
        stages.setdefault(number, []).extend(f"{prefix}{name}.{key}" for key, _ in part.named_parameters())
    yield from (stages[number] for number in sorted(stages))


def _parts(parts: dict[str, nn.Module]) -> Iterator[tuple[str, nn.Module]]:
    """The parts; a list of parts whose name has no number is replaced by its items."""
    for name, part in parts.items():
        if isinstance(part, nn.Sequential | nn.ModuleList) and not name[-1].isdigit():
            yield from ((f"{name}.{key}", item) for key, item in part.named_children())
        else:
            yield name, part


def _build_problem(encoder: str, spec: ModelSpec, weights: str | None, error: Exception) -> Problem:
    expected = f"{spec.arch}, encoder {encoder}, weights {weights} and options {dict(spec.options)} that fit together"
    published = _published(encoder) if weights == IMAGENET else None
    fix = f"without a connection {manual_download(*published)}" if published else "choose others"
    return Problem("model.build", "params.yaml: model", expected, f"{type(error).__name__}: {str(error)[:300]}", fix)


def _published(encoder: str) -> tuple[str, str] | None:
    """The address of an encoder's published weights, and a name for the file; None if there are none."""
    if not encoder.startswith(TIMM):
        known = smp.encoders.encoders[encoder]["pretrained_settings"]
        settings = known.get(IMAGENET) or next(iter(known.values()))
        return hub_url(settings["repo_id"], settings["revision"]), f"{settings['repo_id'].split('/')[-1]}.safetensors"
    config = timm.get_pretrained_cfg(encoder.removeprefix(TIMM))
    if config is None or not (config.hf_hub_id or config.url):
        return None
    url = hub_url(config.hf_hub_id, file=config.hf_hub_filename or HUB_FILE) if config.hf_hub_id else str(config.url)
    return url, f"{config.architecture}.{config.tag}{Path(url).suffix}"


def normalisation(encoder: str) -> Normalisation:
    """Mean and standard deviation of each channel, in 0..1, with which the encoder's published weights were trained."""
    if encoder.startswith(TIMM):
        config = timm.get_pretrained_cfg(encoder.removeprefix(TIMM))
        return (config.mean, config.std) if config else (IMAGENET_MEAN, IMAGENET_STD)
    return next((value for name, value in OTHER_NORMALISATIONS.items() if encoder.startswith(name)), (IMAGENET_MEAN, IMAGENET_STD))

"""The networks of segmentation-models-pytorch, with its own encoders and, by the prefix `tu-`, timm's."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from warnings import catch_warnings

import segmentation_models_pytorch as smp
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from handbone.models.outputs import IMAGENET_MEAN, IMAGENET_STD, Parts, normalised
from handbone.models.packaged import packaged
from handbone.models.pretrained import IMAGENET, State, load_into, read_weights
from handbone.models.published import FILE, by_hand, headless, hub_url
from handbone.utils.errors import Problem, UserError, nearest, raise_if_any

Normalisation = tuple[tuple[float, ...], tuple[float, ...]]  # mean and standard deviation of each channel
HALF = (0.5, 0.5, 0.5)
DPN = ((124 / 255, 117 / 255, 104 / 255), (1 / (0.0167 * 255),) * 3)
# the library's encoders, by how their names begin, whose weights were not trained with ImageNet's own mean and deviation
OTHERS: dict[str, Normalisation] = {
    "xception": (HALF, HALF),
    "inception": (HALF, HALF),
    "timm-tf_efficientnet_lite": (HALF, HALF),
    "dpn": DPN,
}
TIMM = "tu-"
TABLES = ("relative_position_index", "relative_coords_table", "attn_mask")  # of windows: old files have them, timm computes them


def build_smp(arch: str, encoder: str | None, weights: str | None, in_channels: int, classes: int, options: dict[str, Any]) -> Parts:
    """The architecture `arch` of the library; every reason why it cannot be built is a `UserError`."""
    chosen = encoder or inspect.signature(smp.MODEL_ARCHITECTURES_MAPPING[arch]).parameters["encoder_name"].default
    _check_encoder(chosen)
    _check_options(arch, encoder, options)
    state = _state(chosen, weights)
    if arch == "dpt":  # or a vision transformer takes images of its one size only
        options = {"dynamic_img_size": True} | options

    def build(encoder_weights: str | bool | None, channels: int, **more: Any) -> nn.Module:
        network: nn.Module = smp.create_model(arch, chosen, encoder_weights, channels, classes, **(options | more))
        return network

    try:
        network = _built(build, chosen, weights, state, in_channels)
        if arch == "dpt":
            _freeze_head(network.get_submodule("encoder"), chosen.removeprefix(TIMM))
    except UserError:
        raise
    except Exception as error:  # the libraries raise many kinds for what is one thing to the user: these names do not fit together
        raise UserError(_why(arch, chosen, weights, options, error)) from error
    return normalised(network, in_channels, *_normalisation(chosen))


def _check_encoder(encoder: str) -> None:
    known = smp.encoders.get_encoder_names()
    if not encoder.startswith(TIMM) and encoder not in known:
        expected = "a known encoder, or tu-<name> for one of timm's"
        raise UserError(f"model.encoder: expected {expected}; found {encoder!r}; {nearest(encoder, known)}")


def _check_options(arch: str, encoder: str | None, options: dict[str, Any]) -> None:
    """The library hands what it does not know on to the encoder: timm's have options of their own, its own ones swallow any."""
    known = [name for name in inspect.signature(smp.MODEL_ARCHITECTURES_MAPPING[arch]).parameters if name != "kwargs"]
    unknown = [] if encoder and encoder.startswith(TIMM) else [name for name in options if name not in known]
    problems = [Problem("params.yaml: model.options", f"an option of {arch}", repr(name), nearest(name, known)) for name in unknown]
    raise_if_any(problems, "model.options cannot be used")


def _state(encoder: str, weights: str | None) -> State | None:
    """The weights that are here already: a file's, or a package's; None if there are to be none, or the library downloads them."""
    if weights is None:
        return None
    if weights != IMAGENET:
        return read_weights(weights)
    return packaged(encoder.removeprefix(TIMM)) if encoder.startswith(TIMM) else None


def _built(build: Callable[..., nn.Module], encoder: str, weights: str | None, state: State | None, in_channels: int) -> nn.Module:
    of_timm = encoder.startswith(TIMM)
    if state is None:
        return build(True if weights and of_timm else weights, in_channels)
    if of_timm:
        whole = _whole(encoder.removeprefix(TIMM), state, str(weights))
        with TemporaryDirectory() as folder:  # what was checked is what timm reads, and it unpickles nothing
            save_file(whole, Path(folder) / FILE)
            return build(True, in_channels, pretrained_cfg_overlay={"file": str(Path(folder) / FILE)})
    network = build(None, 3)
    encoder_module: Any = network.encoder
    _load_own(encoder_module, state, str(weights))
    encoder_module.set_in_channels(in_channels, pretrained=True)  # one channel: the sum over RGB
    return network


def _load_own(encoder: nn.Module, state: State, where: str) -> None:
    """Load the library's own encoder, which drops its classifier from the dictionary and brings old names up to date itself."""
    given = dict(state)
    try:
        encoder.load_state_dict(given)
    except RuntimeError:
        load_into(encoder, given, where)


def _whole(model: str, state: State, where: str) -> State:
    """All of timm's `model`, as it is published: an encoder's part from `state`, strictly, and its classifier if it fits, or else zeros.

    timm itself passes over what is missing, and tells by the classifier whose names a file has.
    """
    kept = _kept(model)
    with torch.device("meta"), catch_warnings(action="ignore"):  # a trial: torch says that nothing is copied to meta tensors
        network = timm.create_model(model)
        own = network.state_dict()
        heads = {name: tensor for name, tensor in own.items() if _flat(name) not in kept}
        state = {name: tensor for name, tensor in state.items() if name in own or not name.endswith(TABLES)}
        load_into(network, headless(state, tuple(heads)) | heads, where)
    return {name: _contiguous(state.get(name), tensor) for name, tensor in own.items()}


def _contiguous(given: Tensor | None, own: Tensor) -> Tensor:
    """A copy in memory of its own: safetensors takes no other."""
    if given is None or given.shape != own.shape:
        return torch.zeros(own.shape, dtype=own.dtype)
    return given.clone(memory_format=torch.contiguous_format)


def _kept(model: str) -> set[str]:
    """What an encoder keeps of timm's `model`: all but what only classifies."""
    with torch.device("meta"):
        return {_flat(name) for name in timm.create_model(model, features_only=True).state_dict()}


def _freeze_head(encoder: nn.Module, model: str) -> None:
    """DPT's encoder is the whole vision transformer, whose classifier nothing reads: no gradient would reach it."""
    kept = _kept(model)
    for name, parameter in encoder.named_parameters():
        parameter.requires_grad = _flat(name) in kept


def _flat(name: str) -> str:
    """timm's encoders have `stages_0.` for `stages.0.`, and some of them `model.` in front."""
    return name.removeprefix("model.").replace(".", "_")


def _why(arch: str, encoder: str, weights: str | None, options: dict[str, Any], error: Exception) -> str:
    what = f"model: {arch} with encoder {encoder}, weights {weights} and options {options} cannot be built"
    published = _published(encoder) if weights == IMAGENET else None
    fix = f"without a connection {by_hand(*published)}" if published else "choose others"
    return f"{what}: found {type(error).__name__}: {str(error)[:300]}; {fix}"


def _published(encoder: str) -> tuple[str, str] | None:
    """The address of an encoder's weights, and a name for the file; None where nobody publishes any."""
    if not encoder.startswith(TIMM):
        known = smp.encoders.encoders[encoder]["pretrained_settings"]
        settings = known.get(IMAGENET) or next(iter(known.values()))
        return hub_url(settings["repo_id"], settings["revision"]), f"{settings['repo_id'].split('/')[-1]}.safetensors"
    config = timm.get_pretrained_cfg(encoder.removeprefix(TIMM))
    if config is None or not (config.hf_hub_id or config.url):
        return None
    url = hub_url(config.hf_hub_id, file=config.hf_hub_filename or FILE) if config.hf_hub_id else str(config.url)
    return url, f"{config.architecture}.{config.tag}{Path(url).suffix}"


def _normalisation(encoder: str) -> Normalisation:
    if encoder.startswith(TIMM):
        config = timm.get_pretrained_cfg(encoder.removeprefix(TIMM))
        return (config.mean, config.std) if config else (IMAGENET_MEAN, IMAGENET_STD)
    return next((own for name, own in OTHERS.items() if encoder.startswith(name)), (IMAGENET_MEAN, IMAGENET_STD))

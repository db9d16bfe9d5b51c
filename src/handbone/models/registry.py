"""Every network that `model.arch` can name, one line each. A network's file is imported only when the network is built."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

from torch import nn

from handbone.config.params import ModelParams
from handbone.models.builder import Builder, BuiltNetwork, with_normalisation
from handbone.models.spec import ModelSpec, option_key
from handbone.models.wrapper import SegmentationModel
from handbone.utils.errors import Problem, UserError, nearest, raise_if_any

NOT_OPTIONS = ("in_channels", "classes", "weights")  # arguments of a constructor that other keys of params.yaml decide


@dataclass(frozen=True)
class Entry:
    """How to build a network, and what its input must be: both sides multiples of `divisor` and at least `min_size` pixels.

    takes_encoder: whether `model.encoder` chooses its encoder.
    """

    build: Builder
    divisor: int
    min_size: int
    takes_encoder: bool


def _smp(arch: str, min_size: int = 0) -> Entry:
    """A network of segmentation-models-pytorch, with any encoder."""
    return Entry(_smp_builder(arch, None, {}), 32, min_size, takes_encoder=True)


def _smp_with(encoder: str, arch: str, **options: Any) -> Entry:
    """A network of segmentation-models-pytorch that includes its encoder and some options."""
    return Entry(_smp_builder(arch, encoder, options), 32, 0, takes_encoder=False)


def _smp_builder(arch: str, encoder: str | None, options: dict[str, Any]) -> Builder:
    def build(spec: ModelSpec, weights: str | None) -> BuiltNetwork:
        from handbone.models.smp import build_smp

        return build_smp(arch, replace(spec, encoder=encoder or spec.encoder, options=options | dict(spec.options)), weights)

    return build


def _torchvision(name: str) -> Entry:
    """The network of torchvision that the function `name` in models/torchvision.py builds."""
    return _constructed("handbone.models.torchvision", name, 32, 0)


def _net(file: str, name: str, divisor: int, min_size: int = 0) -> Entry:
    """The class `name` in models/nets/`file`.py."""
    return _constructed(f"handbone.models.nets.{file}", name, divisor, min_size)


def _constructed(module: str, name: str, divisor: int, min_size: int) -> Entry:
    def build(spec: ModelSpec, weights: str | None) -> BuiltNetwork:
        return _construct(getattr(import_module(module), name), spec, weights)

    return Entry(build, divisor, min_size, takes_encoder=False)


def _construct(constructor: Callable[..., nn.Module], spec: ModelSpec, weights: str | None) -> BuiltNetwork:
    """Call the constructor with the arguments of `spec`. It has an argument `weights` if a part of the network can be pretrained.

    Raises `UserError` for options that are unknown or cannot be used (`model.option`) and for weights of a network that has no pretrained
    part (`weights.unsupported`).
    """
    arguments = inspect.signature(constructor).parameters
    defaults = {option: argument.default for option, argument in arguments.items() if option not in NOT_OPTIONS}
    raise_if_any(_option_problems(spec, defaults), "model.options cannot be used")
    pretrainable = "weights" in arguments
    if weights is not None and not pretrainable:
        expected, fix = f"null, as {spec.arch} has no pretrained part", "set model.weights to null"
        raise UserError(Problem("weights.unsupported", "params.yaml: model.weights", expected, repr(weights), fix))
    chosen = dict(spec.options) | ({"weights": weights} if pretrainable else {})
    try:
        network: Any = constructor(in_channels=spec.in_channels, classes=len(spec.classes), **chosen)
    except (TypeError, ValueError) as error:
        expected, found = f"values that {spec.arch} can use", f"{dict(spec.options)}: {error}"
        raise UserError(Problem("model.option", option_key(spec), expected, found, "change them")) from error
    return with_normalisation(network, spec.in_channels, network.encoder_stages if pretrainable else ())


def _option_problems(spec: ModelSpec, defaults: Mapping[str, Any]) -> list[Problem]:
    """Options that the constructor does not have, and values of another type than its default."""
    key = option_key(spec)
    problems = []
    for option, value in spec.options.items():
        if option not in defaults:
            fix = nearest(option, list(defaults)) if defaults else "remove it"
            problems.append(Problem("model.option", key, f"an option of {spec.arch}", repr(option), fix))
        elif not _same_type(value, defaults[option]):
            expected = f"a value like {defaults[option]!r}"
            problems.append(Problem("model.option", f"{key}.{option}", expected, repr(value), "change the value"))
    return problems


def _same_type(value: Any, default: Any) -> bool:
    """Whether `value` has the type of `default`; a whole number can stand for any number, a sequence has values like the first one's."""
    if isinstance(default, tuple):
        return isinstance(value, list | tuple) and all(_same_type(item, default[0]) for item in value)
    return type(value) is type(default) or (type(value) is int and type(default) is float)


ENTRIES = {
    "Unet": _smp("unet"),
    "UnetPlusPlus": _smp("unetplusplus"),
    "MAnet": _smp("manet"),
    "Linknet": _smp("linknet"),
    "FPN": _smp("fpn"),
    "PSPNet": _smp("pspnet"),
    "PAN": _smp("pan", 128),
    "DeepLabV3": _smp("deeplabv3"),
    "DeepLabV3Plus": _smp("deeplabv3plus"),
    "UPerNet": _smp("upernet"),
    "Segformer": _smp("segformer"),
    "DPT": _smp("dpt"),
    "EfficientUNet": _smp_with("efficientnet-b4", "unet"),
    "SegformerB0": _smp_with("mit_b0", "segformer"),
    "SegformerB1": _smp_with("mit_b1", "segformer"),
    "SegformerB2": _smp_with("mit_b2", "segformer", decoder_segmentation_channels=768),
    "SegformerB3": _smp_with("mit_b3", "segformer", decoder_segmentation_channels=768),
    "SegformerB4": _smp_with("mit_b4", "segformer", decoder_segmentation_channels=768),
    "SegformerB5": _smp_with("mit_b5", "segformer", decoder_segmentation_channels=768),
    "FCN_ResNet50": _torchvision("fcn_resnet50"),
    "FCN_ResNet101": _torchvision("fcn_resnet101"),
    "DeepLabV3_ResNet50": _torchvision("deeplabv3_resnet50"),
    "DeepLabV3_ResNet101": _torchvision("deeplabv3_resnet101"),
    "DeepLabV3_MobileNet_V3_Large": _torchvision("deeplabv3_mobilenet_v3_large"),
    "LRASPP_MobileNet_V3_Large": _torchvision("lraspp_mobilenet_v3_large"),
    "FCN32s": _net("fcn", "FCN32s", 32),
    "FCN16s": _net("fcn", "FCN16s", 32),
    "FCN8s": _net("fcn", "FCN8s", 32),
    "DeconvNet": _net("deconvnet", "DeconvNet", 32, 224),
    "SegNet": _net("segnet", "SegNet", 1, 32),
    "DeepLabV1": _net("deeplab", "DeepLabV1", 1),
    "DeepLabV2VGG": _net("deeplab", "DeepLabV2VGG", 1),
    "DeepLabV2ResNet101": _net("deeplab", "DeepLabV2ResNet101", 1),
    "DilatedNet": _net("dilatednet", "DilatedNet", 8, 192),
    "FCDenseNet56": _net("fcdensenet", "FCDenseNet56", 1, 32),
    "FCDenseNet67": _net("fcdensenet", "FCDenseNet67", 1, 32),
    "FCDenseNet103": _net("fcdensenet", "FCDenseNet103", 1, 32),
    "UNet2015": _net("unet2015", "UNet2015", 1, 96),
    "UNet3Plus": _net("unet3plus", "UNet3Plus", 16),
    "AttentionUNet": _net("attention_unet", "AttentionUNet", 16),
    "ResUNet": _net("resunet", "ResUNet", 8),
    "HRNetW18": _net("hrnet", "HRNetW18", 32),
    "HRNetW32": _net("hrnet", "HRNetW32", 32),
    "HRNetW48": _net("hrnet", "HRNetW48", 32),
    "HRNetW18OCR": _net("hrnet", "HRNetW18OCR", 32),
    "HRNetW32OCR": _net("hrnet", "HRNetW32OCR", 32),
    "HRNetW48OCR": _net("hrnet", "HRNetW48OCR", 32),
}


def _normalised(arch: str) -> str:
    """A name without what may vary: letter case, hyphens, underscores, and `+` for `plus`."""
    return re.sub(r"[^a-z0-9]", "", arch.lower().replace("+", "plus"))


def canonical(arch: str) -> str:
    """The registered spelling of `arch`. Raises `UserError` (`model.arch`) that offers the nearest name if there is none."""
    known = {_normalised(name): name for name in ENTRIES}
    if _normalised(arch) not in known:
        raise UserError(Problem("model.arch", "params.yaml: model.arch", "a known network", repr(arch), nearest(arch, list(ENTRIES))))
    return known[_normalised(arch)]


def spec_from_params(model: ModelParams, classes: Sequence[str], exclusive: bool = False) -> ModelSpec:
    """The network that params.yaml names: its registered spelling, its encoder if it takes one, and its options.

    classes, exclusive: of the section `data`.

    Raises `UserError` (`model.arch`) for an unknown name.
    """
    arch = canonical(model.arch)
    options = next((options for name, options in model.options.items() if canonical(name) == arch), {})
    return ModelSpec(arch, model.encoder if ENTRIES[arch].takes_encoder else None, model.in_channels, list(classes), options, exclusive)


def build_model(spec: ModelSpec, weights: str | None = None) -> SegmentationModel:
    """The network of `spec`, which takes float images (N, in_channels, H, W) in 0..1 of any H, W.

    weights: null (random), "imagenet" (for its pretrained part; downloaded unless an installed package has them), or a file.
    Raises `UserError` for an unknown name (`model.arch`, `model.encoder`, `model.option`), for weights that are missing or do not fit
    (`weights.*`), and if the parts do not fit together (`model.build`).
    """
    arch = canonical(spec.arch)
    entry = ENTRIES[arch]
    built = entry.build(replace(spec, arch=arch), weights)
    divisor, min_size = built.side or entry.divisor, built.side or entry.min_size
    return SegmentationModel(built.network, divisor, min_size, built.mean, built.std, built.encoder_stages)

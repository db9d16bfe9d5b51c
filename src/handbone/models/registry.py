"""Every network that `model.arch` can name: one line each. A family's file is imported only when one of its networks is built."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from handbone.config.params import ModelParams
from handbone.models.outputs import Build, Parts
from handbone.models.spec import ModelSpec
from handbone.models.wrapper import SegmentationModel
from handbone.utils.errors import Problem, UserError, nearest


@dataclass(frozen=True)
class Entry:
    """How to build a network, what the sides of its input must be (a multiple of one number, and not below another), and whether
    `model.encoder` is its to choose.
    """

    build: Build
    multiple: int
    minimum: int
    encoder: bool


def _smp(arch: str, minimum: int = 0) -> Entry:
    """A network of segmentation-models-pytorch, with any encoder."""
    return Entry(_smp_build(arch, None, {}), 32, minimum, encoder=True)


def _preset(arch: str, encoder: str, **fixed: Any) -> Entry:
    """The same with an encoder of its own, and options that belong to it."""
    return Entry(_smp_build(arch, encoder, fixed), 32, 0, encoder=False)


def _smp_build(arch: str, own: str | None, fixed: dict[str, Any]) -> Build:
    def build(encoder: str | None, weights: str | None, in_channels: int, classes: int, options: dict[str, Any]) -> Parts:
        from handbone.models.smp import build_smp

        return build_smp(arch, own or encoder, weights, in_channels, classes, fixed | options)

    return build


def _own(file: str, name: str, multiple: int, minimum: int = 0) -> Entry:
    """The network `name` in models/nets/`file`.py."""
    return _called(f"handbone.models.nets.{file}", name, multiple, minimum)


def _library(file: str, name: str, multiple: int) -> Entry:
    """The network `name` in models/`file`.py, which wraps a library's."""
    return _called(f"handbone.models.{file}", name, multiple, 0)


def _called(module: str, name: str, multiple: int, minimum: int) -> Entry:
    """A network with its own trunk: called with in_channels, classes, the options, and weights if it has pretrained parts."""

    def build(_: str | None, weights: str | None, in_channels: int, classes: int, options: dict[str, Any]) -> Parts:
        from handbone.models.own import build_own

        return build_own(getattr(import_module(module), name), name, weights, in_channels, classes, options)

    return Entry(build, multiple, minimum, encoder=False)


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
    "EfficientUNet": _preset("unet", "efficientnet-b4"),
    "SegformerB0": _preset("segformer", "mit_b0"),
    "SegformerB1": _preset("segformer", "mit_b1"),
    "SegformerB2": _preset("segformer", "mit_b2", decoder_segmentation_channels=768),
    "SegformerB3": _preset("segformer", "mit_b3", decoder_segmentation_channels=768),
    "SegformerB4": _preset("segformer", "mit_b4", decoder_segmentation_channels=768),
    "SegformerB5": _preset("segformer", "mit_b5", decoder_segmentation_channels=768),
    "FCN_ResNet50": _library("torchvision", "fcn_resnet50", 32),
    "FCN_ResNet101": _library("torchvision", "fcn_resnet101", 32),
    "DeepLabV3_ResNet50": _library("torchvision", "deeplabv3_resnet50", 32),
    "DeepLabV3_ResNet101": _library("torchvision", "deeplabv3_resnet101", 32),
    "DeepLabV3_MobileNet_V3_Large": _library("torchvision", "deeplabv3_mobilenet_v3_large", 32),
    "LRASPP_MobileNet_V3_Large": _library("torchvision", "lraspp_mobilenet_v3_large", 32),
    "FCN32s": _own("fcn", "FCN32s", 32),
    "FCN16s": _own("fcn", "FCN16s", 32),
    "FCN8s": _own("fcn", "FCN8s", 32),
    "DeconvNet": _own("deconvnet", "DeconvNet", 32, 224),
    "SegNet": _own("segnet", "SegNet", 1, 32),
    "DeepLabV1": _own("deeplab", "DeepLabV1", 1),
    "DeepLabV2VGG": _own("deeplab", "DeepLabV2VGG", 1),
    "DeepLabV2ResNet101": _own("deeplab", "DeepLabV2ResNet101", 1),
    "DilatedNet": _own("dilatednet", "DilatedNet", 8, 192),
    "FCDenseNet56": _own("fcdensenet", "FCDenseNet56", 1, 32),
    "FCDenseNet67": _own("fcdensenet", "FCDenseNet67", 1, 32),
    "FCDenseNet103": _own("fcdensenet", "FCDenseNet103", 1, 32),
    "UNet2015": _own("unet2015", "UNet2015", 1, 96),
    "UNet3Plus": _own("unet3plus", "UNet3Plus", 16),
    "AttentionUNet": _own("attention_unet", "AttentionUNet", 16),
    "ResUNet": _own("resunet", "ResUNet", 8),
    "HRNetW18": _own("hrnet", "HRNetW18", 32),
    "HRNetW32": _own("hrnet", "HRNetW32", 32),
    "HRNetW48": _own("hrnet", "HRNetW48", 32),
    "HRNetW18OCR": _own("hrnet", "HRNetW18OCR", 32),
    "HRNetW32OCR": _own("hrnet", "HRNetW32OCR", 32),
    "HRNetW48OCR": _own("hrnet", "HRNetW48OCR", 32),
}


def _letters(arch: str) -> str:
    """What counts in a name: neither letter case nor hyphens, and + is plus."""
    return re.sub(r"[^a-z0-9]", "", arch.lower().replace("+", "plus"))


def canonical(arch: str) -> str:
    """The registered spelling of `arch`; a `UserError` offers the nearest where there is none."""
    known = {_letters(name): name for name in ENTRIES}
    if _letters(arch) not in known:
        raise UserError(Problem("model.arch", "model.arch", "a known network", repr(arch), nearest(arch, list(ENTRIES))))
    return known[_letters(arch)]


def find(arch: str) -> Entry:
    """The entry of `arch`, however it is spelled."""
    return ENTRIES[canonical(arch)]


def spec_from_params(model: ModelParams, classes: Sequence[str]) -> ModelSpec:
    """The network that params.yaml names: its registered spelling, its encoder if it takes one, the options given for it."""
    arch = canonical(model.arch)
    options = next((own for name, own in model.options.items() if canonical(name) == arch), {})
    return ModelSpec(arch, model.encoder if ENTRIES[arch].encoder else None, model.in_channels, list(classes), options)


def build_model(spec: ModelSpec, weights: str | None = None) -> SegmentationModel:
    """The network of `spec`.

    weights: null (random), "imagenet" (of its pretrained part, downloaded unless an installed package carries it), or a file.
    The module takes float images in 0..1 of any H, W. Raises `UserError` for an unknown name, and if the parts do not fit together.
    """
    entry = find(spec.arch)
    parts = entry.build(spec.encoder, weights, spec.in_channels, len(spec.classes), dict(spec.options))
    return SegmentationModel(parts.network, entry.multiple, entry.minimum, parts.mean, parts.std)

"""Every network that `model.arch` can name: one line each. A family's file is imported only when one of its networks is built."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from handbone.errors import UserError, nearest
from handbone.models.parts import Build, Parts


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
    """A network with a trunk of its own: `name` in handbone/models/`file`.py, called with in_channels, classes, the options, and weights
    where it has pretrained parts.
    """

    def build(_: str | None, weights: str | None, in_channels: int, classes: int, options: dict[str, Any]) -> Parts:
        from handbone.models.own import build_own

        return build_own(getattr(import_module(f"handbone.models.{file}"), name), name, weights, in_channels, classes, options)

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
    "FCN_ResNet50": _own("torchvision", "fcn_resnet50", 32),
    "FCN_ResNet101": _own("torchvision", "fcn_resnet101", 32),
    "DeepLabV3_ResNet50": _own("torchvision", "deeplabv3_resnet50", 32),
    "DeepLabV3_ResNet101": _own("torchvision", "deeplabv3_resnet101", 32),
    "DeepLabV3_MobileNet_V3_Large": _own("torchvision", "deeplabv3_mobilenet_v3_large", 32),
    "LRASPP_MobileNet_V3_Large": _own("torchvision", "lraspp_mobilenet_v3_large", 32),
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
        raise UserError(f"model.arch: expected a known network; found {arch!r}; {nearest(arch, list(ENTRIES))}")
    return known[_letters(arch)]


def find(arch: str) -> Entry:
    """The entry of `arch`, however it is spelled."""
    return ENTRIES[canonical(arch)]

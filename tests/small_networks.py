"""Options that make networks of the registry small, for tests that compute them."""

from typing import Any

VGG: dict[str, Any] = {"widths": [16, 16, 32, 32, 32], "fc_width": 256}
UNET: dict[str, Any] = {"widths": [8, 16, 32, 64, 128]}
DENSENET: dict[str, Any] = {"stem_width": 16, "growth": 4}
SMALL: dict[str, dict[str, Any]] = {  # options that make a network small
    **dict.fromkeys(("FCN32s", "FCN16s", "FCN8s", "DeconvNet", "DeepLabV1", "DeepLabV2VGG", "DilatedNet"), VGG),
    **dict.fromkeys(("UNet2015", "AttentionUNet"), UNET),
    **dict.fromkeys(("FCDenseNet56", "FCDenseNet67", "FCDenseNet103"), DENSENET),
    "SegNet": {"widths": VGG["widths"]},
    "UNet3Plus": UNET | {"branch_width": 8},
    "ResUNet": {"widths": [16, 32, 64, 128]},
    "DeepLabV2ResNet101": {"depths": [1, 1, 2, 1]},
}

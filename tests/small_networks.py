"""Options that make networks of the registry small, for tests that compute them."""

from typing import Any

from benchmarks.onnx import NARROW

DENSENET: dict[str, Any] = {"stem_width": 16, "growth": 4}
SMALL: dict[str, dict[str, Any]] = NARROW | {
    **dict.fromkeys(("FCDenseNet56", "FCDenseNet67", "FCDenseNet103"), DENSENET),
    "ResUNet": {"widths": [16, 32, 64, 128]},
    "DeepLabV2ResNet101": {"depths": [1, 1, 2, 1]},
}

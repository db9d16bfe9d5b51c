"""`python -m benchmarks.plan`: what `handbone plan` estimates for `gpu24` on an H100, beside what was measured there (gpu.json)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from handbone.cli.preset import PRESETS, preset_params
from handbone.config.params import Params
from handbone.models.registry import build_model, spec_from_params
from handbone.models.wrapper import SegmentationModel
from handbone.planning.cards import CARDS
from handbone.planning.cost import IMAGES, RESERVED, kernel_seconds, step_cost
from handbone.planning.count import count
from handbone.training.estimate import CONTEXT
from handbone.utils.io import read_json

MEASURED = Path(__file__).with_name("gpu.json")
CARD = CARDS["h100"]


def main() -> None:
    """Print the table."""
    print("| `gpu24`, 1024 px, H100 | estimated | measured |\n|---|---:|---:|")
    for name, estimated, measured in rows():
        print(f"| {name} | {estimated:.1f} | {measured:.1f} |")


def rows() -> list[tuple[str, float, float]]:
    """What, the estimate, the measurement."""
    params = preset_params("gpu24", PRESETS)
    model = build_model(spec_from_params(params.model, params.data.classes))
    sections: dict[str, Any] = read_json(MEASURED)["sections"]
    return [*_training(model, params, sections["steps_gpu24"]), *_inference(model, sections["inference_gpu24"])]


def _training(model: SegmentationModel, params: Params, measured: dict[str, Any]) -> list[tuple[str, float, float]]:
    batch = params.train.images_per_batch
    cost = step_cost(model.train(), params, params.train.size, half=True)
    trial, peak = cost.on(CARD, True, batch), measured["with_loader"]["peak_gib"]
    reserved = (trial.memory - CONTEXT) / 2**30
    kernels = 1e3 * _kernels(cost.flops, cost.moved) * batch / IMAGES
    return [
        ("allocated memory in training, GiB", reserved / RESERVED, peak["allocated"]),
        ("reserved memory in training, GiB (calibrated)", reserved, peak["reserved"]),
        ("kernels of a training step, ms (calibrated)", kernels, measured["kernels"]["ms"]),
        ("training, images per second (calibrated)", batch / (trial.seconds or 0), measured["same_batch"]["images_per_s"]),
    ]


def _inference(model: SegmentationModel, measured: dict[str, Any]) -> list[tuple[str, float, float]]:
    """The network alone, two views of each image."""

    def forward(hollow: nn.Module) -> None:
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            hollow(torch.empty(IMAGES, 1, 1024, 1024).contiguous(memory_format=torch.channels_last))

    flops, moved, _ = count(model.eval(), forward)
    rate = IMAGES / (2 * _kernels(flops, moved))
    found = measured["mirrored"].get("network_images_per_s") or measured["network_images_per_s"]["channels_last"]  # as ea06562 named it
    return [("prediction, mirrored images per second", rate, found)]


def _kernels(flops: Any, moved: Any) -> float:
    return kernel_seconds(flops, moved, CARD.half or 0, CARD.bandwidth or 0)


if __name__ == "__main__":
    main()

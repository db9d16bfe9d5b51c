"""`python -m benchmarks.onnx [NAME ...]`: export the networks to ONNX and compare with PyTorch -> the table in docs/predict.md.

Larger versions of another network have its operators, and are exported only if they are named.
Each network is exported in a separate process, with random weights, 3 channels and 2 classes; networks with an option for their widths are
narrow, which changes no operator. The results are written after each network, so a run that was stopped resumes with the missing ones;
named networks are exported again.
"""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import count
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.table import replace_table
from handbone.models.registry import ENTRIES, build_model, canonical
from handbone.models.spec import ModelSpec
from handbone.models.wrapper import SegmentationModel
from handbone.prediction.onnx_graph import OPSET, TOLERANCE, Sides, trials, write_onnx
from handbone.utils.errors import UserError, run_cli
from handbone.utils.io import write_json

FOLDER = Path(__file__).parent
RESULTS, PAGE = FOLDER / "onnx.json", FOLDER.parent / "docs/predict.md"
HEAD = ["`model.arch`", "image", "largest difference", "rounding of PyTorch"]
ROUNDINGS = 4  # differences in units of PyTorch's own rounding that are allowed, if they are more than the tolerance
SIDE, CHANNELS, CLASSES, SPREAD = 128, 3, ["a", "b"], 2.0  # SPREAD: standard deviation of the logits
ENCODER, VIT = "resnet18", "tu-vit_tiny_patch16_224"
VGG: dict[str, Any] = {"widths": [16, 16, 32, 32, 32], "fc_width": 256}
UNET: dict[str, Any] = {"widths": [8, 16, 32, 64, 128]}
NARROW: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("FCN32s", "FCN16s", "FCN8s", "DeconvNet", "DeepLabV1", "DeepLabV2VGG", "DilatedNet"), VGG),
    **dict.fromkeys(("UNet2015", "AttentionUNet"), UNET),
    "SegNet": {"widths": VGG["widths"]},
    "UNet3Plus": UNET | {"branch_width": 8},
}
LARGER = {  # larger versions of another network, with the same operators
    **dict.fromkeys(("SegformerB1", "SegformerB2", "SegformerB3", "SegformerB4", "SegformerB5"), "SegformerB0"),
    "FCN_ResNet101": "FCN_ResNet50",
    "DeepLabV3_ResNet101": "DeepLabV3_ResNet50",
    **dict.fromkeys(("FCDenseNet67", "FCDenseNet103"), "FCDenseNet56"),
    **dict.fromkeys(("HRNetW32", "HRNetW48"), "HRNetW18"),
    **dict.fromkeys(("HRNetW32OCR", "HRNetW48OCR"), "HRNetW18OCR"),
}
Record = Mapping[str, Any]


def export(name: str) -> dict[str, Any]:
    """Export one network -> the images that the graph takes, the largest difference of a probability and PyTorch's own, or the error."""
    network, size, images = next(filter(None, map(partial(random_network, name), count())))
    rounding = rounding_of(network, images)
    try:
        with TemporaryDirectory() as folder:
            path, tolerance = Path(folder, "model.onnx"), max(TOLERANCE, ROUNDINGS * rounding)
            found = write_onnx(path, [network], CHANNELS, size, {}, tolerance=tolerance)
    except UserError as error:
        return {"error": error.problems[0].found}
    figures = {"difference": found.difference, "rounding": rounding}
    return {"image": str(found.sides), "opset": OPSET} | {name: float(f"{value:.1e}") for name, value in figures.items()}


def random_network(name: str, seed: int) -> tuple[SegmentationModel, int, Tensor] | None:
    """The network with random weights, the side of its images, and such images; None if a class has the same logit in all pixels.

    Narrow networks can have such a class: behind a ReLU nothing is left of it.
    """
    torch.manual_seed(seed)
    encoder = VIT if name == "DPT" else ENCODER if ENTRIES[name].takes_encoder else None
    network = build_model(ModelSpec(name, encoder, CHANNELS, CLASSES, NARROW.get(name, {})))
    size = max(SIDE, network.min_size + 32)
    images = trials(CHANNELS, size, Sides(size, fixed=True))[0]
    return (network, size, images) if spread_logits(network, images) else None


@torch.no_grad()
def rounding_of(network: SegmentationModel, images: Tensor) -> float:
    """The largest difference of a probability between PyTorch's float32 and float64, which random weights can make large."""
    exact = copy.deepcopy(network).double()(images.double() / 255).sigmoid()
    return float((network(images.float() / 255).sigmoid() - exact).abs().max())


@torch.no_grad()
def spread_logits(network: SegmentationModel, images: Tensor) -> bool:
    """Put a network with random weights into eval mode with statistics and logits of a trained one's size.

    Without it, batch norm would leave activations as small as random weights make them, and all probabilities would be nearly equal.
    Returns whether the logits of every class differ between pixels.
    """
    for parameter in network.parameters():
        if parameter.dim() > 1 and not parameter.any():  # the scores of FCN start as 0
            nn.init.kaiming_normal_(parameter)
    norms = [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.momentum = 1.0  # the statistics of this batch alone
    scaled = images.float() / 255
    network.train()(scaled)
    logits = network.eval()(scaled)
    mean, std = (getattr(logits, part)((0, 2, 3), keepdim=True) for part in ("mean", "std"))
    network.register_forward_hook(lambda module, inputs, output: (output - mean) * (SPREAD / std))
    return bool(std.all())


def table(records: Mapping[str, Record]) -> str:
    """The Markdown table of all networks, as far as they are known."""
    lines = ["| " + " | ".join(HEAD) + " |", "|---|---|---:|---:|"]
    return "\n".join(lines + [f"| `{name}` | {_cells(name, records)} |" for name in ENTRIES])


def _cells(name: str, records: Mapping[str, Record]) -> str:
    record = records.get(name)
    if record is None:
        return f"as `{LARGER[name]}` | |" if name in LARGER else "not tried | |"
    if "error" in record:
        return f"not exported: {record['error']} | |"
    return f"{record['image']} | {record['difference']:.0e} | {record['rounding']:.0e}"


def main() -> None:
    """Export the missing networks, or the named ones; write the results and the table."""
    known: dict[str, Record] = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    todo = [canonical(name) for name in sys.argv[1:]] or [name for name in ENTRIES if name not in {*known, *LARGER}]
    print(f"{len(todo)} networks, opset {OPSET}, tolerance {TOLERANCE:g}; ten seconds to a minute each", file=sys.stderr)
    for position, name in enumerate(todo, 1):
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            known[name] = pool.submit(export, name).result()
        write_json(RESULTS, {name: known[name] for name in ENTRIES if name in known})
        replace_table(PAGE, table(known))
        print(f"{position}/{len(todo)} {name}: {known[name]}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    run_cli(main)

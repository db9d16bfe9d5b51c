"""The networks of all folds as one ONNX graph, from pixels to the mean of their probabilities, checked against PyTorch."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from handbone.inference.predictor import probabilities
from handbone.models.wrapper import SegmentationModel
from handbone.prediction.model_set import ModelSet
from handbone.utils.errors import Problem, UserError

FILE = "model.onnx"  # of an exported folder
PACKAGES = ("onnx", "onnxruntime", "onnxscript")  # of the extra onnx
INPUT, OUTPUT = "image", "probabilities"
OPSET = 18
TOLERANCE = 1e-4  # of a probability; the graph of stages keeps them in steps of 1/255
IN_ONE_FILE = 2**31 - 2**24  # bytes of weights; a protobuf message holds less than 2 GiB
CHOOSE = "docs/predict.md lists the networks that can be exported; handbone predict runs all of them"


class EnsembleGraph(nn.Module):
    """Pixels (N, C_in, H, W), uint8 -> the mean of the networks' probabilities (N, C, H, W), float32.

    exclusive: classes exclude each other, so that their probabilities in one pixel have the sum 1.
    """

    def __init__(self, networks: Sequence[nn.Module], exclusive: bool = False) -> None:
        super().__init__()
        self.exclusive = exclusive
        self.networks = nn.ModuleList(networks)

    def forward(self, image: Tensor) -> Tensor:
        """(N, C_in, H, W) uint8 -> (N, C, H, W) float32 in 0..1."""
        scaled = image.float() / 255
        first, *others = (probabilities(network(scaled), self.exclusive) for network in self.networks)
        return sum(others, first) / len(self.networks)


@dataclass(frozen=True)
class Sides:
    """The sides in pixels of the images that a graph takes: any from `least` on; only `least`, if `fixed`."""

    least: int
    fixed: bool

    def __str__(self) -> str:
        return f"{self.least} x {self.least}" if self.fixed else f"sides from {self.least} on"


@dataclass(frozen=True)
class OnnxFile:
    """An ONNX file that gives the probabilities of PyTorch, with at most this `difference` on the images that were tried."""

    path: Path
    sides: Sides
    difference: float


def export_onnx(found: ModelSet, networks: Sequence[SegmentationModel], folder: Path) -> OnnxFile:
    """Write the networks of `found` as the file `model.onnx` in `folder`, as `write_onnx` does, with metadata that says how to use it.

    The metadata are texts, lists as JSON: classes; thresholds, one per class, or null if the most probable class is taken; size, the
    longer side in pixels to which images are shrunk; clahe, which comes before; arch; commit, of the code; weights_sha256 by fold.
    """
    params = found.params
    decision, classes = found.decision, len(params.data.classes)
    thresholds = None if decision.exclusive else np.broadcast_to(decision.thresholds(), classes).tolist()
    values = {
        "classes": list(params.data.classes),
        "thresholds": thresholds,
        "size": params.train.size,
        "clahe": params.preprocess.clahe,
        "weights_sha256": {str(fold): found.sha256[fold] for fold in found.folders},
    }
    metadata = {name: json.dumps(value) for name, value in values.items()} | {
        "arch": params.model.arch,
        "commit": found.commit or "unknown",
    }
    return write_onnx(folder / FILE, networks, params.model.in_channels, params.train.size, metadata, params.data.exclusive)


def write_onnx(
    path: Path,
    networks: Sequence[SegmentationModel],
    channels: int,
    size: int,
    metadata: Mapping[str, str],
    exclusive: bool = False,
    tolerance: float = TOLERANCE,
) -> OnnxFile:
    """Write the mean of the networks as one graph, run it with ONNX Runtime, and compare.

    The graph has a free batch size. Height and width are free too, from the smallest side of the network on, which gives images a border
    up to the sides that it takes. Both are fixed to `size` if images of the training have no more pixels than the smallest side, and for
    networks whose operators depend on the size, such as pooling to a fixed grid. Weights of 2 GiB and more are in a second file, `path`
    with `.data`.
    channels: of the image, 1 or 3; size: longer side of the images in the training; metadata: of the model, for its users;
    exclusive: as of `EnsembleGraph`; tolerance: the largest difference of a probability.
    Raises `UserError` if PyTorch or ONNX Runtime cannot do it (`onnx.unsupported`), and for a larger difference (`onnx.difference`).
    """
    graph, least = EnsembleGraph(networks, exclusive).eval(), networks[0].min_size

    def write(sides: Sides) -> OnnxFile:
        with _quiet():
            program = _program(graph, _example(networks[0].divisor, channels, sides), sides)
        _describe(program.model, metadata)
        program.save(path, external_data=_bytes(graph) > IN_ONE_FILE)
        difference = max(largest_differences(graph, path, trials(channels, size, sides)))
        if not difference <= tolerance:
            expected = f"probabilities of ONNX Runtime within {tolerance:g} of those of PyTorch"
            raise UserError(Problem("onnx.difference", path.name, expected, f"a difference of {difference:.2g}", CHOOSE))
        return OnnxFile(path, sides, difference)

    if size > least:
        with suppress(UserError):
            return write(Sides(max(least, 1), fixed=False))
    return write(Sides(size, fixed=True))


def largest_differences(graph: nn.Module, path: Path, images: Sequence[Tensor]) -> list[float]:
    """The largest absolute difference of a probability for each batch of images, between ONNX Runtime on the CPU and PyTorch."""
    session = open_session(path)
    differences = []
    for batch in images:
        with torch.inference_mode():
            expected = graph(batch).numpy()
        try:
            (found,) = session.run([OUTPUT], {INPUT: batch.numpy()})
        except Exception as error:  # of ONNX Runtime's own types
            raise _unsupported(path.name, f"ONNX Runtime on images of {tuple(batch.shape)}", error) from None
        differences.append(float(np.abs(found - expected).max()))
    return differences


def open_session(path: Path) -> Any:
    """An inference session of ONNX Runtime on the CPU. Raises `UserError` (`onnx.unsupported`) for a graph that it cannot run."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # errors are raised, and nobody can act on its warnings
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # of ONNX Runtime's own types
        raise _unsupported(path.name, "ONNX Runtime", error) from None


def trials(channels: int, size: int, sides: Sides) -> list[Tensor]:
    """Batches of images as a network in use gets them, the largest `size`: coarse and fine noise, uint8 (N, channels, H, W)."""
    short = max(sides.least, size * 3 // 4 + 1)
    shapes = [(2, size, size)] + ([] if sides.fixed else [(1, short, size), (1, size, short), (3, sides.least, short)])
    generator = torch.Generator().manual_seed(0)
    batches = []
    for count, height, width in shapes:
        octaves = [
            torch.rand(count, channels, *(max(1, side // cell) for side in (height, width)), generator=generator) for cell in (32, 8, 1)
        ]
        noise = torch.stack([functional.interpolate(octave, (height, width), mode="bilinear") for octave in octaves]).mean(0)
        batches.append((noise * 255).to(torch.uint8))
    return batches


def _example(divisor: int, channels: int, sides: Sides) -> Tensor:
    """An image by which the graph is traced. Where sides are free, no side of it fits the network, so that the trace has the border."""
    height, width = (sides.least, sides.least) if sides.fixed else (max(sides.least, 64) + divisor * more + 1 for more in (2, 3))
    return torch.zeros(2, channels, height, width, dtype=torch.uint8)


def _program(graph: nn.Module, example: Tensor, sides: Sides) -> Any:
    free = {0: "batch"} | ({} if sides.fixed else {2: "height", 3: "width"})
    names: dict[str, Any] = {"input_names": [INPUT], "output_names": [OUTPUT], "dynamic_shapes": {INPUT: free}}
    try:
        return torch.onnx.export(graph, (example,), dynamo=True, opset_version=OPSET, verbose=False, **names)
    except Exception as error:  # of the exporter's many types
        raise _unsupported("the network", "PyTorch's exporter", error) from None


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's notes on its own parts, which nobody can act on: it logs, warns and prints."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _describe(model: Any, metadata: Mapping[str, str]) -> None:
    """Name the model for its users, and remove the exporter's notes on each node, which have paths of this machine."""
    model.producer_name, model.doc_string = "handbone", f"{INPUT}: uint8 (N, C_in, H, W); {OUTPUT}: float32 (N, C, H, W), 0..1"
    model.metadata_props.clear()
    model.metadata_props.update(metadata)
    model.graph.metadata_props.clear()
    for node in model.graph.all_nodes():
        node.metadata_props.clear()
    for function in model.functions.values():
        for node in function.all_nodes():
            node.metadata_props.clear()


def _bytes(graph: nn.Module) -> int:
    return sum(tensor.nbytes for tensor in graph.state_dict().values())


def _unsupported(place: str, tool: str, error: BaseException) -> UserError:
    while error.__cause__ is not None:  # the exporter wraps the reason in advice for its developers
        error = error.__cause__
    reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
    return UserError(Problem("onnx.unsupported", place, f"a network that {tool} can translate or run", reason[:300].rstrip("."), CHOOSE))

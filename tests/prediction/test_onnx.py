"""The ONNX graph gives the mean of the networks' probabilities, for any batch and any size, with metadata for its users."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
import torch
from benchmarks.onnx import ROUNDINGS, export
from torch import Tensor, nn

from benchmarks import onnx as every_network
from handbone.cli.app import parser
from handbone.cli.app import run as run_command
from handbone.cli.export import export_models
from handbone.config import paths
from handbone.config.params import parse_params
from handbone.evaluation.decision import Decision
from handbone.models.wrapper import SegmentationModel
from handbone.prediction import onnx_graph
from handbone.prediction.model import load_networks
from handbone.prediction.model_set import ModelSet, read_model_set
from handbone.prediction.onnx_graph import TOLERANCE, export_onnx, largest_differences, open_session, write_onnx
from imports import ROOT
from pages import section

if TYPE_CHECKING:
    from conftest import Fails

TEN = (
    "Unet", "UnetPlusPlus", "DeepLabV3Plus", "FPN", "SegformerB0", "LRASPP_MobileNet_V3_Large", "FCN8s", "SegNet", "UNet2015",
    "HRNetW18OCR",
)  # fmt: skip
Run = Callable[..., None]


def small_network(min_size: int = 0) -> SegmentationModel:
    """Two convolutions of stride 2, so that the sides must be multiples of 4, and logits that are enlarged."""
    layers = nn.Sequential(nn.Conv2d(1, 4, 3, 2, 1), nn.ReLU(inplace=True), nn.Conv2d(4, 2, 3, 2, 1))
    return SegmentationModel(layers, 4, min_size, [0.4], [0.2]).eval()


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[SegmentationModel], Path]:
    torch.manual_seed(0)
    networks = [small_network(), small_network()]
    params = parse_params(
        {
            "data": {"classes": ["Radius", "Ulna"]},
            "folds": [0, 2],
            "model": {"arch": "Unet", "in_channels": 1},
            "train": {"size": 64},
            "preprocess": {"clahe": 2.0},
        },
        "x.json",
    )
    folder = tmp_path_factory.mktemp("onnx")
    found = ModelSet(folder, params, Decision({"Radius": 0.4, "Ulna": 0.6}), {0: folder, 2: folder}, {0: "abc", 2: "def"}, "1234-dirty")
    export_onnx(found, networks, folder)
    return networks, folder / "model.onnx"


@pytest.mark.parametrize("shape", [(1, 1, 64, 64), (3, 1, 8, 9), (2, 1, 1, 1), (1, 1, 63, 130)])
def test_it_is_the_mean_of_the_probabilities_for_any_batch_and_size(written: Any, shape: tuple[int, ...]) -> None:
    networks, file = written
    image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    (found,) = open_session(file).run(None, {"image": image})
    with torch.no_grad():
        expected = torch.stack([torch.sigmoid(network(torch.from_numpy(image) / 255)) for network in networks]).mean(0)
    assert found.dtype == np.float32 and found.shape == (shape[0], 2, *shape[2:])
    assert np.abs(found - expected.numpy()).max() < 1e-6


def test_the_metadata_say_how_to_use_it_and_nothing_about_this_machine(written: Any) -> None:
    found = open_session(written[1]).get_modelmeta().custom_metadata_map
    assert {name: json.loads(found[name]) for name in ("classes", "thresholds", "size", "clahe", "weights_sha256")} == {
        "classes": ["Radius", "Ulna"],
        "thresholds": [0.4, 0.6],
        "size": 64,
        "clahe": 2.0,
        "weights_sha256": {"0": "abc", "2": "def"},
    }
    assert (found["arch"], found["commit"]) == ("Unet", "1234-dirty")
    data = written[1].read_bytes()
    assert str(ROOT).encode() not in data and b".py" not in data


def test_a_network_that_is_larger_than_the_images_of_the_training_takes_one_size(tmp_path: Path) -> None:
    network = small_network(min_size=40)
    found = write_onnx(tmp_path / "x.onnx", [network], 1, 32, {})
    assert found.sides.fixed and found.sides.least == 32
    assert open_session(found.path).get_inputs()[0].shape == ["batch", 1, 32, 32]


def test_weights_that_one_file_cannot_hold_are_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_graph, "IN_ONE_FILE", 0)
    write_onnx(tmp_path / "x.onnx", [small_network()], 1, 64, {})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.onnx", "x.onnx.data"]


def test_another_result_than_pytorchs_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: Fails) -> None:
    monkeypatch.setattr(onnx_graph, "probabilities", lambda logits, exclusive: logits.sigmoid() + torch.rand(()))
    with fails("onnx.difference", "x.onnx"):
        write_onnx(tmp_path / "x.onnx", [small_network()], 1, 64, {})


class Untranslatable(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images * torch.linalg.eigvals(images[..., :8, :8]).real.sum()


def test_a_network_that_cannot_be_translated_is_an_error(tmp_path: Path, fails: Fails) -> None:
    with fails("onnx.unsupported"):
        write_onnx(tmp_path / "x.onnx", [SegmentationModel(Untranslatable(), 1, 0, [0.4], [0.2])], 1, 64, {})


def test_without_the_packages_nothing_is_written(change_params: Run, monkeypatch: pytest.MonkeyPatch, fails: Fails) -> None:
    monkeypatch.setattr("handbone.prediction.extras.find_spec", lambda name: None)
    with fails("extra.missing", "handbone export --onnx"):
        export_models(Path("bones"), None, onnx=True)
    assert not Path("bones").exists()


@pytest.mark.slow
def test_an_exported_folder_has_it_and_the_documented_lines_use_it(finished_run: Run) -> None:
    finished_run()
    command, lines = section("docs/predict.md", "ONNX")
    run_command(**vars(parser().parse_args(command.text.split()[1:])))
    found = read_model_set(paths.LINEAGE, paths.fold_model)
    assert read_model_set(Path("bones_onnx/predict.json"), paths.fold_model).commit == found.commit
    image = cv2.imread("data/raw/test/DCM/C/c1.png", cv2.IMREAD_GRAYSCALE)
    cv2.imwrite("hand.png", image[:31, :32])
    names: dict[str, Any] = {}
    exec(lines.text, names)
    networks = onnx_graph.EnsembleGraph(list(load_networks(found).values()))
    with torch.no_grad():
        expected = networks(torch.from_numpy(image[None, None, :31, :32].copy())).numpy()
    assert np.abs(names["probabilities"] - expected).max() <= TOLERANCE and np.ptp(expected) > 0.01
    pixels = torch.from_numpy(image)[None, None]
    assert max(largest_differences(networks, Path("bones_onnx/model.onnx"), [pixels, pixels[..., :17]])) <= TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize("name", TEN)
def test_networks_of_every_family_can_be_exported(name: str) -> None:
    found = export(name)
    assert "error" not in found and found["difference"] <= max(TOLERANCE, ROUNDINGS * found["rounding"]), found


def test_the_table_equals_the_results() -> None:
    records = json.loads(every_network.RESULTS.read_text())
    assert every_network.table(records) in every_network.PAGE.read_text()

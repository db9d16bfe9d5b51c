"""Grad-CAM: the map of a network whose map is known, that of a direct computation, and the pictures of the command."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from conftest import FOLD_OF, build
from handbone.cli.cam import explain_images
from handbone.cli.export import export_models
from handbone.config import paths
from handbone.evaluation.dice import with_dice
from handbone.masks.boxed import BoxedMasks
from handbone.models.wrapper import SegmentationModel
from handbone.prediction.cam.drawing import draw_heat
from handbone.prediction.cam.grad_cam import grad_cam
from handbone.prediction.cam.layers import choose_layer
from handbone.utils.io import read_table

if TYPE_CHECKING:
    from conftest import Fails

Run = Callable[..., None]


class Known(nn.Module):
    """Two features of each cell of 4 x 4 pixels: its mean grey level, and the opposite. Only the first one raises the class."""

    def __init__(self) -> None:
        super().__init__()
        self.features, self.head = nn.Conv2d(1, 2, 4, 4, bias=False), nn.Conv2d(2, 1, 1, bias=False)
        with torch.no_grad():
            self.features.weight.copy_(torch.tensor([1.0, -1.0])[:, None, None, None].expand(2, 1, 4, 4) / 16)
            self.head.weight.copy_(torch.tensor([3.0, 0.0])[None, :, None, None])

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images))


class Convolutions(nn.Module):
    """The second convolution is followed by an activation that overwrites its map."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.deep, self.head = nn.Conv2d(1, 4, 3, 2, 1), nn.Conv2d(4, 6, 3, 2, 1), nn.Conv2d(6, 3, 1)
        self.activation = nn.ReLU(inplace=True)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.activation(self.deep(self.activation(self.stem(images)))))


def wrapped(network: nn.Module, divisor: int = 4) -> SegmentationModel:
    return SegmentationModel(network, divisor, 0, [0.0], [1.0]).eval()


def test_the_map_of_a_known_network_is_the_grey_level_of_its_cells() -> None:
    network = wrapped(Known())
    cells = torch.rand(1, 1, 3, 5)
    image = cells.repeat_interleave(4, 2).repeat_interleave(4, 3)
    layer = choose_layer(network, image, "features")
    heat = grad_cam(network, layer, image, 0, min_logit=0.0)
    expected = functional.interpolate(cells, (12, 20), mode="bilinear")[0, 0]
    assert layer.shape == (3, 5)
    assert np.allclose(heat, (expected / expected.max()).numpy(), atol=1e-6)


@pytest.mark.parametrize("quantile", [0.7, 2.0])
def test_it_is_the_sum_of_the_channels_weighted_by_their_gradient(quantile: float) -> None:
    """quantile: of the logits, above which a pixel counts as the class; 2: above all, so that all pixels count."""
    torch.manual_seed(0)
    bare, label = Convolutions(), 1
    network, image = wrapped(bare), torch.rand(1, 1, 30, 45)
    padded = functional.pad(image, (0, 3, 0, 2), mode="replicate")
    features = bare.deep(functional.relu(bare.stem(padded))).detach().requires_grad_()
    logits = functional.interpolate(bare.head(functional.relu(features)), padded.shape[2:], mode="bilinear")[0, label, :30, :45]
    limit = float(logits.detach().quantile(min(quantile, 1.0))) + (quantile > 1)
    found = logits > limit if quantile < 1 else torch.ones_like(logits, dtype=torch.bool)
    (gradient,) = torch.autograd.grad(logits[found].sum(), features)
    cam = (gradient.mean((2, 3), keepdim=True) * features).sum(1, keepdim=True).relu()
    expected = functional.interpolate(cam, padded.shape[2:], mode="bilinear")[0, 0, :30, :45].detach()
    heat = grad_cam(network, choose_layer(network, image, "deep"), image, label, limit)
    assert expected.max() > 0 and np.allclose(heat, (expected / expected.max()).numpy(), atol=1e-5)
    assert [parameter for parameter in network.parameters() if parameter.grad is not None] == []


@pytest.mark.parametrize(
    ("arch", "options", "name", "shape"),
    [
        ("Unet", {}, "encoder.layer4", (4, 4)),
        ("PSPNet", {}, "encoder.layer2", (16, 16)),  # its encoder has three stages, and its decoder pools their map further
        ("UNet3Plus", {"widths": [4, 4, 4, 4, 8], "branch_width": 4}, "down.4", (7, 8)),  # nothing of it may be pretrained
    ],
)
def test_the_deepest_map_is_that_of_the_encoders_last_stage(arch: str, options: Any, name: str, shape: tuple[int, int]) -> None:
    network = build(arch, None if options else "resnet18", in_channels=1, classes=2, **options).eval()
    found = choose_layer(network, torch.rand(1, 1, 100, 128), None)
    assert (found.name, found.shape, found.padded[1]) == (name, shape, 128)


def test_an_unknown_layer_is_an_error_that_offers_the_nearest(fails: Fails) -> None:
    with fails("cam.layer", "--layer") as caught:
        choose_layer(wrapped(Convolutions()), torch.rand(1, 1, 32, 32), "dep")
    assert "deep" in caught.value.problems[0].fix


def test_outlines_and_heat_are_drawn_where_they_are() -> None:
    dense = np.zeros((1, 80, 160), bool)
    dense[0, 20:60, 20:60] = True
    masks, heat = BoxedMasks.from_dense(dense), np.zeros((20, 40), np.float32)
    heat[5, 30] = 1
    image = np.full((40, 80), 100, np.uint8)
    picture = draw_heat(image, heat, masks, BoxedMasks.from_dense(~dense & False))
    assert picture.shape == (320, 640, 3)
    changed = (picture != 100).any(2)
    assert changed[80:240, 76:88].any(1).all() and not changed[100:220, 100:220].any()  # the left outline, and the inside of the mask
    assert picture[88, 488, 0] > 150 and not changed[250:, 300:].any()


def test_without_names_the_worst_images_are_explained_by_the_networks_that_have_not_seen_them(finished_run: Run) -> None:
    finished_run()
    explain_images([], Path("cam"), [], None, Path("models"), None)
    counts = with_dice(read_table(paths.VALIDATION_COUNTS))
    worst = counts.groupby("key")["dice"].mean().sort_values().index[:3]
    page = Path("cam/index.html").read_text()
    places = [page.index(f"<h2>{key}</h2>") for key in worst]
    assert places == sorted(places) and page.count("<h2>") == 3
    for key, place in zip(worst, places, strict=True):
        assert f"network of fold {FOLD_OF[key]}, layer encoder.model.layer" in page[place:][:400]
        for label, value in counts[counts["key"] == key].set_index("class")["dice"].items():
            assert f"<b>{value:.4f}</b>{label}" in page[place:]
            assert cv2.imread(str(Path("cam", key, f"{label}.png"))).shape[1] == 640
    assert "http" not in page.replace("http-equiv", "")


def test_pictures_are_explained_by_all_networks_of_an_exported_folder_too(finished_run: Run) -> None:
    finished_run()
    export_models(Path("bones"), None)
    picture = "data/raw/test/DCM/C/c1.png"
    explain_images([picture], Path("cam"), ["Ulna"], "encoder.model.layer1", Path("bones"), None)
    assert sorted(path.name for path in Path("cam").rglob("*.png")) == ["Ulna.png"]
    page = Path("cam/index.html").read_text()
    assert "networks of folds 0, 1, layer encoder.model.layer1" in page and "outline of the truth" not in page


def test_wrong_arguments_are_errors(finished_run: Run, fails: Fails, monkeypatch: pytest.MonkeyPatch) -> None:
    finished_run()
    export_models(Path("bones"), None)
    models, out = Path("models"), Path("cam")
    with fails("cam.image", "A/a3"):
        explain_images(["A/a3", "A/a1"], out, [], None, models, None)
    with fails("cam.image", "A/a1"):  # its images are elsewhere
        explain_images(["A/a1"], out, [], None, Path("bones"), None)
    with fails("cam.image", "IMAGES"):
        explain_images([], out, [], None, Path("bones"), None)
    Path("more").mkdir()
    for name in ("c1.png", "more/c1.png"):
        cv2.imwrite(name, np.zeros((32, 32), np.uint8))
    with fails("cam.image", "c1"):
        explain_images(["c1.png", "more/c1.png"], out, [], None, models, None)
    with fails("cam.class", "--classes"):
        explain_images([], out, ["ulna"], None, models, None)
    with fails("cam.layer"):
        explain_images([], out, [], "encoder.layer9", models, None)
    assert not out.exists()
    with fails("cam.target", "bones"):
        explain_images([], Path("bones"), [], None, models, None)
    monkeypatch.setattr("handbone.prediction.extras.find_spec", lambda name: None)
    with fails("extra.missing", "handbone cam"):
        explain_images([], out, [], None, models, None)

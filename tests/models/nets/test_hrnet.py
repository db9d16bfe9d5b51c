"""HRNetV2, with and without object-contextual representations."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from conftest import Fails
from handbone.models import connection
from handbone.models.nets import hrnet
from handbone.models.nets.hrnet import (
    HEADS,
    HRNetOCR,
    HRNetW18,
    HRNetW18OCR,
    HRNetW32,
    HRNetW32OCR,
    HRNetW48,
    HRNetW48OCR,
    RegionContext,
    region_features,
)
from handbone.models.outputs import Outputs

torch.set_num_threads(1)
TRUNK = cache(hrnet._trunk)


@pytest.fixture
def _meta(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The meta device, and one trunk of each width for all tests, as it takes long to build."""
    monkeypatch.setattr(hrnet, "_trunk", TRUNK)
    with torch.device("meta"):
        yield


@pytest.fixture(scope="module")
def classifier() -> dict[str, Tensor]:
    """The state dict of timm's classification network with random weights, with its head as in published files."""
    return dict(timm.create_model("hrnet_w18").state_dict())


@pytest.fixture
def ocr(_meta: None) -> HRNetOCR:
    return HRNetW18OCR(3, 5)


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        (HRNetW18, (9_641_119, 9_641_661, 9_643_829)),
        (HRNetW32, (29_546_515, 29_547_477, 29_551_325)),
        (HRNetW48, (65_859_379, 65_860_821, 65_866_589)),
        (HRNetW18OCR, (12_080_818, 12_082_386, 12_088_658)),
        (HRNetW32OCR, (32_953_894, 32_955_882, 32_963_834)),
        (HRNetW48OCR, (70_372_678, 70_375_146, 70_385_018)),
    ],
)
@pytest.mark.usefixtures("_meta")
def test_parameter_counts(network: type[nn.Module], expected: tuple[int, ...]) -> None:
    counts = [sum(parameter.numel() for parameter in network(3, classes).parameters()) for classes in (19, 21, 29)]
    assert tuple(counts) == expected


@pytest.mark.parametrize("network", [HRNetW18, HRNetW32, HRNetW48])
@pytest.mark.usefixtures("_meta")
def test_the_trunk_returns_its_four_branches(network: type[hrnet.HRNet]) -> None:
    branches = network(3, 2).trunk(torch.empty(1, 3, 32, 64))
    expected = [(1, factor * network.width, 32 // (4 * factor), 64 // (4 * factor)) for factor in (1, 2, 4, 8)]
    assert [tuple(branch.shape) for branch in branches] == expected


def test_branches_are_joined_from_fine_to_coarse_at_the_size_of_the_first() -> None:
    branches = [torch.rand(1, channels, size, size) for channels, size in [(2, 8), (4, 4), (8, 2), (16, 1)]]
    start = 0
    joined = hrnet._joined(branches)
    assert joined.shape == (1, 30, 8, 8)
    for branch in branches:
        stop = start + branch.shape[1]
        assert torch.equal(joined[:, start:stop], functional.interpolate(branch, (8, 8), mode="bilinear"))
        start = stop


@pytest.mark.usefixtures("_meta")
def test_logits_are_a_quarter_of_the_image() -> None:
    assert HRNetW18(3, 5)(torch.empty(2, 3, 32, 64)).shape == (2, 5, 8, 16)


def test_only_in_training_the_coarse_map_goes_to_the_loss(ocr: HRNetOCR) -> None:
    images, coarse = torch.empty(2, 3, 32, 64), []
    ocr.coarse.register_forward_hook(lambda _, __, logits: coarse.append(logits))
    outputs = ocr.train()(images)
    assert isinstance(outputs, Outputs) and outputs.logits.shape == (2, 5, 8, 16)
    assert [other.weight for other in outputs.auxiliary] == [0.4] and outputs.auxiliary[0].logits is coarse[0]
    logits = ocr.eval()(images)
    assert isinstance(logits, Tensor) and logits.shape == (2, 5, 8, 16)


def test_the_sizes_of_ocr_are_those_of_the_paper(ocr: HRNetOCR) -> None:
    convolution = ocr.pixels[0]
    assert (convolution.in_channels, convolution.out_channels, convolution.kernel_size) == (15 * 18, 512, (3, 3))
    assert [module.out_channels for module in ocr.context.query if isinstance(module, nn.Conv2d)] == [256, 256]
    assert [module.p for module in ocr.modules() if isinstance(module, nn.Dropout2d)] == [0.05]


def test_a_region_is_a_mean_over_the_pixels_weighted_by_its_map() -> None:
    pixels, coarse = torch.rand(2, 7, 4, 6), 3 * torch.randn(2, 5, 4, 6)
    regions = region_features(pixels, coarse)
    weights = coarse.flatten(2).exp() / coarse.flatten(2).exp().sum(2, keepdim=True)
    assert regions.shape == (2, 7, 5, 1)
    assert torch.allclose(regions[..., 0], torch.einsum("ncp,nkp->nck", pixels.flatten(2), weights), atol=1e-5)
    coarse[:, 2] += 4  # a class with higher logits everywhere takes nothing from the others
    assert torch.allclose(region_features(pixels, coarse), regions, atol=1e-5)


def test_attention_is_scaled_by_the_root_of_the_keys_length_and_sums_to_one_over_regions() -> None:
    torch.manual_seed(0)
    context = RegionContext(12, 16).eval()
    pixels, regions = 40 * torch.rand(2, 12, 3, 4), 40 * torch.rand(2, 12, 5, 1)

    def by_hand(scale: float) -> Tensor:
        query, key, value = context.query(pixels), context.key(regions)[..., 0], context.value(regions)[..., 0]
        attention = torch.softmax(torch.einsum("nchw,nck->nkhw", query, key) * scale, dim=1)
        return context.enlarge(torch.einsum("nkhw,nck->nchw", attention, value))

    with torch.no_grad():
        outputs = context(pixels, regions)
        assert torch.allclose(outputs, by_hand(1 / 4), rtol=1e-4, atol=1e-5)
        assert not torch.allclose(outputs, by_hand(1), rtol=1e-2)


def test_the_trunk_takes_exactly_the_tensors_of_a_file_except_its_head(classifier: dict[str, Tensor], tmp_path: Path) -> None:
    save_file(classifier, tmp_path / "w.safetensors")
    trunk = HRNetW18(3, 2, str(tmp_path / "w.safetensors")).trunk.state_dict()
    assert trunk and all(torch.equal(tensor, classifier[name]) for name, tensor in trunk.items())
    assert all(name.startswith(HEADS) for name in set(classifier) - set(trunk))


def test_a_grey_stem_is_the_sum_over_rgb_and_old_files_need_no_counters(classifier: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save({name: tensor for name, tensor in classifier.items() if not name.endswith("num_batches_tracked")}, tmp_path / "w.pth")
    stem = HRNetW18(1, 2, str(tmp_path / "w.pth")).trunk.get_parameter("conv1.weight")
    assert torch.equal(stem, classifier["conv1.weight"].sum(1, keepdim=True))


def test_all_misfits_are_one_error(classifier: dict[str, Tensor], tmp_path: Path, fails: Fails) -> None:
    wrong = dict(classifier) | {"conv2.weight": torch.zeros(3), "stage9.weight": torch.zeros(1)}
    del wrong["conv1.weight"]
    torch.save(wrong, tmp_path / "w.pth")
    with torch.device("meta"), fails("weights.mismatch") as caught:
        HRNetW18OCR(3, 2, str(tmp_path / "w.pth"))
    assert sorted(place.removeprefix(f"{tmp_path / 'w.pth'}: ") for place in caught.value.places) == [
        "conv1.weight",
        "conv2.weight",
        "stage9.weight",
    ]


def test_imagenet_is_the_file_on_hugging_face(classifier: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def load(repo: str, filename: str) -> dict[str, Tensor]:
        asked.append((repo, filename))
        return classifier

    monkeypatch.setattr(connection, "unreachable", lambda url: None)
    monkeypatch.setattr(timm.models, "load_state_dict_from_hf", load)
    assert torch.equal(HRNetW18(3, 2, "imagenet").trunk.get_parameter("conv1.weight"), classifier["conv1.weight"])
    assert asked == [("timm/hrnet_w18.ms_in1k", "model.safetensors")]


def test_without_a_connection_the_error_says_what_to_download_and_where_to_put_it(monkeypatch: pytest.MonkeyPatch, fails: Fails) -> None:
    monkeypatch.setattr(connection, "is_cached", lambda url: False)
    monkeypatch.setattr(connection, "unreachable", lambda url: "no answer")
    with torch.device("meta"), fails("weights.download", "model.weights") as caught:
        HRNetW18(3, 2, "imagenet")
    fix = caught.value.problems[0].fix
    assert "https://huggingface.co/timm/hrnet_w18.ms_in1k/resolve/main/model.safetensors" in fix
    assert "hrnet_w18.ms_in1k.safetensors and set model.weights=hrnet_w18.ms_in1k.safetensors" in fix and "model.weights=null" in fix

"""U-Net 2015: convolutions without padding on a mirrored image, and logits for every pixel."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from conftest import build
from handbone.models.nets.unet2015 import UNet2015

torch.set_num_threads(1)
THIN = (2, 4, 8, 16, 32)


@pytest.fixture
def network() -> UNet2015:
    torch.manual_seed(0)
    return UNet2015(in_channels=1, classes=2, widths=THIN).double().eval()


def test_parameter_counts() -> None:
    with torch.device("meta"):
        for padding, expected in [("valid", (31_033_045, 31_033_565)), ("same", (31_044_821, 31_045_341))]:
            for classes, count in zip((21, 29), expected, strict=True):
                assert sum(parameter.numel() for parameter in UNet2015(3, classes, padding).parameters()) == count
        assert sum(parameter.numel() for parameter in UNet2015(1, 2).parameters()) == 31_030_658


def test_no_pixel_moves_at_any_size_from_96_on(monkeypatch: pytest.MonkeyPatch, network: UNet2015) -> None:
    def crop(padded: Tensor) -> Tensor:
        assert all((side - 188) % 16 == 0 and side >= 188 for side in padded.shape[2:])  # what convolutions without padding divide evenly
        return padded[..., 92:-92, 92:-92]

    monkeypatch.setattr(network, "inner", crop)
    for side in range(96, 140):
        images = torch.rand(1, 1, side, 235 - side).double()
        assert torch.equal(network(images), images)


@pytest.mark.parametrize("side", [93, 94, 95])
def test_smaller_images_have_too_few_pixels_to_mirror(network: UNet2015, side: int) -> None:
    with pytest.raises(RuntimeError, match="Padding size"):
        network(torch.rand(1, 1, side, 100))


@torch.no_grad()
def test_the_border_sees_the_mirrored_image(network: UNet2015) -> None:
    images = torch.rand(1, 1, 100, 97).double()  # 97 needs 3 more pixels: one before, two after
    mirrored = np.pad(images.numpy(), [(0, 0), (0, 0), (92, 92), (93, 94)], mode="reflect")
    torch.testing.assert_close(network(images), network.inner(torch.from_numpy(mirrored))[..., 1:98])


@torch.no_grad()
def test_a_tile_has_the_logits_of_its_place_in_a_larger_image(network: UNet2015) -> None:
    large = torch.rand(1, 1, 204, 204).double()
    whole = network.inner(large)
    assert whole.shape == (1, 2, 20, 20)
    tile = network.inner(large[..., 16:, :188])
    torch.testing.assert_close(tile, whole[..., 16:, :4])


@torch.no_grad()
def test_skips_are_cropped_at_their_centre(network: UNet2015) -> None:
    mirrored = UNet2015(1, 2, widths=THIN).double().eval()
    mirrored.load_state_dict({name: tensor.flip(2, 3) if tensor.dim() == 4 else tensor for name, tensor in network.state_dict().items()})
    images = torch.rand(1, 1, 188, 188).double()
    torch.testing.assert_close(mirrored.inner(images.flip(2, 3)).flip(2, 3), network.inner(images))


@pytest.mark.parametrize("padding", ["valid", "same"])
def test_the_two_deepest_levels_end_with_dropout(padding: str) -> None:
    with torch.device("meta"):
        network = UNet2015(1, 2, padding)
        seen: list[int] = []
        network.dropout.register_forward_hook(lambda module, inputs, output: seen.append(output.shape[1]))
        concatenated: list[int] = []
        network.up[0].register_forward_pre_hook(lambda module, inputs: concatenated.append(inputs[0].shape[1]))
        network(torch.rand(1, 1, 100, 100))
    assert network.dropout.p == 0.5
    assert seen == [512, 1024] and concatenated == [1024]


@pytest.mark.parametrize("padding", ["valid", "same"])
@torch.no_grad()
def test_dropout_affects_both_the_way_down_and_the_skip(padding: str) -> None:
    """Dropout fills its n-th input with n; all other maps keep their many values."""
    network = UNet2015(1, 2, padding, THIN)
    seen: dict[str, Tensor] = {}
    marks = iter((1.0, 2.0))
    network.dropout.register_forward_hook(lambda _, inputs, output: torch.full_like(output, next(marks)))
    for kind in ("down", "up", "fuse"):
        for index, module in enumerate(getattr(network, kind)):
            module.register_forward_pre_hook(lambda _, inputs, name=f"{kind} {index}": seen.update({name: inputs[0]}))
    network(torch.rand(1, 1, 96, 96))
    across = [seen[f"fuse {index}"].chunk(2, 1)[0] for index in range(4)]
    assert seen["down 4"].eq(1).all() and across[0].eq(1).all() and seen["up 0"].eq(2).all()
    assert all(len(maps.unique()) > 9 for maps in (*across[1:], *(seen[f"down {level}"] for level in range(4))))


def test_only_the_same_variant_is_normalised() -> None:
    with torch.device("meta"):
        norms = [sum(isinstance(module, nn.BatchNorm2d) for module in UNet2015(1, 2, padding).modules()) for padding in ("valid", "same")]
    assert norms == [0, 18]


def test_weights_keep_the_variance_through_relus() -> None:
    network = UNet2015(1, 2)
    assert network.down[4][0].weight.std().item() == pytest.approx(math.sqrt(2 / (9 * 512)), rel=0.01)
    assert network.up[0].weight.std().item() == pytest.approx(math.sqrt(2 / 1024), rel=0.01)  # one tap reaches each pixel
    assert not any(parameter.any() for name, parameter in network.named_parameters() if name.endswith("bias"))


@torch.no_grad()
def test_odd_sizes_keep_their_size() -> None:
    for padding, size in [("valid", (96, 101)), ("same", (97, 110)), ("same", (31, 40))]:
        model = build("UNet2015", in_channels=1, classes=2, padding=padding, widths=THIN).eval()
        assert model(torch.rand(1, 1, *size)).shape == (1, 2, *size)

"""The wrapper: what a network gets of an image, and what becomes of its output."""

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from handbone.models.outputs import Auxiliary, Outputs
from handbone.models.wrapper import SegmentationModel

torch.set_num_threads(1)
MEAN, STD = (0.5, 0.25, 0.125), (0.5, 0.25, 2.0)


class Recording(nn.Module):
    """Records its inputs, and returns a given answer or the input."""

    def __init__(self, answer: Tensor | Outputs | None = None) -> None:
        super().__init__()
        self.answer = answer
        self.seen: list[Tensor] = []

    def forward(self, inputs: Tensor) -> Tensor | Outputs:
        self.seen.append(inputs)
        return inputs if self.answer is None else self.answer


def wrapped(network: nn.Module, channels: int = 1, divisor: int = 1, min_size: int = 0) -> SegmentationModel:
    """Without any normalisation."""
    return SegmentationModel(network, divisor, min_size, [0.0] * channels, [1.0] * channels)


def enlarged(maps: Tensor, height: int, width: int) -> Tensor:
    """(N, C, h, w) -> (N, C, height, width) by OpenCV: bilinear between the centres of the pixels."""
    outputs = [[cv2.resize(channel, (width, height), interpolation=cv2.INTER_LINEAR) for channel in image] for image in maps.numpy()]
    return torch.from_numpy(np.array(outputs))


@pytest.mark.parametrize(
    ("divisor", "min_size", "padded"),
    [(1, 0, (5, 7)), (4, 0, (8, 8)), (5, 0, (5, 10)), (1, 6, (6, 7)), (1, 12, (12, 12)), (4, 8, (8, 8)), (4, 12, (12, 12))],
)
def test_the_network_gets_the_normalised_image_with_its_last_pixels_repeated_below_and_at_the_right(
    divisor: int, min_size: int, padded: tuple[int, int]
) -> None:
    network, images = Recording(), torch.rand(2, 3, 5, 7)
    SegmentationModel(network, divisor, min_size, MEAN, STD)(images)
    normalised = (images.numpy() - np.float32(MEAN).reshape(3, 1, 1)) / np.float32(STD).reshape(3, 1, 1)
    expected = np.pad(normalised, [(0, 0), (0, 0), (0, padded[0] - 5), (0, padded[1] - 7)], mode="edge")
    np.testing.assert_allclose(network.seen[0].numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize("min_size", [0, 16])
def test_a_network_that_changes_nothing_returns_the_pixels_of_the_image(min_size: int) -> None:
    images = torch.rand(2, 1, 5, 7)
    assert torch.equal(wrapped(Recording(), divisor=4, min_size=min_size)(images), images)


def test_a_map_of_a_quarter_is_enlarged_to_the_padded_size_bilinearly_between_centres_and_then_cropped() -> None:
    maps = torch.rand(2, 3, 3, 4)
    logits = wrapped(Recording(maps), divisor=4)(torch.rand(2, 1, 10, 13))
    torch.testing.assert_close(logits, enlarged(maps, 12, 16)[..., :10, :13])


def test_auxiliary_maps_are_enlarged_and_cropped_in_training_and_dropped_otherwise() -> None:
    main, half = torch.rand(2, 3, 12, 16), torch.rand(2, 3, 6, 8)
    model = wrapped(Recording(Outputs(main, (Auxiliary(half, 0.4), Auxiliary(main, 0.7)))), divisor=4)
    images = torch.rand(2, 1, 10, 13)
    outputs = model.train()(images)
    assert isinstance(outputs, Outputs) and [other.weight for other in outputs.auxiliary] == [0.4, 0.7]
    torch.testing.assert_close(outputs.auxiliary[0].logits, enlarged(half, 12, 16)[..., :10, :13])
    assert all(torch.equal(logits, main[..., :10, :13]) for logits in (outputs.logits, outputs.auxiliary[1].logits))
    evaluated = model.eval()(images)
    assert isinstance(evaluated, Tensor) and torch.equal(evaluated, main[..., :10, :13])


def test_auxiliary_outputs_that_are_not_maps_are_unchanged() -> None:
    """(2, 3) is not a map to crop to one row and two columns."""
    presence = torch.rand(2, 3)
    outputs = wrapped(Recording(Outputs(torch.rand(2, 3, 4, 4), (Auxiliary(presence, 1.0),))), divisor=4)(torch.rand(2, 1, 1, 2))
    assert torch.equal(outputs.auxiliary[0].logits, presence)


def norm() -> nn.BatchNorm2d:
    """Batch norm of one channel with a running mean of 3 and standard deviation of 2."""
    layer = nn.BatchNorm2d(1, eps=0.0)
    layer.running_mean.fill_(3.0)
    layer.running_var.fill_(4.0)
    return layer


def test_running_statistics_normalise_a_single_value_per_channel_and_stay_the_same() -> None:
    layer = norm()
    outputs = wrapped(layer).train()(torch.full((1, 1, 1, 1), 5.0))
    assert outputs.item() == 1.0 and layer.running_mean.item() == 3.0 and layer.running_var.item() == 4.0
    assert layer.training


def test_after_a_single_value_the_next_batch_is_normalised_by_batch_statistics() -> None:
    layer = norm()
    model = wrapped(layer).train()
    model(torch.full((1, 1, 1, 1), 5.0))
    assert model(torch.tensor([7.0, 9.0]).view(2, 1, 1, 1)).flatten().tolist() == [-1.0, 1.0]
    assert layer.running_mean.item() == pytest.approx(0.9 * 3 + 0.1 * 8)


def test_batch_norm_is_in_training_mode_after_an_error() -> None:
    layer = norm()
    with pytest.raises(RuntimeError, match="running_mean"):
        wrapped(layer, channels=5).train()(torch.rand(1, 5, 1, 1))
    assert layer.training


def test_batch_norm_in_eval_mode_stays_in_eval_mode() -> None:
    layer = norm()
    wrapped(layer).eval()(torch.full((1, 1, 1, 1), 5.0))
    assert not layer.training


def test_stages_list_the_parameters_by_name() -> None:
    network = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Conv2d(2, 2, 3), *(nn.Identity() for _ in range(7)), nn.Conv2d(2, 2, 1)
    )
    model = SegmentationModel(network, 1, 0, [0.0], [1.0], encoder_stages=[["0.", "1."], ["2."]])
    assert model.encoder_stages == [
        ["network.0.weight", "network.0.bias", "network.1.weight", "network.1.bias"],
        ["network.2.weight", "network.2.bias"],
    ]
    assert wrapped(network).encoder_stages == []

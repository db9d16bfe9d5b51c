"""The wrapper: what a network sees of an image, and what becomes of what it says."""

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
    """Keeps what it is given, and says what it is told to, or gives back the same."""

    def __init__(self, answer: Tensor | Outputs | None = None) -> None:
        super().__init__()
        self.answer = answer
        self.seen: list[Tensor] = []

    def forward(self, inputs: Tensor) -> Tensor | Outputs:
        self.seen.append(inputs)
        return inputs if self.answer is None else self.answer


def wrapped(network: nn.Module, channels: int = 1, multiple: int = 1, minimum: int = 0) -> SegmentationModel:
    """Without any normalisation."""
    return SegmentationModel(network, multiple, minimum, [0.0] * channels, [1.0] * channels)


def enlarged(maps: Tensor, height: int, width: int) -> Tensor:
    """(N, C, h, w) -> (N, C, height, width) as OpenCV does it: bilinear between the centres of the pixels."""
    found = [[cv2.resize(own, (width, height), interpolation=cv2.INTER_LINEAR) for own in image] for image in maps.numpy()]
    return torch.from_numpy(np.array(found))


@pytest.mark.parametrize(
    ("multiple", "minimum", "padded"),
    [(1, 0, (5, 7)), (4, 0, (8, 8)), (5, 0, (5, 10)), (1, 6, (6, 7)), (1, 12, (12, 12)), (4, 8, (8, 8)), (4, 12, (12, 12))],
)
def test_the_network_sees_the_image_normalised_and_its_last_pixels_repeated_below_and_at_the_right(
    multiple: int, minimum: int, padded: tuple[int, int]
) -> None:
    network, images = Recording(), torch.rand(2, 3, 5, 7)
    SegmentationModel(network, multiple, minimum, MEAN, STD)(images)
    normalised = (images.numpy() - np.float32(MEAN).reshape(3, 1, 1)) / np.float32(STD).reshape(3, 1, 1)
    expected = np.pad(normalised, [(0, 0), (0, 0), (0, padded[0] - 5), (0, padded[1] - 7)], mode="edge")
    np.testing.assert_allclose(network.seen[0].numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize("minimum", [0, 16])
def test_a_network_that_changes_nothing_gives_back_the_images_own_pixels(minimum: int) -> None:
    images = torch.rand(2, 1, 5, 7)
    assert torch.equal(wrapped(Recording(), multiple=4, minimum=minimum)(images), images)


def test_a_map_of_a_quarter_is_enlarged_to_the_padded_size_bilinearly_between_centres_and_then_cropped() -> None:
    maps = torch.rand(2, 3, 3, 4)
    logits = wrapped(Recording(maps), multiple=4)(torch.rand(2, 1, 10, 13))
    torch.testing.assert_close(logits, enlarged(maps, 12, 16)[..., :10, :13])


def test_auxiliary_maps_are_fitted_in_training_and_left_out_otherwise() -> None:
    main, half = torch.rand(2, 3, 12, 16), torch.rand(2, 3, 6, 8)
    model = wrapped(Recording(Outputs(main, (Auxiliary(half, 0.4), Auxiliary(main, 0.7)))), multiple=4)
    images = torch.rand(2, 1, 10, 13)
    found = model.train()(images)
    assert isinstance(found, Outputs) and [own.weight for own in found.auxiliary] == [0.4, 0.7]
    torch.testing.assert_close(found.auxiliary[0].logits, enlarged(half, 12, 16)[..., :10, :13])
    assert all(torch.equal(logits, main[..., :10, :13]) for logits in (found.logits, found.auxiliary[1].logits))
    evaluated = model.eval()(images)
    assert isinstance(evaluated, Tensor) and torch.equal(evaluated, main[..., :10, :13])


def test_auxiliary_outputs_that_are_no_maps_are_left_alone() -> None:
    """Two images of three classes are not to be cropped to the single row and the two columns of the images."""
    presence = torch.rand(2, 3)
    found = wrapped(Recording(Outputs(torch.rand(2, 3, 4, 4), (Auxiliary(presence, 1.0),))), multiple=4)(torch.rand(2, 1, 1, 2))
    assert torch.equal(found.auxiliary[0].logits, presence)


def norm() -> nn.BatchNorm2d:
    """Of one channel that was 3 on average, with a deviation of 2."""
    layer = nn.BatchNorm2d(1, eps=0.0)
    layer.running_mean.fill_(3.0)
    layer.running_var.fill_(4.0)
    return layer


def test_one_value_a_channel_is_normalised_by_the_running_statistics_and_leaves_them_as_they_are() -> None:
    layer = norm()
    found = wrapped(layer).train()(torch.full((1, 1, 1, 1), 5.0))
    assert found.item() == 1.0 and layer.running_mean.item() == 3.0 and layer.running_var.item() == 4.0
    assert layer.training


def test_after_one_value_a_channel_the_next_batch_is_normalised_by_its_own_statistics() -> None:
    layer = norm()
    model = wrapped(layer).train()
    model(torch.full((1, 1, 1, 1), 5.0))
    assert model(torch.tensor([7.0, 9.0]).view(2, 1, 1, 1)).flatten().tolist() == [-1.0, 1.0]
    assert layer.running_mean.item() == pytest.approx(0.9 * 3 + 0.1 * 8)


def test_an_error_in_batch_norm_does_not_leave_it_out_of_training() -> None:
    layer = norm()
    with pytest.raises(RuntimeError, match="running_mean"):
        wrapped(layer, channels=5).train()(torch.rand(1, 5, 1, 1))
    assert layer.training


def test_batch_norm_that_is_not_training_stays_so() -> None:
    layer = norm()
    wrapped(layer).eval()(torch.full((1, 1, 1, 1), 5.0))
    assert not layer.training

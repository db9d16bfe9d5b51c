"""What is cropped on a device equals what is cropped on the host, bit for bit."""

import numpy as np
import pytest
import torch
from torch import Tensor

from handbone.inference.device_crops import bounding_boxes, crop_of_image, crop_values, launch_crops
from handbone.masks.cropped_maps import CroppedMaps


def cropped(maps: Tensor) -> list[CroppedMaps]:
    """As on a GPU, one step after the other."""
    boxes = bounding_boxes(maps).numpy()
    values = crop_values(maps, boxes)
    return [crop_of_image((maps.shape[2], maps.shape[3]), boxes, values, image) for image in range(len(maps))]


def equal(one: CroppedMaps, other: CroppedMaps) -> bool:
    same = np.array_equal(one.boxes, other.boxes) and np.array_equal(one.values, other.values)
    return one.shape == other.shape and one.boxes.dtype == other.boxes.dtype and same


def empty(images: int = 1, classes: int = 1) -> Tensor:
    return torch.zeros(images, classes, 9, 13, dtype=torch.uint8)


def pixels() -> Tensor:
    """A plane for each pixel of an image: that pixel alone."""
    return torch.eye(9 * 13, dtype=torch.uint8).view(1, -1, 9, 13)


def rectangles(images: int) -> Tensor:
    """Random values in random rectangles; some planes are empty, some full."""
    rng = np.random.default_rng(images)
    maps = empty(images, 29)
    for plane in maps.flatten(0, 1):
        (y0, y1), (x0, x1) = np.sort(rng.integers(0, 10, 2)), np.sort(rng.integers(0, 14, 2))
        plane[y0:y1, x0:x1] = torch.from_numpy(rng.integers(0, 256, (y1 - y0, x1 - x0), np.uint8))
    maps[-1, :3] = torch.tensor([0, 1, 255], dtype=torch.uint8)[:, None, None]
    return maps


@pytest.mark.parametrize(
    "maps",
    [empty(), empty(3, 4), empty(2, 0), torch.full_like(empty(2, 2), 255), pixels(), pixels().flip(1).view(9, 13, 9, 13)]
    + [rectangles(images) for images in (1, 2, 8)]
    + [rectangles(4).contiguous(memory_format=torch.channels_last), rectangles(4)[:, :, 1:-1, 2:]],
)
def test_crops_equal_those_of_the_host(maps: Tensor) -> None:
    found = cropped(maps)
    assert len(found) == len(maps)
    assert all(equal(one, CroppedMaps.from_maps(of_image.numpy())) for one, of_image in zip(found, maps, strict=True))


def test_crops_do_not_share_memory() -> None:
    """The memory that they arrive in is used for the next images."""
    maps = torch.full_like(empty(2, 2), 7)
    boxes = bounding_boxes(maps).numpy()
    values = crop_values(maps, boxes)
    found = crop_of_image((9, 13), boxes, values, 1)
    boxes[:], values[:] = 0, 0
    assert (found.dense() == 7).all()


def test_on_a_cpu_logits_are_cropped_as_they_are() -> None:
    logits = torch.randn(3, 5, 9, 13) * 6
    assert all(equal(crop(), CroppedMaps.from_logits(each.numpy())) for crop, each in zip(launch_crops(logits)(), logits, strict=True))


def test_logits_have_no_boxes() -> None:
    with pytest.raises(ValueError, match="float32"):
        bounding_boxes(torch.zeros(1, 1, 2, 2))

"""Maps cropped on the device where the network ran: only the contents of their boxes travel to the host."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from handbone.masks.cropped_maps import CroppedMaps
from handbone.models.device import copy_stream

Crop = Callable[[], CroppedMaps]  # gives the cropped maps of one image; any thread may call it


def launch_crops(maps: Tensor) -> Callable[[], list[Crop]]:
    """Maps (N, C, h, w) as a predictor returns them, perhaps not computed yet -> a function that waits for them and gives N crops.

    On a GPU the maps must be uint8. The function returns when they are computed: what was launched before `launch_crops` is then done too.
    Their contents travel beside what was launched since then, and each crop waits until they have arrived in pinned memory.
    """
    if not maps.is_cuda:
        return lambda: [partial(CroppedMaps.from_maps, of_image) for of_image in maps.numpy()]
    boxes = bounding_boxes(maps).to("cpu", non_blocking=True)
    computed = torch.cuda.current_stream().record_event()  # type: ignore[no-untyped-call]

    def crops() -> list[Crop]:
        computed.synchronize()
        return _copied(maps, boxes.numpy())

    return crops


def bounding_boxes(maps: Tensor) -> Tensor:
    """(N, C, h, w) uint8 -> (N, C, 4) int32 on the same device, as `CroppedMaps` has them: all zero for an empty map.

    A ValueError for maps of another type.
    """
    if maps.dtype != torch.uint8:
        raise ValueError(f"maps of {maps.dtype}, not uint8")
    tops, bottoms = _extent(maps.amax(3))
    lefts, rights = _extent(maps.amax(2))
    return torch.stack([tops, lefts, bottoms, rights], 2)


def crop_values(maps: Tensor, boxes: NDArray[np.int32]) -> Tensor:
    """(N, C, h, w) and their (N, C, 4) boxes -> (sum of the boxes' areas,) on the same device, one box after the other.

    It copies box by box: an index of the boxes' pixels would take eight bytes for each.
    """
    areas = _areas(boxes).tolist()
    values = maps.new_empty(sum(areas))
    contents, planes = torch.split(values, areas), maps.flatten(0, 1).unbind()
    for content, plane, (y0, x0, y1, x1) in zip(contents, planes, boxes.reshape(-1, 4).tolist(), strict=True):
        if y1 > y0:
            content.view(y1 - y0, x1 - x0).copy_(plane[y0:y1, x0:x1])
    return values


def crop_of_image(shape: tuple[int, int], boxes: NDArray[np.int32], values: Tensor, image: int) -> CroppedMaps:
    """The maps of one image, copied from the `crop_values` of N images of `shape` (h, w), in the host's memory; boxes: (N, C, 4)."""
    areas = _areas(boxes).reshape(len(boxes), -1).sum(1)
    start = int(areas[:image].sum())
    return CroppedMaps(shape, boxes[image].copy(), values[start : start + int(areas[image])].numpy().copy())


def _copied(maps: Tensor, boxes: NDArray[np.int32]) -> list[Crop]:
    """Start to copy the boxes of computed maps (N, C, h, w) to the host -> the crop of each image."""
    stream = copy_stream(maps.device)
    with torch.cuda.stream(stream):
        values = crop_values(maps, boxes).to("cpu", non_blocking=True)
        arrived = stream.record_event()  # type: ignore[no-untyped-call]
    maps.record_stream(stream)  # so that their memory is not used again before they are copied
    shape = maps.shape[2], maps.shape[3]

    def crop(image: int) -> CroppedMaps:
        arrived.synchronize()
        return crop_of_image(shape, boxes, values, image)

    return [partial(crop, image) for image in range(len(boxes))]


def _extent(occupied: Tensor) -> tuple[Tensor, Tensor]:
    """(N, C, length) uint8 -> (N, C) int32 each: the first place that is not 0, and the one after the last; 0 and 0 where all are 0."""
    length = occupied.shape[-1]
    places = torch.arange(length, dtype=torch.int32, device=occupied.device)
    found = occupied > 0
    ends = (found * (places + 1)).amax(-1)
    starts = length - (found * (length - places)).amax(-1)
    return torch.minimum(starts, ends), ends


def _areas(boxes: NDArray[np.int32]) -> NDArray[np.int64]:
    """(N, C, 4) -> (N · C,) pixels."""
    sizes = (boxes[..., 2:] - boxes[..., :2]).astype(np.int64)
    return (sizes[..., 0] * sizes[..., 1]).ravel()

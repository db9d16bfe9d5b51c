"""Run a predictor over images in batches.

Three things happen at the same time: threads read the next images, the network runs, and the maps of the last batch are cropped, on a CPU
by threads, on a GPU before they travel. Memory is bounded: a few images and a few images' maps, however many samples there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from handbone.cache.resize import UInt8Image, channels_first, resized, scaled_shape
from handbone.cache.sample import read_image
from handbone.inference.checks import LogitCheck, not_finite
from handbone.inference.device_crops import Crop, launch_crops
from handbone.inference.sliding_window import Model
from handbone.masks.cropped_maps import CroppedMaps
from handbone.models.precision import autocast_dtype
from handbone.utils.errors import raise_if_any
from handbone.utils.parallel import prefetch_map

# (N, C_in, h, w) in 0..1 -> (N, C, h, w): float32 logits, or uint8 probabilities where 255 is 1
Predictor = Callable[[Tensor], Tensor]
Key = TypeVar("Key")  # what the caller knows an image by; errors show it as text


@dataclass(frozen=True)
class InputSpec:
    """How images reach the network.

    size: the longer side in pixels, never enlarged; channels: 1 or 3, a grey image is repeated; batch_size: images; precision: as
    `train.precision`.
    """

    size: int
    channels: int
    batch_size: int
    device: torch.device
    precision: str = "auto"


def to_uint8(probs: Tensor, in_place: bool = False) -> Tensor:
    """Probabilities (N, C, h, w) in 0..1 -> uint8, where 255 is 1. in_place: they are not needed any more, and may be overwritten."""
    scaled = probs.float()
    return (scaled.mul_(255) if in_place else scaled.mul(255)).round_().to(torch.uint8)


def probabilities(logits: Tensor, exclusive: bool) -> Tensor:
    """Logits (N, C, h, w) -> probabilities: of each class alone, or with the sum 1 if classes exclude each other."""
    return logits.softmax(1) if exclusive else logits.sigmoid()


def from_model(model: Model, exclusive: bool = False) -> Predictor:
    """A model as a predictor: float32 logits on a CPU; on a GPU uint8 probabilities, as the host then receives a quarter of the bytes.

    exclusive: classes exclude each other; then uint8 probabilities everywhere, because a logit alone does not tell its probability.
    """

    def predictor(images: Tensor) -> Tensor:
        logits = model(images).float()
        return to_uint8(probabilities(logits, exclusive), in_place=True) if exclusive or logits.is_cuda else logits

    return predictor


def predict(
    predictor: Predictor, files: Mapping[str, Path], inputs: InputSpec, desc: str | None = None, check: LogitCheck | None = None
) -> Iterator[tuple[str, CroppedMaps]]:
    """Run a predictor over cached samples in batches -> (key, probabilities at the network's resolution) of each sample, in order.

    files: the npz of each sample by key. desc: the label of a progress bar; null: no bar. check: as of `predict_images`, which says more.
    """
    images = prefetch_map(lambda item: (item[0], _load(item[1], inputs)), files.items())
    predicted = predict_images(predictor, images, inputs, check)
    return iter(tqdm(predicted, total=len(files), desc=desc, unit="image", disable=desc is None))


def predict_images(
    predictor: Predictor, images: Iterable[tuple[Key, Tensor]], inputs: InputSpec, check: LogitCheck | None = None
) -> Iterator[tuple[Key, CroppedMaps]]:
    """Run a predictor over images (C_in, h, w) uint8 at the network's size -> (key, probabilities) of each, in order.

    Images of different shapes never share a batch, and a batch begins at each multiple of the batch size, so that a `share` of the samples
    is predicted in the same batches. `images` is iterated in the caller's thread, a few ahead of the results.
    check: watches the models of the predictor. Raises `UserError` (`infer.not_finite`) for a model whose logits are not finite.
    """
    crops = _crops(predictor, _batches(images, inputs.batch_size), inputs, check or LogitCheck())
    return prefetch_map(lambda keyed: (keyed[0], keyed[1]()), crops)


def share(files: Mapping[str, Path], batch_size: int, rank: int, world_size: int) -> dict[str, Path]:
    """The samples that process `rank` of `world_size` predicts: every so many whole batches, so that no bit depends on `world_size`."""
    return {key: file for index, (key, file) in enumerate(files.items()) if index // batch_size % world_size == rank}


@torch.inference_mode()
def _crops(
    predictor: Predictor, batches: Iterable[list[tuple[Key, Tensor]]], inputs: InputSpec, check: LogitCheck
) -> Iterator[tuple[Key, Crop]]:
    """The crop of each image. The next batch is launched before the host waits for the last one, so a GPU is never idle."""
    launched: Callable[[], Iterable[tuple[Key, Crop]]] | None = None
    for batch in batches:
        following = _launch(predictor, batch, inputs, check)
        if launched is not None:
            yield from launched()
        launched = following
    if launched is not None:
        yield from launched()


def _launch(
    predictor: Predictor, batch: list[tuple[Key, Tensor]], spec: InputSpec, check: LogitCheck
) -> Callable[[], Iterable[tuple[Key, Crop]]]:
    """Start the network on uint8 images (C_in, h, w) -> a function that waits for the result and gives the crop of each image.

    The function raises `UserError` if the logits of a watched model are not finite.
    """
    device, dtype = spec.device, autocast_dtype(spec.precision, spec.device)
    keys = [key for key, _ in batch]
    inputs = _stacked([image for _, image in batch], device).to(device, non_blocking=True)
    with torch.autocast(device.type, dtype, enabled=dtype is not None):
        maps = predictor(inputs.float().div_(255).contiguous(memory_format=torch.channels_last)).contiguous()
    names, sums = check.take()
    host_sums = sums.to("cpu", non_blocking=True)
    computed = launch_crops(maps)

    def crops() -> Iterable[tuple[Key, Crop]]:
        found = computed()
        raise_if_any(not_finite(names, host_sums, list(map(str, keys))), "a network cannot be used")
        return zip(keys, found, strict=True)

    return crops


def _stacked(images: Sequence[Tensor], device: torch.device) -> Tensor:
    """N images (C_in, h, w) -> (N, C_in, h, w), in pinned memory if they go to a GPU, so that the host need not wait for the copy."""
    pinned = device.type == "cuda"
    return torch.stack(list(images), out=torch.empty((len(images), *images[0].shape), dtype=images[0].dtype, pin_memory=pinned))


def _load(file: Path, inputs: InputSpec) -> Tensor:
    """The image of a cached sample -> (C_in, h, w) uint8."""
    return network_input(*read_image(file), inputs)


def network_input(image: UInt8Image, shape: tuple[int, int], inputs: InputSpec) -> Tensor:
    """An image as the cache has it, whose full resolution is `shape` (H, W) -> (C_in, h, w) uint8 at the network's size."""
    shrunk = channels_first(resized(image, scaled_shape(shape, inputs.size)))
    return torch.from_numpy(np.array(np.broadcast_to(shrunk, (inputs.channels, *shrunk.shape[1:]))))  # a copy: torch needs writable memory


def _batches(images: Iterable[tuple[Key, Tensor]], batch_size: int) -> Iterator[list[tuple[Key, Tensor]]]:
    """Consecutive images of one shape, at most `batch_size` at a time; a new batch at each multiple of it."""
    batch: list[tuple[Key, Tensor]] = []
    for index, (key, image) in enumerate(images):
        if batch and (index % batch_size == 0 or image.shape != batch[0][1].shape):
            yield batch
            batch = []
        batch.append((key, image))
    if batch:
        yield batch

"""Run a predictor over cached samples in batches.

Three things happen at the same time: threads read the next images, the network runs, and the maps of the last batch are cropped, on a CPU
by threads, on a GPU before they travel. Memory is bounded: a few images and a few images' maps, however many samples there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from handbone.cache.resize import channels_first, resized, scaled_shape
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


def from_model(model: Model) -> Predictor:
    """A model as a predictor: float32 logits on a CPU; on a GPU uint8 probabilities, as the host then receives a quarter of the bytes."""

    def predictor(images: Tensor) -> Tensor:
        logits = model(images).float()
        return to_uint8(logits.sigmoid(), in_place=True) if logits.is_cuda else logits

    return predictor


def predict(
    predictor: Predictor, files: Mapping[str, Path], inputs: InputSpec, desc: str | None = None, check: LogitCheck | None = None
) -> Iterator[tuple[str, CroppedMaps]]:
    """Run a predictor over cached samples in batches -> (key, probabilities at the network's resolution) of each sample, in order.

    files: the npz of each sample by key. desc: the label of a progress bar; null: no bar. Images of different shapes never share a batch,
    and a batch begins at each multiple of the batch size, so that a `share` of the samples is predicted in the same batches.
    check: watches the models of the predictor. Raises `UserError` (`infer.not_finite`) for a model whose logits are not finite.
    """
    images = prefetch_map(lambda file: _load(file, inputs), files.values())
    check = check or LogitCheck()
    crops = zip(files, _crops(predictor, _batches(images, inputs.batch_size), inputs, list(files), check), strict=True)
    cropped = prefetch_map(lambda keyed: (keyed[0], keyed[1]()), crops)
    return iter(tqdm(cropped, total=len(files), desc=desc, unit="image", disable=desc is None))


def share(files: Mapping[str, Path], batch_size: int, rank: int, world_size: int) -> dict[str, Path]:
    """The samples that process `rank` of `world_size` predicts: every so many whole batches, so that no bit depends on `world_size`."""
    return {key: file for index, (key, file) in enumerate(files.items()) if index // batch_size % world_size == rank}


@torch.inference_mode()
def _crops(predictor: Predictor, batches: Iterable[list[Tensor]], inputs: InputSpec, keys: list[str], check: LogitCheck) -> Iterator[Crop]:
    """The crop of each image. The next batch is launched before the host waits for the last one, so a GPU is never idle."""
    launched: Callable[[], list[Crop]] | None = None
    first = 0
    for batch in batches:
        following = _launch(predictor, _stacked(batch, inputs.device), inputs, keys[first : first + len(batch)], check)
        first += len(batch)
        if launched is not None:
            yield from launched()
        launched = following
    if launched is not None:
        yield from launched()


def _launch(predictor: Predictor, images: Tensor, spec: InputSpec, keys: list[str], check: LogitCheck) -> Callable[[], list[Crop]]:
    """Start the network on uint8 images (N, C_in, h, w) -> a function that waits for the result and gives the crop of each image.

    The function raises `UserError` if the logits of a watched model are not finite.
    """
    device, dtype = spec.device, autocast_dtype(spec.precision, spec.device)
    inputs = images.to(device, non_blocking=True)
    with torch.autocast(device.type, dtype, enabled=dtype is not None):
        maps = predictor(inputs.float().div_(255).contiguous(memory_format=torch.channels_last)).contiguous()
    names, sums = check.take()
    host_sums = sums.to("cpu", non_blocking=True)
    computed = launch_crops(maps)

    def crops() -> list[Crop]:
        found = computed()
        raise_if_any(not_finite(names, host_sums, keys), "a network cannot be used")
        return found

    return crops


def _stacked(images: Sequence[Tensor], device: torch.device) -> Tensor:
    """N images (C_in, h, w) -> (N, C_in, h, w), in pinned memory if they go to a GPU, so that the host need not wait for the copy."""
    pinned = device.type == "cuda"
    return torch.stack(list(images), out=torch.empty((len(images), *images[0].shape), dtype=images[0].dtype, pin_memory=pinned))


def _load(file: Path, inputs: InputSpec) -> Tensor:
    """The image of a cached sample -> (C_in, h, w) uint8."""
    found, shape = read_image(file)
    image = channels_first(resized(found, scaled_shape(shape, inputs.size)))
    return torch.from_numpy(np.array(np.broadcast_to(image, (inputs.channels, *image.shape[1:]))))  # a copy: torch needs writable memory


def _batches(images: Iterable[Tensor], batch_size: int) -> Iterator[list[Tensor]]:
    """Consecutive images of one shape, at most `batch_size` at a time; a new batch at each multiple of it."""
    batch: list[Tensor] = []
    for index, image in enumerate(images):
        if batch and (index % batch_size == 0 or image.shape != batch[0].shape):
            yield batch
            batch = []
        batch.append(image)
    if batch:
        yield batch

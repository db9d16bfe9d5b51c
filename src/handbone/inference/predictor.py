"""Cached samples -> probabilities, batch by batch, for whatever gives probabilities for images.

Three things go on at once: threads read the next images, the network runs, threads finish what came out of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from handbone.cache.resize import channels_first, resized, scaled_shape
from handbone.cache.sample import read_sample
from handbone.inference.quantise import to_uint8
from handbone.inference.sliding_window import Model
from handbone.masks.cropped_maps import CroppedMaps, Maps
from handbone.models.precision import autocast_dtype
from handbone.utils.parallel import prefetch_map

Predictor = Callable[[Tensor], Tensor]  # (N, C_in, h, w) in 0..1 -> (N, C, h, w) float32 logits, or uint8 probabilities, 255 for certainty


@dataclass(frozen=True)
class InputSpec:
    """How images reach the network: longer side in pixels, 1 or 3 channels, images per batch, device, and `train.precision`."""

    size: int
    channels: int
    batch_size: int
    device: torch.device
    precision: str = "auto"


def from_model(model: Model) -> Predictor:
    """The probabilities of one model, e.g. a `windowed` one."""
    return lambda images: to_uint8(model(images))


def predict(
    predictor: Predictor, files: Mapping[str, Path], inputs: InputSpec, desc: str | None = None
) -> Iterator[tuple[str, CroppedMaps]]:
    """Run a predictor over cached samples in batches -> each sample's key and its probabilities at the network's resolution, in order.

    files: the npz of each sample by key. With `desc`, a progress bar. Images of different shapes never share a batch.
    """
    images = prefetch_map(lambda file: _load(file, inputs), files.values())
    maps = zip(files, _maps(predictor, _batches(images, inputs.batch_size), inputs), strict=True)
    cropped = prefetch_map(lambda keyed: (keyed[0], CroppedMaps.from_maps(keyed[1])), maps)
    return iter(tqdm(cropped, total=len(files), desc=desc, unit="image", disable=desc is None))


@torch.inference_mode()
def _maps(predictor: Predictor, batches: Iterable[list[Tensor]], inputs: InputSpec) -> Iterator[Maps]:
    """Each image's (C, h, w) maps; a GPU has the next batch before the last one's are fetched."""
    queued: Callable[[], Tensor] | None = None
    for batch in batches:
        following = _launch(predictor, torch.stack(batch), inputs)
        if queued is not None:
            yield from queued().numpy()
        queued = following
    if queued is not None:
        yield from queued().numpy()


def _launch(predictor: Predictor, images: Tensor, spec: InputSpec) -> Callable[[], Tensor]:
    """Start the network on uint8 images -> a function that waits for the result, in the host's memory."""
    device, on_gpu = spec.device, spec.device.type == "cuda"
    dtype = autocast_dtype(spec.precision, device)
    inputs = (images.pin_memory() if on_gpu else images).to(device, non_blocking=True)
    with torch.autocast(device.type, dtype, enabled=dtype is not None):
        maps = predictor(inputs.float().div_(255).contiguous(memory_format=torch.channels_last)).contiguous()
    if not on_gpu:
        return lambda: maps
    host = maps.to("cpu", non_blocking=True)
    copied = torch.cuda.current_stream().record_event()  # type: ignore[no-untyped-call]

    def wait() -> Tensor:
        copied.synchronize()
        return host

    return wait


def _load(file: Path, inputs: InputSpec) -> Tensor:
    sample = read_sample(file)
    image = channels_first(resized(sample.image, scaled_shape(sample.shape, inputs.size)))
    return torch.from_numpy(np.array(np.broadcast_to(image, (inputs.channels, *image.shape[1:]))))  # a copy: torch wants to own it


def _batches(images: Iterator[Tensor], batch_size: int) -> Iterator[list[Tensor]]:
    batch: list[Tensor] = []
    for image in images:
        if batch and (len(batch) == batch_size or image.shape != batch[0].shape):
            yield batch
            batch = []
        batch.append(image)
    if batch:
        yield batch

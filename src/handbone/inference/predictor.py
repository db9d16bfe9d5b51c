"""Run a predictor over cached samples in batches.

Three things happen at the same time: threads read the next images, the network runs, and threads crop the maps of the last batch.
Memory is bounded: a few images and a few images' maps, however many samples there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from handbone.cache.resize import channels_first, resized, scaled_shape
from handbone.cache.sample import read_sample
from handbone.inference.checks import LogitCheck, not_finite
from handbone.inference.sliding_window import Model
from handbone.masks.cropped_maps import CroppedMaps
from handbone.models.precision import autocast_dtype
from handbone.utils.errors import raise_if_any
from handbone.utils.parallel import prefetch_map

Maps = NDArray[np.uint8] | NDArray[np.float32]
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


def to_uint8(probs: Tensor) -> Tensor:
    """Probabilities (N, C, h, w) in 0..1 -> uint8, where 255 is 1."""
    return probs.float().mul(255).round().to(torch.uint8)


def from_model(model: Model) -> Predictor:
    """A model as a predictor: float32 logits on a CPU; on a GPU uint8 probabilities, as the host then receives a quarter of the bytes."""

    def predictor(images: Tensor) -> Tensor:
        logits = model(images).float()
        return to_uint8(logits.sigmoid()) if logits.is_cuda else logits

    return predictor


def predict(
    predictor: Predictor, files: Mapping[str, Path], inputs: InputSpec, desc: str | None = None, check: LogitCheck | None = None
) -> Iterator[tuple[str, CroppedMaps]]:
    """Run a predictor over cached samples in batches -> (key, probabilities at the network's resolution) of each sample, in order.

    files: the npz of each sample by key. desc: the label of a progress bar; null: no bar. Images of different shapes never share a batch.
    check: watches the models of the predictor. Raises `UserError` (`infer.not_finite`) for a model whose logits are not finite.
    """
    images = prefetch_map(lambda file: _load(file, inputs), files.values())
    check = check or LogitCheck()
    maps = zip(files, _maps(predictor, _batches(images, inputs.batch_size), inputs, list(files), check), strict=True)
    cropped = prefetch_map(lambda keyed: (keyed[0], CroppedMaps.from_maps(keyed[1])), maps)
    return iter(tqdm(cropped, total=len(files), desc=desc, unit="image", disable=desc is None))


@torch.inference_mode()
def _maps(predictor: Predictor, batches: Iterable[list[Tensor]], inputs: InputSpec, keys: list[str], check: LogitCheck) -> Iterator[Maps]:
    """The (C, h, w) maps of each image. The next batch is launched before the host waits for the last one, so a GPU is never idle."""
    launched: Callable[[], Tensor] | None = None
    first = 0
    for batch in batches:
        following = _launch(predictor, torch.stack(batch), inputs, keys[first : first + len(batch)], check)
        first += len(batch)
        if launched is not None:
            yield from launched().numpy()
        launched = following
    if launched is not None:
        yield from launched().numpy()


def _launch(predictor: Predictor, images: Tensor, spec: InputSpec, keys: list[str], check: LogitCheck) -> Callable[[], Tensor]:
    """Start the network on uint8 images (N, C_in, h, w) -> a function that waits for the result and returns it in the host's memory.

    The function raises `UserError` if the logits of a watched model are not finite.
    """
    device, on_gpu = spec.device, spec.device.type == "cuda"
    dtype = autocast_dtype(spec.precision, device)
    inputs = (images.pin_memory() if on_gpu else images).to(device, non_blocking=True)
    with torch.autocast(device.type, dtype, enabled=dtype is not None):
        maps = predictor(inputs.float().div_(255).contiguous(memory_format=torch.channels_last)).contiguous()
    names, sums = check.take()
    host, host_sums = maps.to("cpu", non_blocking=True), sums.to("cpu", non_blocking=True)
    copied = torch.cuda.current_stream().record_event() if on_gpu else None  # type: ignore[no-untyped-call]

    def wait() -> Tensor:
        if copied is not None:
            copied.synchronize()
        raise_if_any(not_finite(names, host_sums, keys), "a network cannot be used")
        return host

    return wait


def _load(file: Path, inputs: InputSpec) -> Tensor:
    """The image of a cached sample -> (C_in, h, w) uint8."""
    sample = read_sample(file)
    image = channels_first(resized(sample.image, scaled_shape(sample.shape, inputs.size)))
    return torch.from_numpy(np.array(np.broadcast_to(image, (inputs.channels, *image.shape[1:]))))  # a copy: torch needs writable memory


def _batches(images: Iterable[Tensor], batch_size: int) -> Iterator[list[Tensor]]:
    """Consecutive images of one shape, at most `batch_size` at a time."""
    batch: list[Tensor] = []
    for image in images:
        if batch and (len(batch) == batch_size or image.shape != batch[0].shape):
            yield batch
            batch = []
        batch.append(image)
    if batch:
        yield batch

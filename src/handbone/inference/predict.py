"""Cached samples -> probabilities, batch by batch, for whatever gives probabilities for images.

Three things go on at once: threads read the next images, the network runs, threads finish what came out of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from handbone.data.cache import read_sample
from handbone.data.resize import channels_first, resized, scaled_shape
from handbone.inference.probabilities import Maps, Probabilities
from handbone.inference.quantise import compact
from handbone.inference.windows import Model
from handbone.parallel import ahead

Predictor = Callable[[Tensor], Tensor]  # (N, C_in, h, w) in 0..1 -> (N, C, h, w) float32 logits, or uint8 probabilities, 255 for certainty
Result = TypeVar("Result")


@dataclass(frozen=True)
class Feed:
    """How images reach the network: longer side in pixels, 1 or 3 channels, images in a batch, the device."""

    size: int
    channels: int
    batch_size: int
    device: torch.device


def single(model: Model) -> Predictor:
    """The probabilities of one model, e.g. a `windowed` one."""
    return lambda images: compact(model(images))


def predict(
    predictor: Predictor, files: Sequence[Path], feed: Feed, finish: Callable[[int, Probabilities], Result], desc: str | None = None
) -> Iterator[Result]:
    """`finish(index, probabilities)` for each cached sample, in order; probabilities at the network's resolution.

    `finish` is called in threads, while the network runs. With `desc`, a progress bar.
    Images of different shapes never share a batch.
    """
    images = ahead(lambda file: _load(file, feed), files)
    maps = _maps(predictor, _batches(images, feed.batch_size), feed.device)
    results = ahead(lambda numbered: finish(numbered[0], Probabilities.from_maps(numbered[1])), enumerate(maps))
    return iter(tqdm(results, total=len(files), desc=desc, unit="image", disable=desc is None))


@torch.inference_mode()
def _maps(predictor: Predictor, batches: Iterable[list[Tensor]], device: torch.device) -> Iterator[Maps]:
    """Each image's (C, h, w) maps; a GPU has the next batch before the last one's are fetched."""
    queued: Callable[[], Tensor] | None = None
    for batch in batches:
        following = _queue(predictor, torch.stack(batch), device)
        if queued is not None:
            yield from queued().numpy()
        queued = following
    if queued is not None:
        yield from queued().numpy()


def _queue(predictor: Predictor, images: Tensor, device: torch.device) -> Callable[[], Tensor]:
    """Start the network on uint8 images -> a function that waits for the result, in the host's memory."""
    on_gpu = device.type == "cuda"
    inputs = (images.pin_memory() if on_gpu else images).to(device, non_blocking=True)
    with torch.autocast(device.type, torch.bfloat16, enabled=on_gpu):
        maps = predictor(inputs.float().div_(255).contiguous(memory_format=torch.channels_last)).contiguous()
    if not on_gpu:
        return lambda: maps
    host = maps.to("cpu", non_blocking=True)
    copied = torch.cuda.current_stream().record_event()  # type: ignore[no-untyped-call]

    def wait() -> Tensor:
        copied.synchronize()
        return host

    return wait


def _load(file: Path, feed: Feed) -> Tensor:
    sample = read_sample(file)
    image = channels_first(resized(sample.image, scaled_shape(sample.shape, feed.size)))
    return torch.from_numpy(np.array(np.broadcast_to(image, (feed.channels, *image.shape[1:]))))  # a copy: torch wants to own it


def _batches(images: Iterator[Tensor], batch_size: int) -> Iterator[list[Tensor]]:
    batch: list[Tensor] = []
    for image in images:
        if batch and (len(batch) == batch_size or image.shape != batch[0].shape):
            yield batch
            batch = []
        batch.append(image)
    if batch:
        yield batch

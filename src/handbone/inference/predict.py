"""Cached samples -> probabilities, batch by batch, for whatever gives probabilities for images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from handbone.data.cache import read_sample
from handbone.data.dataset import network_image
from handbone.data.resize import scaled_shape
from handbone.inference.probabilities import Probabilities

Predictor = Callable[[Tensor], Tensor]  # (N, C_in, h, w) in 0..1 -> (N, C, h, w) probabilities


def single(model: nn.Module) -> Predictor:
    """The probabilities of one model."""
    return lambda images: model(images).sigmoid()


@torch.inference_mode()
def predict(
    predictor: Predictor, files: Sequence[Path], size: int, channels: int, batch_size: int, device: torch.device, desc: str | None = None
) -> Iterator[Probabilities]:
    """The probabilities of each cached sample, at the network's resolution: the longer side `size` pixels.

    With `desc`, a progress bar. Images of different shapes never share a batch.
    """
    images = iter(tqdm(files, desc=desc, unit="image", disable=desc is None))
    for batch in _batches((_load(file, size, channels) for file in images), batch_size):
        inputs = torch.stack(batch).to(device).float().div_(255).contiguous(memory_format=torch.channels_last)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            maps = predictor(inputs)
        for dense in maps.float().mul(255).round().to(torch.uint8).cpu().numpy():
            yield Probabilities.from_dense(dense)


def _load(file: Path, size: int, channels: int) -> Tensor:
    sample = read_sample(file)
    return torch.from_numpy(network_image(sample.image, scaled_shape(sample.shape, size), channels))


def _batches(images: Iterator[Tensor], batch_size: int) -> Iterator[list[Tensor]]:
    batch: list[Tensor] = []
    for image in images:
        if batch and (len(batch) == batch_size or image.shape != batch[0].shape):
            yield batch
            batch = []
        batch.append(image)
    if batch:
        yield batch

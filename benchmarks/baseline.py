"""The common baseline: the code that competitors usually write."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import albumentations as A
import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from handbone.dataset.layout import Sample
from handbone.training.data.augment_presets import Transform

Bytes = NDArray[np.uint8]
EPS = 1e-4


def rasterize(annotation: Path, classes: Sequence[str], shape: tuple[int, int]) -> Bytes:
    """Annotation -> (H, W, C) uint8."""
    label = np.zeros((*shape, len(classes)), np.uint8)
    for polygon in json.loads(annotation.read_text())["annotations"]:
        mask = np.zeros(shape, np.uint8)
        cv2.fillPoly(mask, [np.array(polygon["points"])], (1,))
        label[..., classes.index(polygon["label"])] = mask
    return label


def preprocess(sample: Sample, classes: Sequence[str], path: Path, with_image: bool = True) -> None:
    """The image (H, W, 3) and the masks (H, W, C) -> a compressed npz."""
    image = cv2.imread(str(sample.image))
    assert sample.annotation is not None
    mask = rasterize(sample.annotation, classes, image.shape[:2])
    arrays: dict[str, Any] = {"image": image, "mask": mask} if with_image else {"mask": mask}
    np.savez_compressed(path, **arrays)


class TrainingSet(Dataset[tuple[Tensor, Tensor]]):
    """Augmented samples straight from the files: image (3, S, S) and masks (C, S, S), float32."""

    def __init__(self, samples: Sequence[Sample], classes: Sequence[str], size: int, augment: Sequence[Transform]) -> None:
        self._samples, self._classes = samples, classes
        transforms = [getattr(A, name)(**arguments) for transform in augment for name, arguments in transform.items()]
        self._transform = A.Compose([A.Resize(size, size), *transforms])

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        sample = self._samples[index]
        image = cv2.imread(str(sample.image)).astype(np.float32) / 255.0
        assert sample.annotation is not None
        mask = rasterize(sample.annotation, self._classes, image.shape[:2])
        result = self._transform(image=image, mask=mask)
        image, mask = result["image"].transpose(2, 0, 1), result["mask"].transpose(2, 0, 1)
        return torch.from_numpy(np.ascontiguousarray(image)).float(), torch.from_numpy(np.ascontiguousarray(mask)).float()


def masks(logits: Tensor, side: int) -> Tensor:
    """(C, h, w) logits -> (C, side, side) bool."""
    upsampled = F.interpolate(logits[None], size=(side, side), mode="bilinear")[0]
    return torch.sigmoid(upsampled) > 0.5


def dice(truth: Tensor, predicted: Tensor) -> Tensor:
    """(C, H, W) float32 truth and bool predictions -> (C,) Dice."""
    truth, predicted = truth.flatten(1), predicted.flatten(1)
    both = torch.sum(truth * predicted, -1)
    return (2.0 * both + EPS) / (torch.sum(truth, -1) + torch.sum(predicted, -1) + EPS)


def encode(mask: NDArray[Any]) -> str:
    """(H, W) mask -> RLE."""
    pixels = np.concatenate([[0], mask.flatten(), [0]])
    runs = np.where(pixels[1:] != pixels[:-1])[0] + 1
    runs[1::2] -= runs[::2]
    return " ".join(str(x) for x in runs)


def decode(rle: str, height: int, width: int) -> Bytes:
    """RLE -> (H, W) uint8."""
    s = rle.split()
    starts, lengths = (np.asarray(x, dtype=int) for x in (s[0:][::2], s[1:][::2]))
    starts -= 1
    ends = starts + lengths
    image = np.zeros(height * width, dtype=np.uint8)
    for lo, hi in zip(starts, ends, strict=True):
        image[lo:hi] = 1
    return image.reshape(height, width)

"""Checks of what networks return: numbers that are not finite, and probabilities that cannot be right for a whole set of images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from handbone.inference.sliding_window import Model
from handbone.masks.cropped_maps import CroppedMaps
from handbone.utils.errors import Problem, warn


class LogitCheck:
    """Finds models whose logits are not finite. It costs one sum per call, and nothing waits for a GPU: `take` hands the sums over."""

    def __init__(self) -> None:
        self._sums: list[tuple[str, Tensor]] = []

    def watch(self, name: str, model: Model) -> Model:
        """`model`, whose logits are checked under this name, e.g. `fold 0`."""

        def watched(images: Tensor) -> Tensor:
            logits = model(images)
            self._sums.append((name, logits.sum(dtype=torch.float32)))  # finite only if every logit is
            return logits

        return watched

    def take(self) -> tuple[list[str], Tensor]:
        """The models called since the last `take`, and for each the sum of its logits, on their device."""
        sums, self._sums = self._sums, []
        return [name for name, _ in sums], torch.stack([total for _, total in sums]) if sums else torch.zeros(0)


def not_finite(names: Sequence[str], sums: Tensor, keys: Sequence[str]) -> list[Problem]:
    """A problem for each model with a sum that is not finite. keys: of the images that were predicted together."""
    faulty = dict.fromkeys(name for name, total in zip(names, sums.tolist(), strict=True) if not np.isfinite(total))
    fix = "train this model again; if train.precision is fp16, set it to no"
    samples = f"sample {keys[0]}" if len(keys) == 1 else f"a sample of {keys[0]} to {keys[-1]}"
    return [Problem("infer.not_finite", name, "finite logits", f"NaN or infinity for {samples}", fix) for name in faulty]


class MapCheck:
    """Looks at the probabilities of a whole set of images."""

    def __init__(self, classes: Sequence[str]) -> None:
        self._classes, self._images, self._soft, self._found = classes, 0, False, np.zeros(len(classes), bool)

    def add(self, maps: CroppedMaps) -> None:
        """Look at the maps of one image; threads may call it at the same time."""
        self._images += 1
        self._found |= maps.boxes[:, 2] > maps.boxes[:, 0]
        self._soft = self._soft or bool(((maps.values > 0) & (maps.values < 255)).any())

    def join(self, other: MapCheck) -> None:
        """Add what another process has seen."""
        self._images += other._images
        self._found |= other._found
        self._soft |= other._soft

    def report(self, place: str) -> None:
        """Warn if no probability of any image lies between 0 and 1, or if those of a class are 0 everywhere."""
        absent = [name for name, found in zip(self._classes, self._found, strict=True) if not found]
        fix = "check the training's curve, and that the labels and the images belong together"
        if not self._images:
            return
        if not self._soft:
            found = f"only 0 and 1 in all {self._images} images"
            warn(Problem("infer.not_soft", place, "probabilities between 0 and 1", found, fix))
        elif absent:
            found = f"none in all {self._images} images"
            warn(Problem("infer.class_absent", f"{place}: {', '.join(absent)}", "probabilities above 0 in some image", found, fix))

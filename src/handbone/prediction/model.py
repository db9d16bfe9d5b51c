"""A trained set of folds as one model: from an image to its masks, by the same steps as the graph."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import cv2
import numpy as np
from torch import Tensor

from handbone.cache.resize import UInt8Image, shrink
from handbone.config.params import SubmissionParams, mirrored_classes
from handbone.dataset.preprocess import apply_clahe
from handbone.evaluation.decision import Decision, decide
from handbone.inference.checks import LogitCheck
from handbone.inference.predictor import InputSpec, network_input, predict_images
from handbone.inference.tta import ensemble
from handbone.masks.boxed import Mask
from handbone.masks.cropped_maps import CroppedMaps
from handbone.masks.runs import RunLengthMasks
from handbone.models.device import choose_device
from handbone.models.registry import spec_from_params
from handbone.models.saved import load_folds
from handbone.models.wrapper import SegmentationModel
from handbone.prediction.model_set import ModelSet
from handbone.utils.errors import Problem, raise_if_any
from handbone.utils.parallel import prefetch_map

Key = TypeVar("Key")


@dataclass(frozen=True)
class Prepared(Generic[Key]):
    """An image as the network gets it. key: what the caller knows it by; shape: (H, W) before it shrank; pixels: (C_in, h, w) uint8."""

    key: Key
    shape: tuple[int, int]
    pixels: Tensor

    def __str__(self) -> str:
        return str(self.key)


class Model:
    """The mean of the networks of all folds, with the preprocessing, the views and the decision with which they were validated.

    classes: the names of the C masks, in order. All images of a call need not have one size. networks: by fold, in eval mode.
    """

    networks: Mapping[int, SegmentationModel]

    def __init__(self, found: ModelSet, folds: Path | None = None) -> None:
        """Load the networks onto the GPU, if there is one. folds: as of `load_networks`, which says what is raised."""
        params = self._params = found.params
        self._decision = found.decision
        networks = load_networks(found, folds)
        device = choose_device()
        self.networks = {fold: network.to(device) for fold, network in networks.items()}
        self._inputs = InputSpec(params.train.size, params.model.in_channels, params.infer.batch_size, device, params.train.precision)
        self._check = LogitCheck()
        watched = [self._check.watch(str(found.folders[fold]), network) for fold, network in self.networks.items()]
        self._predictor = ensemble(watched, params.infer, mirrored_classes(params.data.classes, params.data.mirror), params.data.exclusive)

    @property
    def classes(self) -> Sequence[str]:
        """The names of the C masks, in order."""
        return self._params.data.classes

    @property
    def decision(self) -> Decision:
        """How probabilities become masks."""
        return self._decision

    @property
    def form(self) -> SubmissionParams:
        """The format of the submission."""
        return self._params.submission

    def predict(self, image: UInt8Image) -> Mask:
        """(H, W), or (H, W, 3) RGB, uint8 -> (C, H, W) bool, the masks of `classes`.

        Raises `ValueError` for an array of another type or shape.
        """
        if image.dtype != np.uint8 or image.ndim not in (2, 3) or image.shape[2:] not in ((), (3,)) or not image.size:
            raise ValueError(f"expected a uint8 array (H, W) or (H, W, 3), found {image.dtype} {image.shape}")
        ((_, masks),) = self.masks([self.prepare("image", image)])
        return masks.boxed().dense()

    def prepare(self, key: Key, image: UInt8Image) -> Prepared[Key]:
        """An image as `predict` takes it -> what `masks` takes; any thread may call it."""
        shape = image.shape[0], image.shape[1]
        if image.ndim == 3 and np.array_equal(image[..., 0], image[..., 1]) and np.array_equal(image[..., 1], image[..., 2]):
            image = np.ascontiguousarray(image[..., 0])
        elif image.ndim == 3 and self._params.model.in_channels == 1:
            image = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)
        settings = self._params.preprocess
        cached = shrink(apply_clahe(image, settings.clahe), settings.size)
        return self.prepare_cached(key, cached, shape)

    def prepare_cached(self, key: Key, image: UInt8Image, shape: tuple[int, int]) -> Prepared[Key]:
        """An image as the cache has it, which was `shape` (H, W) before -> what `masks` takes."""
        return Prepared(key, shape, network_input(image, shape, self._inputs))

    def masks(self, images: Iterable[Prepared[Key]]) -> Iterator[tuple[Key, RunLengthMasks]]:
        """The C masks of each image at its full size, in order. A few images are in memory at a time, whatever their number.

        Raises `UserError` (`infer.not_finite`) if a network returns numbers that are not finite.
        """

        def decided(predicted: tuple[Prepared[Key], CroppedMaps]) -> tuple[Key, RunLengthMasks]:
            """The key of an image, and its masks from its probabilities."""
            image, maps = predicted
            return image.key, decide([maps], image.shape, self._decision)

        keyed = ((image, image.pixels) for image in images)
        return prefetch_map(decided, predict_images(self._predictor, keyed, self._inputs, self._check))


def load_networks(found: ModelSet, folds: Path | None = None) -> dict[int, SegmentationModel]:
    """The networks by fold, in eval mode on the CPU. folds: the table of folds, if each must be one that has not seen its fold of it.

    Raises `UserError` as `load_folds` does, and for other weights than recorded (`predict.weights`).
    """
    params, size = found.params, found.params.train.size
    spec = spec_from_params(params.model, params.data.classes, params.data.exclusive)
    side = params.infer.window_size or round(size * max(params.infer.scales))
    networks, infos = load_folds(found.folders, spec, size, side, folds)
    expected, fix = f"the weights that {found.record} names", "run dvc repro"
    others = [found.folders[info.fold] for info in infos if info.sha256 != found.sha256.get(info.fold)]
    problems = [Problem("predict.weights", str(folder), expected, "others", fix) for folder in others]
    raise_if_any(problems, "the models cannot be used")
    return networks

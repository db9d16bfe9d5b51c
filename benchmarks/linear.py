"""Whether the time per image from the cache to a submission stays the same as the number of images grows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from statistics import median

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from benchmarks.scene import SIDE, Scene
from benchmarks.table import ResultRow
from benchmarks.timing import Work, elapsed_ms, in_fork, peak_mb
from handbone.cache.resize import resized
from handbone.cache.sample import read_sample
from handbone.config.params import InferParams
from handbone.evaluation.decision import Decision, decide
from handbone.inference.predictor import InputSpec, Predictor, predict
from handbone.inference.tta import ensemble
from handbone.masks.cropped_maps import CroppedMaps
from handbone.masks.rle import encode_runs
from handbone.submission.csv import SubmissionRow, image_rows, write_submission
from handbone.utils.parallel import prefetch_map

SIZE, BATCH, KNOWN, STRIDE = 256, 2, 2, 16
DECISION = Decision(0.5)
Views = tuple[int, bool]  # models, whether the mirror image is used


class _Lookup(nn.Module):
    """In place of a network, so that everything else is timed: recognises its images, and returns the logits that belong to them."""

    def __init__(self, images: Tensor, logits: Tensor) -> None:
        """images: (K, 1, h, w) in 0..1; logits: (K, C, h, w)."""
        super().__init__()
        self._known = torch.cat([self._pixels(images), self._pixels(images.flip(-1))])
        self._logits = logits

    def _pixels(self, images: Tensor) -> Tensor:
        """(N, 1, h, w) -> (N, a few)."""
        return images[:, 0, ::STRIDE, STRIDE // 2 :: STRIDE].flatten(1)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 1, h, w) -> (N, C, h, w), mirrored if the image is."""
        nearest = torch.cdist(self._pixels(images), self._known).argmin(1).tolist()
        count = len(self._logits)
        return torch.stack([self._logits[found % count].flip(-1) if found >= count else self._logits[found] for found in nearest])


def linear(scene: Scene) -> list[ResultRow]:
    """n, 2n, 4n images; with one view, with the mirror image as well, with two models."""
    base = 4 if scene.quick else 64
    model = _model(scene)
    plans = {f"linear_{name}": (base * times, (1, False)) for name, times in (("n", 1), ("2n", 2), ("4n", 4))}
    plans |= {f"linear_{name}_flip": (base * times, (1, True)) for name, times in (("n", 1), ("2n", 2), ("4n", 4))}
    plans |= {"linear_2n_two_models": (base * 2, (2, False))}
    _work(scene, model, KNOWN, (1, False))()  # loads the kernels, so that their memory is not counted
    works = {name: _work(scene, model, images, views) for name, (images, views) in plans.items()}
    times: dict[str, list[float]] = {name: [] for name in plans}
    for _ in range(scene.rounds(2)):
        for name, work in works.items():
            times[name].append(in_fork(elapsed_ms, work))
    return [_row(name, *plans[name], median(times[name]), peak_mb(works[name])) for name in plans]


def _row(name: str, images: int, views: Views, ms: float, peak: float) -> ResultRow:
    seen = views[0] * (1 + views[1])
    note = f"{images} images, {seen} view{'s' if seen > 1 else ''}; read, look up logits, save, load, masks, RLE, CSV"
    return ResultRow(name, None, ms / images, peak, "", note)


def _model(scene: Scene) -> _Lookup:
    images = torch.stack([torch.from_numpy(resized(read_sample(file).image, (SIZE, SIZE)))[None] for file in scene.files[:KNOWN]])
    logits = avg_pool2d(torch.stack(scene.logits[:KNOWN]), scene.logits[0].shape[-1] // SIZE)
    return _Lookup(images.float() / 255, logits)


def _work(scene: Scene, model: _Lookup, images: int, views: Views) -> Work:
    models, hflip = views
    settings = InferParams(window_size=None, window_stride=None, hflip=hflip, vflip=False, scales=[1.0], crf=None, batch_size=BATCH)
    predictor = ensemble([model] * models, settings)
    files = {f"image{index}": scene.files[index % KNOWN] for index in range(images)}
    return lambda: _submit(predictor, files, scene)


def _submit(predictor: Predictor, files: Mapping[str, Path], scene: Scene) -> None:
    """What the stages `infer` and `submit` do for these images."""
    folder = scene.folder / "linear"

    def save(predicted: tuple[str, CroppedMaps]) -> None:
        key, maps = predicted
        maps.save(folder / f"{key}.npz")

    def rows(key: str) -> list[SubmissionRow]:
        masks = decide([CroppedMaps.load(folder / f"{key}.npz")], (SIDE, SIDE), DECISION)
        return image_rows(f"{key}.png", scene.classes, encode_runs(masks))

    for _ in prefetch_map(save, predict(predictor, files, InputSpec(SIZE, 1, BATCH, torch.device("cpu")))):
        pass
    write_submission(folder / "submission.csv", (row for of_image in prefetch_map(rows, files) for row in of_image))

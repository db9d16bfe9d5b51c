"""Whether the way from cached images to a submission costs the same an image, however many there are."""

from __future__ import annotations

from pathlib import Path
from statistics import median

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from benchmarks.scene import SIDE, Scene
from benchmarks.table import Row
from benchmarks.timing import Work, alone, elapsed_ms, peak_mb
from handbone.cache.resize import resized
from handbone.cache.sample import read_sample
from handbone.config.params import PredictParams
from handbone.inference.predictor import InputSpec, Predictor, predict
from handbone.inference.tta import ensemble
from handbone.masks.cropped_maps import CroppedMaps
from handbone.masks.rle import encode_runs
from handbone.masks.upsample import full_masks
from handbone.submission.csv import Row as Line
from handbone.submission.csv import image_rows, write_submission

SIZE, BATCH, KNOWN, STRIDE = 256, 2, 2, 16
Views = tuple[int, bool]  # models, mirror image


class _ByHeart(nn.Module):
    """In place of a network, so that the rest is what is timed: knows its images, and gives the logits that it was given for them."""

    def __init__(self, images: Tensor, logits: Tensor) -> None:
        """images: (K, 1, h, w) in 0..1; logits: (K, C, h, w)."""
        super().__init__()
        self._seen = torch.cat([self._brief(images), self._brief(images.flip(-1))])
        self._logits = logits

    def _brief(self, images: Tensor) -> Tensor:
        """(N, 1, h, w) -> (N, few)."""
        return images[:, 0, ::STRIDE, STRIDE // 2 :: STRIDE].flatten(1)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 1, h, w) -> (N, C, h, w), mirrored where the image is."""
        nearest = torch.cdist(self._brief(images), self._seen).argmin(1).tolist()
        known = len(self._logits)
        return torch.stack([self._logits[found % known].flip(-1) if found >= known else self._logits[found] for found in nearest])


def linear(scene: Scene) -> list[Row]:
    """n, 2n, 4n images; one view, the mirror image as well, two models."""
    base = 4 if scene.quick else 64
    model = _model(scene)
    plans = {f"linear_{name}": (base * times, (1, False)) for name, times in (("n", 1), ("2n", 2), ("4n", 4))}
    plans |= {f"linear_{name}_flip": (base * times, (1, True)) for name, times in (("n", 1), ("2n", 2), ("4n", 4))}
    plans |= {"linear_2n_two_models": (base * 2, (2, False))}
    _submit(ensemble([model], _settings(False)), scene.files[:KNOWN], scene)  # loads the kernels: their memory is not the images'
    works = {name: _work(scene, model, images, views) for name, (images, views) in plans.items()}
    times: dict[str, list[float]] = {name: [] for name in plans}
    for _ in range(scene.rounds(2)):
        for name, work in works.items():
            times[name].append(alone(elapsed_ms, work))
    return [_row(name, *plans[name], median(times[name]), peak_mb(works[name])) for name in plans]


def _row(name: str, images: int, views: Views, ms: float, peak: float) -> Row:
    seen = views[0] * (1 + views[1])
    return Row(name, None, ms / images, peak, "", f"{images} images, {seen} views; read, predict by heart, save, masks, RLE, CSV")


def _model(scene: Scene) -> _ByHeart:
    images = torch.stack([torch.from_numpy(resized(read_sample(file).image, (SIZE, SIZE)))[None] for file in scene.files[:KNOWN]])
    logits = avg_pool2d(torch.stack(scene.logits[:KNOWN]), scene.logits[0].shape[-1] // SIZE)
    return _ByHeart(images.float() / 255, logits)


def _work(scene: Scene, model: _ByHeart, images: int, views: Views) -> Work:
    predictor = ensemble([model] * views[0], _settings(views[1]))
    files = [scene.files[index % KNOWN] for index in range(images)]
    return lambda: _submit(predictor, files, scene)


def _settings(hflip: bool) -> PredictParams:
    return PredictParams(window=0, stride=0, hflip=hflip, vflip=False, scales=[1.0], crf=None, threshold=0.5, batch_size=BATCH)


def _submit(predictor: Predictor, files: list[Path], scene: Scene) -> None:
    """What the stage `infer` does, but for keeping the rows: they go straight to the file."""

    def finish(index: int, probabilities: CroppedMaps) -> list[Line]:
        probabilities.save(scene.folder / "linear" / f"{index}.npz")
        return image_rows(f"image{index}.png", scene.classes, encode_runs(full_masks(probabilities, (SIDE, SIDE), 0.5)))

    found = predict(predictor, files, InputSpec(SIZE, 1, BATCH, torch.device("cpu")), finish)
    write_submission((row for rows in found for row in rows), scene.folder / "linear.csv")

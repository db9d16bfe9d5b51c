"""From cached images to rows of the submission: images per second, and the time beyond the network's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.gpu.data import cached_files
from benchmarks.gpu.measure import NO_GPU, Utilisation, device, peak_gib, reset_peak, seconds, wait
from benchmarks.gpu.parameters import parameters
from benchmarks.gpu.record import Record
from benchmarks.gpu.runner import Setup
from handbone.cache.sample import read_masks, read_sample
from handbone.config.params import Params
from handbone.evaluation.decision import Decision, decide
from handbone.inference.predictor import InputSpec, Predictor, predict
from handbone.inference.tta import ensemble
from handbone.masks.coverage import coverage
from handbone.masks.cropped_maps import CroppedMaps
from handbone.masks.rle import encode_runs
from handbone.models.precision import autocast_dtype
from handbone.models.registry import build_model, spec_from_params
from handbone.submission.csv import image_rows
from handbone.utils.parallel import prefetch_map

ROUNDS = 6  # over the images, so that the start weighs little
FOLDER = Path("probabilities")
VIEWS: Mapping[str, Mapping[str, object]] = {
    "one_view": {"infer.hflip": False},
    "mirrored": {"infer.hflip": True},
    "mirrored_3_scales": {"infer.hflip": True, "infer.scales": [0.75, 1.0, 1.25]},
}


def inference(record: Record, setup: Setup) -> None:
    """Each setting of the views end to end, then the network alone, then the host's parts."""
    params = parameters(setup)
    files = cached_files(4 if setup.tiny else 16)
    maps = [coverage(read_masks(file), (params.train.size, params.train.size)) for file in files]
    model = build_model(spec_from_params(params.model, params.data.classes)).eval().to(device())
    for name, changes in VIEWS.items():
        with record.guard(name):
            record.put(name, _end_to_end(model, parameters(setup, changes), files, maps, 1 if setup.tiny else ROUNDS))
    with record.guard("network"):
        record.put("network_images_per_s", _network(model, params, setup.tiny))
    with record.guard("host"):
        record.put("host_ms_per_image", _host_ms(files, maps, params))


class _KnownResults:
    """Runs the predictor, and returns the true coverage in place of what its random weights give, so that the rest has real masks."""

    def __init__(self, predictor: Predictor, maps: list[CroppedMaps]) -> None:
        self._predictor, self._next = predictor, 0
        self._known = torch.from_numpy(np.stack([each.dense() for each in maps])).to(device())

    def __call__(self, images: Tensor) -> Tensor:
        self._predictor(images)
        indices = torch.arange(self._next, self._next + len(images), device=images.device) % len(self._known)
        self._next += len(images)
        return self._known[indices]


def _end_to_end(model: nn.Module, params: Params, files: list[Path], maps: list[CroppedMaps], rounds: int) -> dict[str, Any]:
    """As the stages infer and submit in one: read, predict, save, upsample, decide, encode."""
    spec = InputSpec(params.train.size, params.model.in_channels, params.infer.batch_size, device(), params.train.precision)
    by_key = {f"{index}_{file.stem}": file for index, file in enumerate(files * rounds)}
    shape, decision = read_sample(files[0]).shape, Decision(params.decide.threshold)

    def finish(predicted: tuple[str, CroppedMaps]) -> None:
        key, found = predicted
        found.save(FOLDER / f"{key}.npz")
        image_rows(f"{key}.png", params.data.classes, encode_runs(decide(found, shape, decision)))

    def run(some: Mapping[str, Path]) -> None:
        predictor = _KnownResults(ensemble([model], params.infer), maps)
        for _ in prefetch_map(finish, predict(predictor, some, spec)):
            pass

    run(dict(list(by_key.items())[: len(files)]))
    reset_peak()
    with Utilisation() as load:
        start = perf_counter()
        run(by_key)
        taken = perf_counter() - start
    return {"images_per_s": len(by_key) / taken, "gpu_percent": load.percent, "peak_gib": peak_gib()}


def _network(model: nn.Module, params: Params, tiny: bool) -> dict[str, Any]:
    """Images per second of the predictor alone, with the preset's views, as `predict` runs it and with faster settings."""
    place, size, batch = device(), params.train.size, params.infer.batch_size
    images = torch.randint(0, 256, (batch, params.model.in_channels, size, size), dtype=torch.uint8, device=place)
    predictor = ensemble([model], params.infer)

    def run(dtype: torch.dtype | None, benchmark: bool) -> float:
        torch.backends.cudnn.benchmark = benchmark
        return batch / seconds(_forward(predictor, images, dtype), 1 if tiny else 6, 0 if tiny else 2)

    dtype = autocast_dtype(params.train.precision, place)
    found: dict[str, Any] = {"as_is": run(dtype, False)}
    found["fp16"] = run(torch.float16, False) if place.type == "cuda" else {"skipped": NO_GPU}
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    found["channels_last"] = run(dtype, False)
    found["channels_last_cudnn_benchmark"] = run(dtype, True) if place.type == "cuda" else {"skipped": NO_GPU}
    return found


def _forward(predictor: Predictor, images: Tensor, dtype: torch.dtype | None) -> Callable[[], None]:
    @torch.inference_mode()
    def forward() -> None:
        with torch.autocast(images.device.type, dtype, enabled=dtype is not None):
            predictor(images.float().div_(255).contiguous(memory_format=torch.channels_last))

    return forward


def _host_ms(files: list[Path], maps: list[CroppedMaps], params: Params) -> dict[str, float]:
    """One core's work, in one thread."""
    dense = [each.dense() for each in maps]
    shape, decision = read_sample(files[0]).shape, Decision(params.decide.threshold)
    wait()
    works: dict[str, Callable[[int], object]] = {
        "read": lambda index: read_sample(files[index]),
        "crop": lambda index: CroppedMaps.from_maps(dense[index]),
        "save": lambda index: maps[index].save(FOLDER / "one.npz"),
        "decide_and_encode": lambda index: encode_runs(decide(maps[index], shape, decision)),
    }

    def each(work: Callable[[int], object]) -> None:
        for index in range(len(maps)):
            work(index)

    return {name: 1e3 * seconds(partial(each, work), 1) / len(maps) for name, work in works.items()}

"""From cached images to stored probabilities, as the stage `infer` does it: images per second, and what takes time beside the network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.gpu.data import cached_files
from benchmarks.gpu.measure import Utilisation, device, peak_gib, reset_peak, seconds, wait
from benchmarks.gpu.parameters import parameters
from benchmarks.gpu.record import Record
from benchmarks.gpu.runner import Setup
from handbone.cache.sample import read_image, read_masks
from handbone.config.params import Params
from handbone.evaluation.decision import Decision, decide
from handbone.inference.checks import LogitCheck
from handbone.inference.device_crops import launch_crops
from handbone.inference.predictor import InputSpec, Predictor, predict
from handbone.inference.sliding_window import Model
from handbone.inference.tta import ensemble
from handbone.masks.coverage import coverage
from handbone.masks.cropped_maps import CroppedMaps
from handbone.masks.rle import encode_runs
from handbone.models.precision import autocast_dtype
from handbone.models.registry import build_model, spec_from_params
from handbone.submission.csv import image_rows
from handbone.training.compilation import compiled
from handbone.utils.hashing import file_hash
from handbone.utils.io import remove_folder
from handbone.utils.parallel import prefetch_map

ROUNDS = 12  # over the images with one view, so that the start weighs little; fewer with more views
FOLDER = Path("probabilities")
VIEWS: Mapping[str, Mapping[str, object]] = {
    "one_view": {"infer.hflip": False},
    "mirrored": {"infer.hflip": True},
    "mirrored_3_scales": {"infer.hflip": True, "infer.scales": [0.75, 1.0, 1.25]},
}


def inference(record: Record, setup: Setup) -> None:
    """Each setting of the views, the network alone and end to end; the host's parts; the stages infer and submit in one."""
    params, one_view, mirrored = parameters(setup), parameters(setup, VIEWS["one_view"]), parameters(setup, VIEWS["mirrored"])
    files = cached_files(4 if setup.tiny else 16)
    known = [coverage(read_masks(file), (params.train.size, params.train.size)).dense() for file in files]
    maps = [CroppedMaps.from_dense(dense) for dense in known]  # the boxes of a coverage may have zeros at their borders
    model = build_model(spec_from_params(params.model, params.data.classes)).eval()
    model.to(device(), memory_format=torch.channels_last)  # type: ignore[call-overload]
    for name, changes in VIEWS.items():
        with record.guard(name):
            changed = parameters(setup, changes)
            alone = _network(model, changed, _rounds(changed, setup.tiny))
            whole = _end_to_end(model, changed, files, maps, _rounds(changed, setup.tiny), _store)
            record.put(name, alone | whole | {"share_beyond_network": 1 - whole["images_per_s"] / alone["network_images_per_s"]})
    with record.guard("host"):
        record.put("host_ms_per_image", _host_ms(files, maps, params))
    with record.guard("crops"):
        record.put("crops_ms_per_image", _crops_ms(np.stack(known[: params.infer.batch_size]), 1 if setup.tiny else ROUNDS))
    with record.guard("and_submit"):
        record.put("one_view_and_submit", _and_submit(model, one_view, files, maps, _rounds(one_view, setup.tiny)))
    if setup.compiled:
        with record.guard("compiled"):
            record.put("mirrored_compiled", _compiled(model, mirrored, _rounds(mirrored, setup.tiny)))


def _rounds(params: Params, tiny: bool) -> int:
    return 1 if tiny else max(2, ROUNDS // ((1 + params.infer.hflip) * len(params.infer.scales)))


class _KnownResults:
    """Runs the predictor, and returns the true coverage in place of what its random weights give, so that the rest has real masks."""

    def __init__(self, predictor: Predictor, maps: Sequence[CroppedMaps]) -> None:
        self._predictor, self._next = predictor, 0
        self._known = torch.from_numpy(np.stack([each.dense() for each in maps])).to(device())

    def __call__(self, images: Tensor) -> Tensor:
        self._predictor(images)
        indices = torch.arange(self._next, self._next + len(images), device=images.device) % len(self._known)
        self._next += len(images)
        return self._known[indices]


Finish = Callable[[str, CroppedMaps], None]


def _store(key: str, found: CroppedMaps) -> None:
    """As the stage infer."""
    found.save(FOLDER / f"{key}.npz")
    file_hash(FOLDER / f"{key}.npz")


def _end_to_end(
    model: nn.Module, params: Params, files: list[Path], maps: Sequence[CroppedMaps], rounds: int, finish: Finish
) -> dict[str, Any]:
    """Read, predict, crop, `finish`. wrong_maps: images whose crops are not those of the host, bit for bit."""
    spec = InputSpec(params.train.size, params.model.in_channels, params.infer.batch_size, device(), params.train.precision)
    by_key = {f"{index}_{file.stem}": file for index, file in enumerate(files * rounds)}
    wrong = []

    def finished(predicted: tuple[str, CroppedMaps]) -> None:
        key, found = predicted
        expected = maps[int(key.partition("_")[0]) % len(maps)]
        if not np.array_equal(found.boxes, expected.boxes) or not np.array_equal(found.values, expected.values):
            wrong.append(key)
        finish(key, found)

    def run(some: Mapping[str, Path]) -> None:
        check = LogitCheck()
        predictor = _KnownResults(ensemble([check.watch("the network", model)], params.infer), maps)
        for _ in prefetch_map(finished, predict(predictor, some, spec, check=check)):
            pass

    run(dict(list(by_key.items())[: len(files)]))
    remove_folder(FOLDER)  # some file systems are slow to replace files
    reset_peak()
    with Utilisation() as load:
        start = perf_counter()
        run(by_key)
        taken = perf_counter() - start
    return {"images_per_s": len(by_key) / taken, "gpu_percent": load.percent, "peak_gib": peak_gib(), "wrong_maps": len(wrong)}


def _and_submit(model: nn.Module, params: Params, files: list[Path], maps: Sequence[CroppedMaps], rounds: int) -> dict[str, Any]:
    """The stages infer and submit in one: also upsample, decide and encode."""
    shape, decision = read_image(files[0])[1], Decision(0.5)

    def finish(key: str, found: CroppedMaps) -> None:
        _store(key, found)
        image_rows(f"{key}.png", params.data.classes, encode_runs(decide([found], shape, decision)))

    return _end_to_end(model, params, files, maps, rounds, finish)


def _network(model: Model, params: Params, repeats: int) -> dict[str, float]:
    """The predictor alone, as `predict` runs it; launch_ms_per_image: until the host has launched it, without waiting for the GPU."""
    forward, batch = _forward(model, params), params.infer.batch_size
    each = seconds(forward, repeats, min(2, repeats))
    start = perf_counter()
    forward()
    launched = perf_counter() - start
    wait()
    return {"network_images_per_s": batch / each, "launch_ms_per_image": 1e3 * launched / batch}


def _compiled(model: nn.Module, params: Params, repeats: int) -> dict[str, float]:
    """The same with the network compiled for its batch. first_s: of the first batch, which compiles."""
    network = compiled(model)
    start = perf_counter()
    _forward(network, params)()
    wait()
    return {"first_s": perf_counter() - start} | _network(network, params, repeats)


def _forward(model: Model, params: Params) -> Callable[[], None]:
    size, batch, place = params.train.size, params.infer.batch_size, device()
    images = torch.randint(0, 256, (batch, params.model.in_channels, size, size), dtype=torch.uint8, device=place)
    predictor, dtype = ensemble([model], params.infer), autocast_dtype(params.train.precision, place)

    @torch.inference_mode()
    def forward() -> None:
        with torch.autocast(place.type, dtype, enabled=dtype is not None):
            predictor(images.float().div_(255).contiguous(memory_format=torch.channels_last))

    return forward


def _crops_ms(known: np.ndarray, repeats: int) -> dict[str, float]:
    """Maps of a batch on the device -> cropped maps on the host. waiting: until they are there; host: its part, which launches copies."""
    maps = torch.from_numpy(known).to(device())

    def launch() -> Callable[[], object]:
        crops = launch_crops(maps)
        wait()
        start = perf_counter()
        waiting = crops()
        launched.append(perf_counter() - start)
        return lambda: [crop() for crop in waiting]

    launched: list[float] = []
    each = seconds(lambda: launch()(), repeats)
    return {"waiting": 1e3 * each / len(maps), "host": 1e3 * min(launched) / len(maps)}


def _host_ms(files: list[Path], maps: Sequence[CroppedMaps], params: Params) -> dict[str, float]:
    """One core's work, in one thread."""
    shape, decision = read_image(files[0])[1], Decision(0.5)
    stored, names = FOLDER / "one.npz", count()
    maps[0].save(stored)
    works: dict[str, Callable[[int], object]] = {
        "read": lambda index: read_image(files[index]),
        "save": lambda index: maps[index].save(FOLDER / "new" / f"{next(names)}.npz"),
        "hash": lambda _: file_hash(stored),
        "decide_and_encode": lambda index: encode_runs(decide([maps[index]], shape, decision)),
    }

    def each(work: Callable[[int], object]) -> None:
        for index in range(len(maps)):
            work(index)

    return {name: 1e3 * seconds(partial(each, work), 1) / len(maps) for name, work in works.items()}

"""Predict all images of a subset and keep their probabilities, in one process or in several that share the images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from accelerate.utils import gather_object
from torch import nn

from handbone.config.params import Params, mirrored_classes
from handbone.inference.checks import LogitCheck, MapCheck
from handbone.inference.predictor import InputSpec, predict, share
from handbone.inference.tta import ensemble
from handbone.masks.cropped_maps import CroppedMaps
from handbone.utils.errors import Problem, UserError, raise_if_any
from handbone.utils.hashing import file_hash
from handbone.utils.parallel import prefetch_map


@dataclass(frozen=True)
class Job:
    """Models that see the same samples.

    desc: label of the progress bar; models: by the names that errors give them; files: the npz of each sample by key.
    """

    desc: str
    models: Mapping[str, nn.Module]
    files: Mapping[str, Path]


def save_predictions(
    jobs: Iterable[Job], folder: Path, place: Callable[[str], Path], params: Params, inputs: InputSpec, rank: int, world_size: int
) -> dict[str, str]:
    """Save the maps of every sample below `folder`, that of each key at `place(key)` -> the hash of each file by key, in the jobs' order.

    Process `rank` of `world_size` predicts its share of each job, and all return the same. The first one prints progress and warnings.
    Raises `UserError` in all of them, with the problems of all.
    """
    seen = MapCheck(params.data.classes)

    def save(predicted: tuple[str, CroppedMaps]) -> tuple[str, str]:
        key, maps = predicted
        maps.save(place(key))
        seen.add(maps)
        return key, file_hash(place(key))

    def hashes_of_share() -> dict[str, str]:
        hashes: dict[str, str] = {}
        for job in jobs:
            check = LogitCheck()
            models = [check.watch(name, model.to(inputs.device)) for name, model in job.models.items()]
            mirrored = mirrored_classes(params.data.classes, params.data.mirror)
            predictor = ensemble(models, params.infer, mirrored, params.data.exclusive)
            shared = share(job.files, inputs.batch_size, rank, world_size)
            hashes |= dict.fromkeys(job.files, "")  # the order of one process
            hashes |= prefetch_map(save, predict(predictor, shared, inputs, job.desc if rank == 0 else None, check))
        return hashes

    hashes = hashes_of_share() if world_size == 1 else _gathered(hashes_of_share, seen)
    if rank == 0:
        seen.report(str(folder))
    return hashes


def _gathered(own_hashes: Callable[[], dict[str, str]], seen: MapCheck) -> dict[str, str]:
    """The hashes of all processes, of which those of other processes' files are empty; `seen` of the first one joins what all have seen.

    An error of one is an error of all, so that none waits for one that has ended.
    """
    hashes: dict[str, str] = {}
    problems: list[Problem] = []
    try:
        hashes = own_hashes()
    except UserError as error:
        problems += error.problems
    raise_if_any(list(dict.fromkeys(gather_object(problems))), "the images cannot be predicted")
    for other in gather_object([seen])[1:]:
        seen.join(other)
    return hashes | {key: digest for key, digest in gather_object(list(hashes.items())) if digest}

"""Stage `preprocess`: check every sample and write data/cache, one npz per sample with an index per subset, and a report on the data."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from handbone.cache.sample import write_sample
from handbone.config import paths
from handbone.config.params import load_params
from handbone.dataset.inputs import read_inputs
from handbone.dataset.labels import require_known_label
from handbone.dataset.layout import Sample
from handbone.dataset.people import with_attributes
from handbone.dataset.preprocess import PreprocessSpec, prepare_sample, without_overlaps
from handbone.dataset.summary import areas_table, polygon_summary, summarise
from handbone.dataset.whole_set import facts_of, whole_set_problems
from handbone.utils.errors import Problem, UserError, raise_if_any, warn
from handbone.utils.hashing import file_hash
from handbone.utils.io import remove_folder, write_json, write_table
from handbone.utils.parallel import map_samples
from stages import run_stage

IndexRow = dict[str, Any]


def cache_sample(sample: Sample, spec: PreprocessSpec) -> IndexRow | tuple[Problem, ...]:
    """Write the sample's npz -> its row of the index, with its facts for checks of the whole set; or every problem of its files."""
    try:
        prepared, overlap = prepare_sample(sample, spec), 0
        if spec.exclusive:
            prepared, overlap = without_overlaps(prepared)
    except UserError as error:
        return error.problems
    path = paths.cached_sample(sample.subset, sample.key)
    write_sample(path, prepared)
    height, width = prepared.shape
    row = {"subset": sample.subset, "key": sample.key, "person": sample.person, "image_name": sample.image.name, "points": prepared.points}
    return row | {"height": height, "width": width, "sha256": file_hash(path), "facts": facts_of(sample, prepared, overlap)}


def cache_samples(samples: Sequence[Sample], spec: PreprocessSpec, workers: int | None, title: str) -> list[IndexRow]:
    """Write a new cache -> the rows of its index. Raises `UserError` with the problems of all samples, and leaves no cache then."""
    remove_folder(paths.CACHE)
    try:
        results = map_samples(partial(cache_sample, spec=spec), samples, workers, "preprocess")
        raise_if_any([problem for result in results if isinstance(result, tuple) for problem in result], title)
    except BaseException:  # half a cache would look like a complete one
        remove_folder(paths.CACHE)
        raise
    return [result for result in results if isinstance(result, dict)]


def main() -> None:
    """Run the stage."""
    params = load_params()
    data, image, root = params.data, params.preprocess, Path(params.data.root)
    samples, people, warnings = read_inputs(root, data.exclude)
    require_known_label(samples, data.classes)
    channels = params.model.in_channels
    spec = PreprocessSpec(data.classes, data.allow_missing, image.size, channels, image.clahe, image.max_pixels, data.exclusive)
    rows = cache_samples(samples, spec, params.machine.preprocess_workers, f"{root} cannot be used")
    facts = [row["facts"] for row in rows]
    warnings += whole_set_problems(facts, data.classes, data.exclusive)
    warn(*warnings)
    index, areas = with_attributes(pd.DataFrame(rows).drop(columns=["facts", "points"]), people), areas_table(facts, data.classes)
    for subset, path in (("train", paths.TRAIN_INDEX), ("test", paths.TEST_INDEX)):
        write_table(path, index[index["subset"] == subset].drop(columns="subset"))
    write_table(paths.AREAS, areas)
    points = polygon_summary([row["points"] for row in rows], data.classes)
    write_json(paths.DATA_REPORT, summarise(index, areas, data.exclude, warnings) | {"points": points})
    print(f"{len(samples)} images of {index['person'].nunique()} people in {paths.CACHE}")


if __name__ == "__main__":
    run_stage(main)

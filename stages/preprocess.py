"""Stage `preprocess`: check every sample and write data/cache, one npz per sample with an index per subset, and a report on the data."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from handbone.cache.sample import write_sample
from handbone.config import paths
from handbone.config.params import load_params
from handbone.dataset.layout import Sample, find_samples
from handbone.dataset.people import read_people, with_attributes
from handbone.dataset.preprocess import PreprocessSpec, prepare_sample
from handbone.masks.rasterize import RASTERIZER
from handbone.utils.errors import Problem, UserError, raise_if_any, run_cli
from handbone.utils.hashing import file_hash
from handbone.utils.io import write_json, write_table
from handbone.utils.parallel import map_samples

IndexRow = dict[str, Any]


def cache_sample(sample: Sample, spec: PreprocessSpec) -> IndexRow | tuple[Problem, ...]:
    """Write the sample's npz -> its row of the index, with the areas of its C masks; or every problem of its files."""
    try:
        prepared = prepare_sample(sample, spec)
    except UserError as error:
        return error.problems
    path = paths.cached_sample(sample.subset, sample.key)
    write_sample(path, prepared)
    areas = None if prepared.masks is None else prepared.masks.unpack().areas().tolist()
    row = {"subset": sample.subset, "key": sample.key, "person": sample.person, "image_name": sample.image.name}
    return row | {"height": prepared.shape[0], "width": prepared.shape[1], "sha256": file_hash(path), "areas": areas}


def cache_samples(samples: Sequence[Sample], spec: PreprocessSpec, workers: int | None, title: str) -> list[IndexRow]:
    """Write a new cache -> the rows of its index. Raises `UserError` with the problems of all samples, and leaves no cache then."""
    shutil.rmtree(paths.CACHE, ignore_errors=True)
    results = map_samples(partial(cache_sample, spec=spec), samples, workers, "preprocess")
    problems = [problem for result in results if isinstance(result, tuple) for problem in result]
    if problems:  # half a cache would look like a complete one
        shutil.rmtree(paths.CACHE, ignore_errors=True)
    raise_if_any(problems, title)
    return [result for result in results if isinstance(result, dict)]


def areas_table(rows: Sequence[IndexRow], classes: Sequence[str]) -> pd.DataFrame:
    """The area in pixels of every mask, one row per sample and class."""
    annotated = [row for row in rows if row["areas"]]
    areas = [(row["key"], name, pixels) for row in annotated for name, pixels in zip(classes, row["areas"], strict=True)]
    return pd.DataFrame(areas, columns=["key", "class", "pixels"])


def summarise(index: pd.DataFrame, areas: pd.DataFrame, excluded: list[str]) -> dict[str, Any]:
    """Counts and sizes of the data set, for people to read."""
    seen = areas[areas["pixels"] > 0].groupby("class", sort=False)["pixels"]
    subsets = {str(name): {"images": len(rows), "people": int(rows["person"].nunique())} for name, rows in index.groupby("subset")}
    sizes = index["width"].astype(str) + "x" + index["height"].astype(str)
    return {
        **subsets,
        "sizes": {str(size): int(count) for size, count in sizes.value_counts().items()},
        "classes": {str(name): {"images": len(pixels), "mean_area_px": round(float(pixels.mean()), 1)} for name, pixels in seen},
        "rasterizer": RASTERIZER,
        "excluded": excluded,
    }


def main() -> None:
    """Run the stage."""
    params = load_params()
    data, root = params.data, Path(params.data.root)
    samples, people = find_samples(root, data.exclude), read_people(root)
    spec = PreprocessSpec(data.classes, data.allow_missing, params.preprocess.size, params.model.in_channels, params.preprocess.clahe)
    rows = cache_samples(samples, spec, params.machine.preprocess_workers, f"{root} cannot be used")
    index, areas = with_attributes(pd.DataFrame(rows).drop(columns="areas"), people), areas_table(rows, data.classes)
    for subset, path in (("train", paths.TRAIN_INDEX), ("test", paths.TEST_INDEX)):
        write_table(path, index[index["subset"] == subset].drop(columns="subset"))
    write_table(paths.AREAS, areas)
    write_json(paths.DATA_REPORT, summarise(index, areas, data.exclude))
    print(f"{len(samples)} images of {index['person'].nunique()} people in {paths.CACHE}")


if __name__ == "__main__":
    run_cli(main)

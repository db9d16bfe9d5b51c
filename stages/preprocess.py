"""Images and polygons -> data/cache: one npz a sample, an index of each subset, and a report on the data."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from handbone.cache.sample import write_sample
from handbone.config import paths
from handbone.config.params import load_params
from handbone.dataset.layout import People, Sample, find_samples, read_people
from handbone.dataset.preprocess import PreprocessSpec, prepare
from handbone.masks.rasterize import PAINTER
from handbone.utils.errors import Problem, raise_if_any, run_cli
from handbone.utils.hashing import file_hash
from handbone.utils.io import ATTRIBUTE, write_json, write_table
from handbone.utils.parallel import map_samples

Row = dict[str, Any]


def build(sample: Sample, recipe: PreprocessSpec) -> tuple[Row, list[Problem]]:
    """Write the sample's npz -> its row of the index (with the areas of its C masks), or what is wrong with it."""
    prepared = prepare(sample, recipe)
    if isinstance(prepared, list):
        return {}, prepared
    path = paths.cached_sample(sample.subset, sample.key)
    write_sample(path, prepared)
    areas = None if prepared.masks is None else prepared.masks.unpack().areas().tolist()
    digest = file_hash(path)
    row = {"subset": sample.subset, "key": sample.key, "person": sample.person, "image_name": sample.image.name}
    return row | {"height": prepared.shape[0], "width": prepared.shape[1], "sha256": digest, "areas": areas}, []


def with_attributes(index: pd.DataFrame, people: People) -> pd.DataFrame:
    """The index with a column `person_<attribute>` for each attribute, empty for people of whom none is known."""
    return index.assign(**{f"{ATTRIBUTE}{name}": index["person"].map(values).fillna("") for name, values in people.items()})


def report(index: pd.DataFrame, areas: pd.DataFrame, excluded: list[str]) -> Row:
    """What the data set holds, for people."""
    seen = areas[areas["pixels"] > 0].groupby("class", sort=False)["pixels"]
    subsets = {str(name): {"images": len(rows), "people": int(rows["person"].nunique())} for name, rows in index.groupby("subset")}
    sizes = index["width"].astype(str) + "x" + index["height"].astype(str)
    return {
        **subsets,
        "sizes": {str(size): int(count) for size, count in sizes.value_counts().items()},
        "classes": {str(name): {"images": len(pixels), "mean_area_px": round(float(pixels.mean()), 1)} for name, pixels in seen},
        "painter": PAINTER,
        "excluded": excluded,
    }


def main() -> None:
    """Run the stage."""
    params = load_params()
    data = params.data
    samples = find_samples(Path(data.root), data.exclude)
    people = read_people(Path(data.root))
    recipe = PreprocessSpec(data.classes, data.allow_missing, params.preprocess.size, params.model.in_channels, params.preprocess.clahe)
    shutil.rmtree(paths.CACHE, ignore_errors=True)
    results = map_samples(partial(build, recipe=recipe), samples, params.machine.preprocess_workers, "preprocess")
    problems = [problem for _, found in results for problem in found]
    if problems:  # half a cache would look like a whole one
        shutil.rmtree(paths.CACHE, ignore_errors=True)
    raise_if_any(problems, f"{data.root} cannot be used")
    rows = [row for row, _ in results]
    areas = pd.DataFrame(
        [(row["key"], name, pixels) for row in rows if row["areas"] for name, pixels in zip(data.classes, row["areas"], strict=True)],
        columns=["key", "class", "pixels"],
    )
    index = with_attributes(pd.DataFrame(rows).drop(columns="areas"), people)
    for subset, path in (("train", paths.TRAIN_INDEX), ("test", paths.TEST_INDEX)):
        write_table(path, index[index["subset"] == subset].drop(columns="subset"))
    write_table(paths.AREAS, areas)
    write_json(paths.DATA_REPORT, report(index, areas, data.exclude))
    print(f"{len(samples)} images of {index['person'].nunique()} people in {paths.CACHE}")


if __name__ == "__main__":
    run_cli(main)

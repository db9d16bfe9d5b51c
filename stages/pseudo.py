"""Stage `pseudo`: use a submission's masks as labels of test images -> data/pseudo, samples that join the training of every fold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd
from tqdm import tqdm

from handbone.cache.sample import CachedSample, check_samples, read_sample, write_sample
from handbone.config import paths
from handbone.config.params import Params, PseudoParams, load_params
from handbone.evaluation.dice import count, dice
from handbone.masks.packed import PackedMasks
from handbone.masks.runs import RunLengthMasks
from handbone.submission.csv import TestImage, submitted_masks, test_images
from handbone.utils.errors import Problem, UserError, all_of, nearest, raise_if_any
from handbone.utils.hashing import file_hash
from handbone.utils.io import remove_folder, write_table
from stages import run_stage

COLUMNS = ["key", "person", "height", "width", "agreement", "weight", "sha256"]


def check_sources(section: PseudoParams) -> None:
    """Raise `UserError` if `pseudo.check` is set without `pseudo.labels`, or if one of them does not name a file in pseudo/."""
    problems = []
    if section.labels is None and section.check is not None:
        fix = "set pseudo.labels too, or pseudo.check to null"
        problems.append(Problem("pseudo.check", "params.yaml: pseudo.check", "null, because pseudo.labels is null", section.check, fix))
    files = sorted(path.relative_to(paths.PSEUDO_SOURCES).as_posix() for path in paths.PSEUDO_SOURCES.rglob("*") if path.is_file())
    tables = [name for name in files if name.endswith(".csv")]
    for key, name in (("labels", section.labels), ("check", section.check)):
        if name is not None and name not in files:  # a file elsewhere is no dependency of the stage
            fix = nearest(name, tables) if tables else "copy a submission there"
            problems.append(Problem("pseudo.file", f"params.yaml: pseudo.{key}", f"a file in {paths.PSEUDO_SOURCES}/", name, fix))
    raise_if_any(problems, "")


def labelled_images(section: PseudoParams) -> dict[str, TestImage]:
    """The test images; none without pseudo-labels. Raises `UserError` if pseudo-labels are asked for and there is no test image."""
    images = test_images(paths.TEST_INDEX) if section.labels is not None else {}
    if section.labels is not None and not images:
        expected, fix = "null, as the data set has no test images", "set pseudo.labels to null, or add test images"
        raise UserError(Problem("pseudo.no_test_set", "params.yaml: pseudo.labels", expected, section.labels, fix))
    return images


def read_sources(images: Mapping[str, TestImage], params: Params) -> list[dict[str, RunLengthMasks]]:
    """The masks of each submission by key. Raises one `UserError` with the faults of all submissions and of the cached images."""
    names = [name for name in (params.pseudo.labels, params.pseudo.check) if name is not None]
    reads = [partial(submitted_masks, paths.PSEUDO_SOURCES / name, images, params.data.classes, params.submission) for name in names]
    cached = partial(check_samples, paths.TEST_INDEX, {key: paths.cached_sample("test", key) for key in images})
    return all_of("the pseudo-labels cannot be used", cached, *reads)[1:]


def write_samples(
    images: Mapping[str, TestImage], sources: Sequence[Mapping[str, RunLengthMasks]], section: PseudoParams, exclusive: bool
) -> pd.DataFrame:
    """Write the images on which the submissions agree -> their rows of the index. exclusive: of several masks the last keeps a pixel."""
    rows = []
    for key in tqdm(images, desc="pseudo-labels", unit="image"):
        masks, *others = [source[key] for source in sources]
        agreement = float(np.mean(dice(count(masks, others[0])))) if others else 1.0
        if agreement >= section.agreement:
            pixels = read_sample(paths.cached_sample("test", key)).image
            labels = masks.boxed().disjoint() if exclusive else masks.boxed()
            write_sample(paths.pseudo_sample(key), CachedSample(pixels, masks.shape, PackedMasks.pack(labels)))
            digest = file_hash(paths.pseudo_sample(key))
            rows.append((key, key.split("/")[0], *masks.shape, round(agreement, 6), section.weight, digest))
    return pd.DataFrame(rows, columns=COLUMNS)


def main() -> None:
    """Run the stage."""
    params = load_params()
    check_sources(params.pseudo)
    images = labelled_images(params.pseudo)
    sources = read_sources(images, params) if images else []
    remove_folder(paths.PSEUDO)
    table = write_samples(images, sources, params.pseudo, params.data.exclusive) if images else pd.DataFrame(columns=COLUMNS)
    write_table(paths.PSEUDO_INDEX, table)
    print(f"{len(table)} of {len(images)} test images join the training" if images else "no pseudo-labels")


if __name__ == "__main__":
    run_stage(main)

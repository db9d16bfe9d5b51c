"""Stage `pseudo`: use a submission's masks as labels of test images -> data/pseudo, samples that join the training of every fold."""

from __future__ import annotations

import shutil
from collections.abc import Mapping

import numpy as np
import pandas as pd
from tqdm import tqdm

from handbone.cache.sample import CachedSample, read_sample, write_sample
from handbone.config import paths
from handbone.config.params import Params, PseudoParams, load_params
from handbone.evaluation.dice import count, dice
from handbone.masks.packed import PackedMasks
from handbone.masks.runs import RunLengthMasks
from handbone.submission.csv import TestImage, decode_image, encodings, test_images
from handbone.utils.errors import Problem, nearest, raise_if_any, run_cli
from handbone.utils.hashing import file_hash
from handbone.utils.io import write_table

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


def write_samples(images: Mapping[str, TestImage], params: Params) -> pd.DataFrame:
    """Write the images on which the submissions agree -> their rows of the index."""
    classes, section = params.data.classes, params.pseudo
    sources = [paths.PSEUDO_SOURCES / name for name in (section.labels, section.check) if name is not None]
    wanted = [(name, label) for name, _, _ in images.values() for label in classes]
    submissions = [encodings(source, wanted) for source in sources]
    rows = []
    for key, image in tqdm(images.items(), desc="pseudo-labels", unit="image"):
        masks, *others = [decode_image(source, encoded, image, classes) for source, encoded in zip(sources, submissions, strict=True)]
        agreement = mean_dice(masks, others[0]) if others else 1.0
        if agreement >= section.agreement:
            pixels = read_sample(paths.cached_sample("test", key)).image
            write_sample(paths.pseudo_sample(key), CachedSample(pixels, masks.shape, PackedMasks.pack(masks.boxed())))
            digest = file_hash(paths.pseudo_sample(key))
            rows.append((key, key.split("/")[0], *masks.shape, round(agreement, 6), section.weight, digest))
    return pd.DataFrame(rows, columns=COLUMNS)


def mean_dice(masks: RunLengthMasks, others: RunLengthMasks) -> float:
    """The mean over classes of the Dice of two submissions' masks of one image."""
    return float(np.mean(dice(count(masks, others))))


def main() -> None:
    """Run the stage."""
    params = load_params()
    check_sources(params.pseudo)
    shutil.rmtree(paths.PSEUDO, ignore_errors=True)
    images = test_images(paths.TEST_INDEX) if params.pseudo.labels is not None else {}
    table = write_samples(images, params) if images else pd.DataFrame(columns=COLUMNS)
    write_table(paths.PSEUDO_INDEX, table)
    print(f"{len(table)} of {len(images)} test images join the training" if images else "no pseudo-labels")


if __name__ == "__main__":
    run_cli(main)

"""Submissions' masks -> data/pseudo: test images with labels, which join the training of every fold."""

from __future__ import annotations

import shutil
from collections.abc import Mapping

import numpy as np
import pandas as pd
from tqdm import tqdm

from handbone.cache.sample import CachedSample, read_sample, write_sample
from handbone.config import paths
from handbone.config.params import Params, load_params
from handbone.evaluation.dice import count, dice
from handbone.masks.packed import PackedMasks
from handbone.masks.rle import decode_runs
from handbone.masks.runs import RunLengthMasks
from handbone.submission.csv import TestImage, encodings, test_images
from handbone.utils.errors import run_cli
from handbone.utils.hashing import file_hash
from handbone.utils.io import write_table

COLUMNS = ["key", "person", "height", "width", "agreement", "weight", "sha256"]


def labelled(images: Mapping[str, TestImage], params: Params) -> pd.DataFrame:
    """Write the images on which the submissions agree -> their rows."""
    classes, section = params.data.classes, params.pseudo
    names = [name for name in (section.labels, section.check) if name is not None]
    wanted = [(name, label) for name, _, _ in images.values() for label in classes]
    opinions = [encodings(paths.PSEUDO_SOURCES / name, wanted) for name in names]
    rows = []
    for key, (name, height, width) in tqdm(images.items(), desc="pseudo-labels", unit="image"):
        masks, *others = [decode_runs([encoded[name, label] for label in classes], height, width) for encoded in opinions]
        agreement = agreed(masks, others[0]) if others else 1.0
        if agreement >= section.agreement:
            image = read_sample(paths.cached_sample("test", key)).image
            write_sample(paths.pseudo_sample(key), CachedSample(image, masks.shape, PackedMasks.pack(masks.boxed())))
            digest = file_hash(paths.pseudo_sample(key))
            rows.append((key, key.split("/")[0], height, width, round(agreement, 6), section.weight, digest))
    return pd.DataFrame(rows, columns=COLUMNS)


def agreed(masks: RunLengthMasks, others: RunLengthMasks) -> float:
    """The mean Dice over the classes."""
    return float(np.mean(dice(count(masks, others))))


def main() -> None:
    """Run the stage."""
    params = load_params()
    shutil.rmtree(paths.PSEUDO, ignore_errors=True)
    images = test_images(paths.TEST_INDEX) if params.pseudo.labels is not None else {}
    table = labelled(images, params) if images else pd.DataFrame(columns=COLUMNS)
    paths.PSEUDO.mkdir(parents=True, exist_ok=True)
    write_table(paths.PSEUDO_INDEX, table)
    print(f"{len(table)} of {len(images)} test images join the training" if images else "no pseudo-labels")


if __name__ == "__main__":
    run_cli(main)

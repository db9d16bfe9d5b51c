"""All reports -> reports/index.html: one page that needs nothing else."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd

from handbone import paths
from handbone.data.augment import Augmenter
from handbone.data.cache import read_sample
from handbone.errors import made, run
from handbone.inference.probabilities import Probabilities
from handbone.inference.upsample import full_masks
from handbone.params import Params, load_params
from handbone.report.figures import class_bars_svg, curves_svg, jpeg_data_uri, overlay, png_data_uri
from handbone.report.page import Case, Strip, render_page
from handbone.report.sheet import strip
from handbone.scoring.dice import per_class, with_dice
from handbone.tables import read_table

STRIPS, DRAWS = 3, 3  # training images on the page, and draws of each


def case(key: str, dice: float, rows: pd.DataFrame, params: Params) -> Case:
    """The held-out image `key` with its truth and what was predicted; `rows`: its counts and Dice a class."""
    sample = read_sample(paths.cached_sample("train", key))
    probabilities = Probabilities.load(paths.probabilities(paths.OOF, key))
    predicted = full_masks(probabilities, sample.shape, params.predict.threshold).boxed()
    if sample.masks is None:
        raise ValueError(f"{key} has no masks")
    picture = png_data_uri(overlay(sample.image, sample.masks.unpack(), predicted, params.data.classes))
    low = rows.nsmallest(3, "dice")
    return Case(key, dice, picture, "lowest: " + ", ".join(f"{row['class']} {row['dice']:.3f}" for _, row in low.iterrows()))


def strips(params: Params) -> list[Strip]:
    """A few training images, evenly spread over the data set, each with draws of its augmentation."""
    augmenter = Augmenter(params.train.augment, params.model.in_channels)
    keys = read_table(paths.TRAIN_INDEX)["key"].tolist()
    shown = [keys[place * len(keys) // STRIPS] for place in range(min(STRIPS, len(keys)))]
    seeds = [np.random.SeedSequence([params.seed, row]).generate_state(DRAWS).tolist() for row in range(len(shown))]
    samples = [read_sample(paths.cached_sample("train", key)) for key in shown]
    pictures = [strip(sample, augmenter, params.train.size, row) for sample, row in zip(samples, seeds, strict=True)]
    return [Strip(key, jpeg_data_uri(picture)) for key, picture in zip(shown, pictures, strict=True)]


def main() -> None:
    """Run the stage."""
    params = load_params()
    metrics = json.loads(made(paths.METRICS).read_text())
    counts, test = read_table(paths.VALIDATION_COUNTS), read_table(paths.TEST_COUNTS)
    table = with_dice(counts)
    images = table.groupby("key")["dice"].mean().sort_values(kind="stable")
    shown = min(params.report.cases, -(-len(images) // 2))
    worst, best = images.index[:shown].astype(str), images.index[::-1][:shown].astype(str)
    cases = {key: case(key, float(images[key]), table[table["key"] == key], params) for key in {*worst, *best}}
    bars = per_class(counts).reset_index()
    if len(test):
        bars = bars.merge(per_class(test).rename("test").reset_index(), on="class", how="left")
    page = render_page(
        title="Segmentation report",
        metrics=metrics,
        classes=params.data.classes,
        curves=curves_svg({fold: read_table(paths.fold_curve(fold)) for fold in params.folds}),
        bars=class_bars_svg(bars),
        best=[cases[key] for key in best],
        worst=[cases[key] for key in worst],
        strips=strips(params),
        lineage=json.loads(made(paths.LINEAGE).read_text()),
        data_report=json.loads(made(paths.DATA_REPORT).read_text()),
    )
    paths.PAGE.write_text(page, encoding="utf-8")
    print(f"open {paths.PAGE}")


if __name__ == "__main__":
    run(main)

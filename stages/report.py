"""All reports -> reports/index.html: one page that needs nothing else."""

from __future__ import annotations

import numpy as np
import pandas as pd

from handbone.cache.sample import read_sample
from handbone.config import paths
from handbone.config.params import Params, load_params
from handbone.evaluation.decision import Decision, decide
from handbone.evaluation.dice import per_class, with_dice
from handbone.masks.cropped_maps import CroppedMaps
from handbone.report.augmentation_preview import strip
from handbone.report.figures import class_bars_svg, curves_svg, jpeg_data_uri, overlay, png_data_uri
from handbone.report.page import Case, Strip, render_page
from handbone.training.data.augment import Augmenter
from handbone.utils.errors import run_cli
from handbone.utils.io import read_json, read_table, write_text

STRIPS, DRAWS = 3, 3  # training images on the page, and draws of each


def case(key: str, dice: float, rows: pd.DataFrame, classes: list[str], decision: Decision) -> Case:
    """The held-out image `key` with its truth and what was predicted; `rows`: its counts and Dice a class."""
    sample = read_sample(paths.cached_sample("train", key))
    maps = CroppedMaps.load(paths.prediction("oof", key))
    predicted = decide(maps, sample.shape, decision).boxed()
    if sample.masks is None:
        raise ValueError(f"{key} has no masks")
    picture = png_data_uri(overlay(sample.image, sample.masks.unpack(), predicted, classes))
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
    metrics, decision = read_json(paths.METRICS), Decision.load(paths.DECISION)
    counts, test = read_table(paths.VALIDATION_COUNTS), read_table(paths.TEST_COUNTS)
    table = with_dice(counts)
    images = table.groupby("key")["dice"].mean().sort_values(kind="stable")
    shown = min(params.report.cases, -(-len(images) // 2))
    worst, best = images.index[:shown].astype(str), images.index[::-1][:shown].astype(str)
    cases = {key: case(key, float(images[key]), table[table["key"] == key], params.data.classes, decision) for key in {*worst, *best}}
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
        lineage=read_json(paths.LINEAGE),
        data_report=read_json(paths.DATA_REPORT),
    )
    write_text(paths.PAGE, page)
    print(f"open {paths.PAGE}")


if __name__ == "__main__":
    run_cli(main)

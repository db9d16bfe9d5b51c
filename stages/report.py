"""All results -> reports/index.html, one page that works offline."""

from __future__ import annotations

import numpy as np
import pandas as pd

from handbone.cache.sample import read_masks, read_sample
from handbone.config import paths
from handbone.config.params import Params, load_params, mirrored_classes
from handbone.evaluation.decision import Decision, decide
from handbone.evaluation.dice import dice_by_class, with_dice
from handbone.evaluation.members import maps_of
from handbone.report.attributes import attribute_rows
from handbone.report.augmentation_preview import preview_strip
from handbone.report.figures import class_bars_svg, curves_svg, jpeg_data_uri, overlay, png_data_uri
from handbone.report.page import Case, Preview, render_page
from handbone.training.data.augment import Augmenter
from handbone.utils.errors import run_cli
from handbone.utils.io import read_json, read_table, write_text
from handbone.utils.notice import tell

PREVIEWS, VERSIONS = 3, 3  # training images on the page, and augmented versions of each


def make_case(key: str, counts: pd.DataFrame, classes: list[str], decision: Decision) -> Case:
    """The held-out image `key` with its truth and prediction; `counts`: its rows of class and dice."""
    sample = paths.cached_sample("train", key)
    image, truth = read_sample(sample).image, read_masks(sample)
    maps = [maps_of(paths.prediction_record("oof", name), paths.prediction("oof", key, name), classes) for name in decision.names]
    picture = png_data_uri(overlay(image, truth.unpack(), decide(maps, truth.shape, decision).boxed(), classes))
    lowest = counts.nsmallest(3, "dice")
    caption = ", ".join(f"{name} {value:.3f}" for name, value in zip(lowest["class"], lowest["dice"], strict=True))
    return Case(key, float(counts["dice"].mean()), picture, f"lowest: {caption}")


def make_cases(params: Params, decision: Decision) -> tuple[list[Case], list[Case]]:
    """The best and the worst held-out images by mean Dice."""
    counts = with_dice(read_table(paths.VALIDATION_COUNTS))
    images = {str(key): rows for key, rows in counts.groupby("key")}
    ranking = counts.groupby("key")["dice"].mean().sort_values(kind="stable").index.astype(str).tolist()
    shown = min(params.report.cases, -(-len(ranking) // 2))
    worst, best = ranking[:shown], ranking[::-1][:shown]
    cases = {key: make_case(key, images[key], params.data.classes, decision) for key in dict.fromkeys(best + worst)}
    return [cases[key] for key in best], [cases[key] for key in worst]


def make_previews(params: Params) -> list[Preview]:
    """A few training images, evenly spread over the data set, each with augmented versions."""
    augmenter = Augmenter(params.train.augment, params.model.in_channels)
    keys = read_table(paths.TRAIN_INDEX)["key"].tolist()
    shown = [keys[place * len(keys) // PREVIEWS] for place in range(min(PREVIEWS, len(keys)))]
    seeds = [np.random.SeedSequence([params.seed, row]).generate_state(VERSIONS).tolist() for row in range(len(shown))]
    samples = [read_sample(paths.cached_sample("train", key)) for key in shown]
    mirrored = mirrored_classes(params.data.classes, params.data.mirror)
    pictures = [preview_strip(sample, augmenter, params.train.size, row, mirrored) for sample, row in zip(samples, seeds, strict=True)]
    return [Preview(key, jpeg_data_uri(picture)) for key, picture in zip(shown, pictures, strict=True)]


def main() -> None:
    """Run the stage."""
    params, lineage = load_params(), read_json(paths.LINEAGE)
    decision, model = Decision.load(paths.DECISION, params.data.classes, *paths.DECIDED_WITH), lineage["parameters"]["model"]
    best, worst = make_cases(params, decision)
    scores = dice_by_class(read_table(paths.VALIDATION_COUNTS), read_table(paths.TEST_COUNTS))
    page = render_page(
        title="Segmentation report",
        subtitle=" · ".join(filter(None, [model["arch"], model["encoder"], f"{lineage['parameters']['train']['size']} px"])),
        metrics=read_json(paths.METRICS),
        scores=scores,
        decision=decision,
        classes=params.data.classes,
        curves=curves_svg({fold: read_table(paths.fold_curve(fold)) for fold in params.folds}),
        bars=class_bars_svg(scores),
        attributes=attribute_rows(read_table(paths.DICE_PER_ATTRIBUTE)),
        best=best,
        worst=worst,
        previews=make_previews(params),
        lineage=lineage,
        data_report=read_json(paths.DATA_REPORT),
        warnings=read_json(paths.DATA_REPORT)["warnings"] + read_json(paths.SPLIT_REPORT)["warnings"],
    )
    write_text(paths.PAGE, page)
    print(f"open {paths.PAGE}")
    tell("the graph is up to date")


if __name__ == "__main__":
    run_cli(main)

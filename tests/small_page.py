"""A whole report of small pictures, for the tests of the page, of its behaviour in a browser, and of its safety."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from handbone.cache.sample import CachedSample
from handbone.config.params import Params, load_params
from handbone.evaluation.decision import Decision
from handbone.evaluation.dice import count, counts_table
from handbone.masks.boxed import BoxedMasks
from handbone.masks.packed import PackedMasks
from handbone.masks.runs import RunLengthMasks
from handbone.report.attributes import attributes_section
from handbone.report.cases import cases_section, choose_images
from handbone.report.changes import CommittedRun, changes
from handbone.report.checks import data_section
from handbone.report.classes import classes_section
from handbone.report.data_section import training_data_section
from handbone.report.data_statistics import DataSet, describe_data
from handbone.report.decision import decision_section
from handbone.report.html import document
from handbone.report.images import images_section
from handbone.report.layers import Shown
from handbone.report.neighbours import count_covered, neighbours_section
from handbone.report.origin import lineage_section, stages_section
from handbone.report.overview import headline, score_tiles
from handbone.report.previews import previews_section
from handbone.report.scores import Scores
from handbone.report.training import folds_section
from imports import ROOT

CLASSES = ["Radius", "Ulna", "Pisiform"]
SHAPE, PEOPLE = (200, 160), 6
CORNERS = [(20, 20), (20, 70), (100, 30)]  # y, x of each class


def shown(error: int, classes: int = len(CLASSES)) -> Shown:
    """Squares of 40 pixels, and a prediction that is `error` pixels too far to the right, for the last class twice as far."""
    crops = [np.ones((40, 40), bool)] * classes
    moved = [(y, x + error * (2 if at == classes - 1 else 1)) for at, (y, x) in enumerate(CORNERS[:classes])]
    image = np.random.default_rng(error).integers(0, 255, SHAPE, np.uint8)
    return Shown(image, BoxedMasks.from_crops(SHAPE, CORNERS[:classes], crops), BoxedMasks.from_crops(SHAPE, moved, crops))


def images(name: str = "") -> dict[str, Shown]:
    """By key, two images of each person; the error grows from one to the next. name: is added to each key."""
    return {f"ID{number // 2:03}/image{number}{name}": shown(number) for number in range(2 * PEOPLE)}


def counts(pictures: dict[str, Shown], classes: Sequence[str] = CLASSES) -> pd.DataFrame:
    """The table that the stage validate would write."""
    tables = [
        counts_table(key, classes, count(RunLengthMasks.from_boxed(each.predicted), RunLengthMasks.from_boxed(each.truth))).assign(
            fold=int(key[2:5]) % 2
        )
        for key, each in pictures.items()
    ]
    return pd.concat(tables, ignore_index=True)


def lineage(name: str = "") -> dict[str, Any]:
    """The record of a submission."""
    return {
        "git": {"commit": "3f2c91d" + "0" * 33, "changed_files": ["params.yaml"]},
        "models": {"0": {"machine": {"device": f"cpu{name}"}}},
        "parameters": {
            "model": {"arch": f"Unet{name}", "encoder": "resnet18"},
            "train": {"size": 512},
            "data": {"root": f"data/raw{name}"},
        },
        "note": f"</pre>{name}",
    }


def small_params() -> Params:
    """Those of the demo, for these classes."""
    params = load_params(ROOT / "params.yaml")
    return params.model_copy(
        update={"data": params.data.model_copy(update={"classes": CLASSES}), "train": params.train.model_copy(update={"size": 64})}
    )


def small_data(classes: Sequence[str], name: str, sample: CachedSample) -> DataSet:
    """Two people in two folds, and one in the test set."""
    index = pd.DataFrame({"key": ["A/1", "B/1"], "person": [f"A{name}", f"B{name}"], f"person_wrist{name}": [f"bent{name}", f"flat{name}"]})
    return describe_data([index[["key", "person"]].assign(fold=[0, 1]), index, index[:1]], classes, lambda _: sample)


def small_page(name: str = "", committed: CommittedRun | str = "there is no git here") -> str:
    """A page with every section. name: is added to each name that comes from outside."""
    classes, pictures = [f"{label}{name}" for label in CLASSES], images(name)
    scores, decision = Scores.of(counts(pictures, classes)), Decision(0.375)
    chosen = choose_images(scores, 2)
    curve = pd.DataFrame({"epoch": [1, 2, 3], "lr": 0.1, "loss": [0.9, 0.5, 0.4], "dice": [np.nan, 0.7, 0.8]})
    groups = pd.DataFrame(
        [("held-out", f"wrist{name}", f"bent{name}", label, 12, 0.9) for label in classes],
        columns=["subset", "attribute", "value", "class", "images", "dice"],
    )
    mix = {f"wrist{name}": {"mean": 0.9123, "low": 0.9012, "high": 0.9234}}
    data = {
        "train": {"images": 800, "people": 400},
        "classes": {classes[0]: {"mean_area_px": 1600.4}},
        "excluded": [f"ID9{name}"],
        "rasterizer": f"OpenCV{name}",
    }
    sample = CachedSample(shown(1).image, SHAPE, PackedMasks.pack(shown(1).truth))
    sections = [
        folds_section(scores, {0: curve, 1: curve}),
        classes_section(scores, scores, data),
        attributes_section(groups, {"dice": {"test_mix": mix}}),
        decision_section(decision),
        cases_section(scores, lambda key: pictures[key], chosen),
        images_section(scores, chosen),
        neighbours_section(classes, count_covered(list(pictures), pictures.__getitem__)),
        previews_section(list(pictures), lambda key: sample, small_params()),
        data_section(data, [f"odd areas{name}"]),
        training_data_section(
            small_data(classes, name, sample), {"points": {classes[0]: {"polygons": 1, "min": 3, "median": 3.5, "max": 4}}}
        ),
        stages_section([f"train{name}", "validate"], {"train@0": 75.0, "validate": 2.0}),
        lineage_section(lineage(name)),
    ]
    top = score_tiles(scores, scores, decision) + changes(committed, {"dice": {"mean": 0.9}}, {f"seed{name}": name}, lambda: None)
    return document(*headline(lineage(name), "2026-11-26"), top, sections)

"""The attributes of all images: those of their people, and poses, which the submitted masks show in the test images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from handbone.config.params import Params
from handbone.dataset.attributes import person_attributes
from handbone.dataset.shapes import SHAPE, ShapeGroups
from handbone.masks.runs import RunLengthMasks
from handbone.submission.csv import TestImage, submitted_masks
from handbone.utils.io import read_class_table, read_table


def read_attributes(
    train_index: Path, areas: Path, test_index: Path, submission: Path, images: Mapping[str, TestImage], params: Params
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The attributes of the training and of the test images: one row per image, by key, one column per attribute; empty: unknown.

    areas: the table of the training masks' places. Poses are found if `split.stratify` has them; the training images alone say what their
    groups are.
    """
    train, test = read_table(train_index, ["key"]), read_table(test_index, ["key"])
    train_attributes, test_attributes = person_attributes(train), person_attributes(test)
    if SHAPE not in params.split.stratify:
        return train_attributes, test_attributes
    places = read_class_table(areas, ["pixels", "x", "y"])
    groups = ShapeGroups.fit(places, train)
    train_attributes = train_attributes.assign(**{SHAPE: groups.of(places, train)})
    if not images:  # there is no test set
        return train_attributes, test_attributes.assign(**{SHAPE: ""})
    submitted = submitted_masks(submission, images, params.data.classes, params.submission)
    test_places = pd.concat([_places(key, params.data.classes, masks) for key, masks in submitted.items()])
    return train_attributes, test_attributes.assign(**{SHAPE: groups.of(test_places, test)})


def _places(key: str, classes: Sequence[str], masks: RunLengthMasks) -> pd.DataFrame:
    """The places of an image's masks as the table of areas has them: centres of boxes, as shares of width and height."""
    y0, x0, y1, x1 = masks.boxed().boxes.astype(np.float64).T
    height, width = masks.shape
    centres = {"x": (x0 + x1) / (2 * width), "y": (y0 + y1) / (2 * height)}
    return pd.DataFrame({"key": key, "class": list(classes), "pixels": masks.areas()} | centres)

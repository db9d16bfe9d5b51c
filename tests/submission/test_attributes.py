"""Attributes of training and test images; the poses of test images are those of the submitted masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from handbone.config.params import Params, SubmissionParams
from handbone.masks.boxed import BoxedMasks
from handbone.masks.rle import encode_runs
from handbone.masks.runs import RunLengthMasks
from handbone.submission.attributes import read_attributes
from handbone.submission.csv import image_rows, write_submission
from handbone.utils.io import write_table

CLASSES = ["a", "b", "c", "d"]
SHAPE = (60, 80)
Places = list[tuple[int, int]]


def places(bend: int) -> Places:
    """The top left corners of four squares, of which the last is off by `bend` pixels."""
    return [(5, 10), (20, 10), (35, 10), (50, 30 + bend)]


def masks(corners: Places) -> RunLengthMasks:
    return RunLengthMasks.from_boxed(BoxedMasks.from_crops(SHAPE, corners, [np.ones((6, 6), bool)] * 4))


@pytest.fixture
def tables(tmp_path: Path) -> tuple[Path, Path, Path, Path]:
    """Six training images in three poses; two test images, one of which lacks a class."""
    bends = {f"A{n}/x": bend for n, bend in enumerate((-20, -19, 0, 1, 30, 31))}
    train, areas, test, submission = (tmp_path / name for name in ("train.csv", "areas.csv", "test.csv", "submission.csv"))
    write_table(train, pd.DataFrame({"key": list(bends), "height": SHAPE[0], "width": SHAPE[1], "person_sex": "f"}))
    rows = [
        (key, name, 36, (x + 3) / 80, (y + 3) / 60)
        for key, bend in bends.items()
        for name, (y, x) in zip(CLASSES, places(bend), strict=True)
    ]
    write_table(areas, pd.DataFrame(rows, columns=["key", "class", "pixels", "x", "y"]))
    write_table(test, pd.DataFrame({"key": ["B/b", "C/c"], "height": SHAPE[0], "width": SHAPE[1], "person_sex": ["m", ""]}))
    encoded = encode_runs(masks(places(29)))
    write_submission(submission, image_rows("b.png", CLASSES, encoded) + image_rows("c.png", CLASSES, [*encoded[:3], ""]))
    return train, areas, test, submission


def params(**split: object) -> Params:
    return Params.model_validate({"data": {"classes": CLASSES}, "split": split})


IMAGES = {"B/b": ("b.png", *SHAPE), "C/c": ("c.png", *SHAPE)}


def test_attributes_of_people_are_those_of_the_indexes(tables: tuple[Path, Path, Path, Path]) -> None:
    tables[1].unlink()
    train, test = read_attributes(*tables, IMAGES, params())
    assert train.to_dict("list") == {"sex": ["f"] * 6} and test["sex"].to_dict() == {"B/b": "m", "C/c": ""}


def test_the_pose_of_a_test_image_is_that_of_its_submitted_masks(tables: tuple[Path, Path, Path, Path]) -> None:
    train, test = read_attributes(*tables, IMAGES, params(stratify=["shape"]))
    groups = train["shape"].tolist()
    assert groups[0] == groups[1] != groups[2] == groups[3] != groups[4] == groups[5]
    assert test["shape"].to_dict() == {"B/b": groups[4], "C/c": ""}, "an image without one of the classes is of no group"


def test_without_a_test_set_the_training_images_have_their_poses(tables: tuple[Path, Path, Path, Path]) -> None:
    write_table(tables[2], pd.read_csv(tables[2]).head(0))
    train, test = read_attributes(*tables, {}, params(stratify=["shape"]))
    assert train["shape"].nunique() == 3 and test.empty and list(test.columns) == ["sex", "shape"]


def test_the_submission_may_have_another_format(tables: tuple[Path, Path, Path, Path]) -> None:
    tables[3].write_text(tables[3].read_text().replace("image_name,class,rle", "i,c,r"))
    other = params(stratify=["shape"]).model_copy(update={"submission": SubmissionParams(columns=["i", "c", "r"])})
    assert read_attributes(*tables, IMAGES, other)[1]["shape"].tolist()[0]

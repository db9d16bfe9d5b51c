"""Poses from the places of masks: the phantom's bent wrists are found, wherever the hand is and however it is turned."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
import pytest

from conftest import Fails
from handbone.config.params import BONES, PhantomParams
from handbone.dataset.shapes import GROUPS, ShapeGroups, best_cuts
from handbone.phantom.anatomy import hand_outlines, hand_polygons, random_person, random_pose
from handbone.phantom.dataset import TEST, TRAIN, bent_people

SIZE = 256
Tables = tuple[pd.DataFrame, pd.DataFrame, np.ndarray]


@cache
def hands(people: int, subset: int = TRAIN, seed: int = 7, **shares: float) -> Tables:
    """The places of the bones of a phantom's images, their index, and whether each has a bent wrist. Not to be changed."""
    params = PhantomParams(train_people=people, test_people=people, seed=seed, **shares)
    bent, rows, keys, is_bent = bent_people(params, subset), [], [], []
    for place in range(people):
        rng = np.random.default_rng((params.seed, subset, place))
        person = random_person(rng, place in bent)
        for side in "RL":
            keys.append(f"{place:03d}/{side}")
            is_bent.append(place in bent)
            polygons = hand_polygons(hand_outlines(person, random_pose(rng), mirrored=side == "L"), SIZE)
            centres = {bone: (polygons[bone].min(0) + polygons[bone].max(0)) / 2 / SIZE for bone in BONES}
            rows += [(keys[-1], bone, 100, *centres[bone]) for bone in BONES]
    places = pd.DataFrame(rows, columns=["key", "class", "pixels", "x", "y"])
    return places, pd.DataFrame({"key": keys, "height": SIZE, "width": SIZE}), np.array(is_bent)


def found(groups: pd.Series) -> np.ndarray:
    """Whether each image is outside of the middle group, where straight wrists are."""
    return (groups != "middle").to_numpy()


@pytest.mark.parametrize("seed", [7, 8])
def test_the_bent_wrists_of_the_phantom_are_the_outer_groups(seed: int) -> None:
    places, index, is_bent = hands(100, seed=seed)
    groups = ShapeGroups.fit(places, index).of(places, index)
    assert groups.index.tolist() == index["key"].tolist() and set(groups) == set(GROUPS)
    assert (found(groups) == is_bent).all(), "200 images: precision and recall are 1"


def test_images_of_other_people_are_grouped_by_what_the_training_images_say() -> None:
    groups = ShapeGroups.fit(*hands(60)[:2])
    places, index, is_bent = hands(60, TEST)
    assert 0.4 < is_bent.mean() < 0.7
    assert (found(groups.of(places, index)) == is_bent).all()


def test_position_size_rotation_mirroring_and_the_image_s_shape_do_not_matter() -> None:
    places, index, _ = hands(20, bent_train=0.3)
    groups = ShapeGroups.fit(places, index)
    x, y = places["x"] * SIZE, places["y"] * SIZE
    sin, cos = np.sin(0.7), np.cos(0.7)
    turned = places.assign(x=(300 - 0.5 * (cos * x - sin * y)) / 500, y=(200 + 0.5 * (sin * x + cos * y)) / 400)
    assert groups.of(turned, index.assign(height=400, width=500)).equals(groups.of(places, index))


def test_an_image_that_lacks_a_landmark_is_of_no_group() -> None:
    places, index = (table.copy() for table in hands(20)[:2])
    places.loc[(places["key"] == "003/R") & (places["class"] == "Ulna"), "pixels"] = 0
    groups = ShapeGroups.fit(places, index).of(places, index)
    assert groups["003/R"] == "" and (groups.drop("003/R") != "").all()


def test_a_class_that_many_images_lack_is_no_landmark() -> None:
    places, index, is_bent = (table.copy() for table in hands(100))
    places.loc[(places["key"] < "020") & (places["class"] == "Ulna"), "pixels"] = 0
    shapes = ShapeGroups.fit(places, index)
    assert "Ulna" not in shapes.landmarks and len(shapes.landmarks) == len(BONES) - 1
    assert (found(shapes.of(places, index)) == is_bent).all()


def test_swapped_labels_of_an_image_do_not_hide_the_poses() -> None:
    places, index, is_bent = (table.copy() for table in hands(100))
    swapped = {"finger-1": "finger-3", "finger-3": "finger-1", "Trapezium": "Hamate", "Hamate": "Trapezium"}
    wrong = places["key"] == "030/R"
    places.loc[wrong, "class"] = places.loc[wrong, "class"].replace(swapped)
    groups = ShapeGroups.fit(places, index).of(places, index)
    right = index["key"] != "030/R"
    assert (found(groups) == is_bent)[right].all()


def test_two_classes_have_no_shape(fails: Fails) -> None:
    places, index, _ = hands(5)
    with fails("split.shape", "split.stratify"):
        ShapeGroups.fit(places[places["class"].isin(["Radius", "Ulna"])], index)
    with fails("split.shape", "split.stratify"):
        ShapeGroups.fit(places[places["key"] < "001"], index[index["key"] < "001"])


@pytest.mark.parametrize("seed", range(5))
def test_cuts_are_the_best_of_all(seed: int) -> None:
    scores = np.random.default_rng(seed).normal(size=12) + np.repeat([-3, 0, 4], 4) * (seed % 2)
    ordered = np.sort(scores)

    def cost(first: int, second: int) -> float:
        return sum(float(((part - part.mean()) ** 2).sum()) for part in np.split(ordered, [first, second]))

    best = min(((i, j) for i in range(1, 11) for j in range(i + 1, 12)), key=lambda cuts: cost(*cuts))
    assert tuple(np.searchsorted(ordered, best_cuts(scores))) == best

"""Classes on one side of nearly all images: which pairs are suggested, and when."""

import numpy as np
import pandas as pd
import pytest

from handbone.cache.sides import centres, likely_pairs, warn_of_missing_pairs
from handbone.config.params import parse_params
from handbone.masks.boxed import BoxedMasks
from handbone.masks.packed import PackedMasks

CLASSES = ["tooth 1 right", "tooth 2 right", "spine", "tooth 1 left", "tooth 2 left", "liver"]
PLACES = [(0.485, 0.3), (0.3, 0.35), (0.5, 0.8), (0.515, 0.3), (0.7, 0.35), (0.3, 0.6)]
PAIRS = {"tooth 1 right": "tooth 1 left", "tooth 2 right": "tooth 2 left"}


def table(images: int = 20, swapped: float = 0.0, jitter: float = 0.02) -> pd.DataFrame:
    """Areas and centres; the share `swapped` of the images is mirrored without its names, as left and right hands are."""
    rng, rows = np.random.default_rng(0), []
    for index in range(images):
        shift = rng.normal(0, jitter)
        for place, (name, (x, y)) in enumerate(zip(CLASSES, PLACES, strict=True)):
            found = 1 - x if index < swapped * images else x
            rows.append((f"P/{index}", name, 900 + 50 * (place % 3), found + shift, y + rng.normal(0, 0.01)))
    return pd.DataFrame(rows, columns=["key", "class", "pixels", "x", "y"])


def test_centres_are_shares_of_the_sides() -> None:
    masks = np.zeros((2, 10, 40), bool)
    masks[0, 2:4, 10:20] = True
    assert centres(PackedMasks.pack(BoxedMasks.from_dense(masks))) == [(0.375, 0.3), (0.0, 0.0)]


def test_pairs_are_at_mirrored_places_even_if_they_touch_the_middle() -> None:
    """The patient is not in the middle of each image, so the inner classes are on both sides of the image's middle."""
    areas = table()
    inner = areas[areas["class"] == "tooth 1 right"]["x"]
    assert 0.05 < (inner > 0.5).mean() < 0.95
    assert likely_pairs(areas, CLASSES) == PAIRS


def test_known_pairs_are_not_suggested_again() -> None:
    assert likely_pairs(table(), CLASSES, {"tooth 2 left": "tooth 2 right"}) == {"tooth 1 right": "tooth 1 left"}


@pytest.mark.parametrize("areas", [table(7), table(20, swapped=0.5), table(20, swapped=0.1), table().assign(pixels=0), table(0)])
def test_nothing_is_suggested_for_few_images_or_classes_of_both_sides(areas: pd.DataFrame) -> None:
    assert likely_pairs(areas, CLASSES) == {}


def test_one_image_of_twenty_may_be_the_other_way_round() -> None:
    assert likely_pairs(table(20, swapped=0.05, jitter=0.001), CLASSES) == PAIRS


def test_a_class_without_a_counterpart_of_its_size_is_no_pair() -> None:
    areas = table()
    areas.loc[areas["class"] == "tooth 2 left", "pixels"] *= 5
    assert "tooth 2 right" not in likely_pairs(areas, CLASSES)


@pytest.mark.parametrize(
    ("augment_mirrors", "infer", "mirror", "warned"),
    [
        (True, {"hflip": False}, {}, "train.augment"),
        (False, {"hflip": True}, {}, "infer.hflip"),
        (False, {"hflip": False, "vflip": True}, {}, "infer.vflip"),
        (False, {"hflip": False}, {}, ""),
        (True, {"hflip": True}, PAIRS, ""),
    ],
)
def test_the_warning_names_the_cause_and_the_pairs_to_paste(
    capsys: pytest.CaptureFixture[str], augment_mirrors: bool, infer: dict, mirror: dict, warned: str
) -> None:
    params = parse_params({"data": {"classes": CLASSES, "mirror": mirror}, "infer": infer, "folds": [0]}, "params")
    warn_of_missing_pairs(table(), params, augment_mirrors)
    text = capsys.readouterr().err
    if not warned:
        assert text == ""
        return
    assert text.startswith("WARNING: params.yaml: data.mirror") and text.count("\n") == 1 and warned in text
    assert 'mirror: {"tooth 1 right": "tooth 1 left", "tooth 2 right": "tooth 2 left"}' in text

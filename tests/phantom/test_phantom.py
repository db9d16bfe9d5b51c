"""The phantom: the competition's layout and pitfalls, the anatomy's published numbers, and the same bytes in every run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from handbone.config.params import BONES, PhantomParams
from handbone.dataset.people import read_people
from handbone.phantom.anatomy import FOREARM, UNIT, Outlines, hand_outlines, hand_polygons, random_person, random_pose
from handbone.phantom.dataset import TEST, TRAIN, bent_people, write_phantom
from handbone.phantom.render import random_look, render_xray

PARAMS = PhantomParams(size=128, train_people=5, test_people=3, bent_train=0.4, bent_test=0.67, seed=21)
MEAN_AREAS = {
    **{"finger-1": 6200, "finger-4": 4950, "finger-7": 35311, "finger-16": 3895, "finger-19": 23000},
    **{"Scaphoid": 9200, "Pisiform": 4327, "Ulna": 39456, "Radius": 75128},
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phantom")
    write_phantom(PARAMS, folder, workers=2)
    return folder


def files(root: Path, pattern: str = "**/*") -> list[Path]:
    return sorted(path for path in root.glob(pattern) if path.is_file())


def annotations(root: Path) -> list[tuple[Path, dict[str, Any]]]:
    return [(path, json.loads(path.read_text(encoding="utf-8"))) for path in files(root, "**/*.json")]


def image_of(root: Path, annotation: Path) -> Path:
    subset = "test" if "test_truth" in annotation.parts else "train"
    return root / subset / "DCM" / annotation.parent.name / f"{annotation.stem}.png"


def hands(people: int, bent: bool, seed: int = 21) -> Iterator[tuple[Outlines, Outlines]]:
    for place in range(people):
        rng = np.random.default_rng([seed, place])
        person = random_person(rng, bent)
        yield hand_outlines(person, random_pose(rng), False), hand_outlines(person, random_pose(rng), True)


def rasterized(polygons: dict[str, NDArray[np.int32]], names: list[str]) -> dict[str, NDArray[np.bool_]]:
    masks = {name: np.zeros((UNIT, UNIT), np.uint8) for name in names}
    return {name: cv2.fillPoly(mask, [polygons[name]], 1).astype(bool) for name, mask in masks.items()}


def iou(masks: dict[str, NDArray[np.bool_]], a: str, b: str) -> float:
    return float(np.count_nonzero(masks[a] & masks[b]) / np.count_nonzero(masks[a] | masks[b]))


def bend(points: dict[str, NDArray[Any]]) -> float:
    """Degrees between the middle finger and the shaft of the radius."""
    radius, lowest = points["Radius"], points["Radius"][:, 1].max()
    shaft = [radius[np.abs(radius[:, 1] / lowest - height) < 0.02].mean(0) for height in (0.97, 0.88)]
    finger = [np.mean(points[name], axis=0) for name in ("finger-11", "finger-9")]
    directions = [tip - base for base, tip in (shaft, finger)]
    return float(abs(np.subtract(*(np.degrees(np.arctan2(x, -y)) for x, y in directions))))


def test_every_run_with_any_number_of_workers_gives_the_same_bytes(root: Path, tmp_path: Path) -> None:
    write_phantom(PARAMS, tmp_path, workers=1)
    assert [path.relative_to(tmp_path) for path in files(tmp_path)] == [path.relative_to(root) for path in files(root)]
    assert all((root / path.relative_to(tmp_path)).read_bytes() == path.read_bytes() for path in files(tmp_path))


def test_another_seed_gives_other_people(root: Path, tmp_path: Path, in_one_process: None) -> None:
    write_phantom(PARAMS.model_copy(update={"seed": 22, "train_people": 1, "test_people": 1}), tmp_path, workers=1)
    first = files(tmp_path, "train/**/*.png")[0]
    assert first.read_bytes() != (root / first.relative_to(tmp_path)).read_bytes()


def test_each_subset_has_two_images_per_person_and_the_truth_is_separate(root: Path) -> None:
    for images, truth, people in (("train/DCM", "train/outputs_json", range(1, 6)), ("test/DCM", "test_truth/outputs_json", range(6, 9))):
        stems = {folder.name: sorted(path.stem for path in folder.iterdir()) for folder in (root / images).iterdir()}
        assert sorted(stems) == [f"ID{number:03d}" for number in people]
        assert all(len(pair) == 2 for pair in stems.values())
        assert stems == {folder.name: sorted(path.stem for path in folder.iterdir()) for folder in (root / truth).iterdir()}
    assert not files(root, "test/**/*.json")
    assert sorted(path.name for path in root.iterdir()) == ["test", "test_truth", "train"]
    assert sorted(path.name for path in (root / "train").iterdir()) == ["DCM", "outputs_json", "people.csv"]


def test_only_the_first_person_has_a_side_in_the_name_and_no_name_is_repeated(root: Path) -> None:
    names = [path.name for path in files(root, "**/*.png")]
    assert len(set(names)) == len(names) == 16
    assert "image1661130828152_R.png" in names
    suffixed = files(root, "**/*_?.png")
    assert [path.stem[-2:] for path in suffixed] == ["_R", "_L"]
    assert {path.parent.name for path in suffixed} == {"ID001"}


def test_images_have_three_equal_channels_and_bone_is_brighter_than_flesh_and_flesh_than_air(root: Path) -> None:
    for path, document in annotations(root):
        image = cv2.imread(str(image_of(root, path)), cv2.IMREAD_UNCHANGED)
        assert image.shape == (128, 128, 3)
        assert np.array_equal(image[..., 0], image[..., 1])
        assert np.array_equal(image[..., 0], image[..., 2])
        bones = cv2.fillPoly(np.zeros((128, 128), np.uint8), [np.array(entry["points"]) for entry in document["annotations"]], 1)
        flesh = cv2.dilate(bones, np.ones((5, 5), np.uint8)) - bones
        air = 1 - cv2.dilate(bones, np.ones((41, 41), np.uint8))
        grey = [image[..., 0][region == 1].mean() for region in (bones, flesh, air)]
        assert grey[0] > grey[1] + 20 > grey[2] + 40


def test_annotations_have_the_keys_and_the_pitfalls_of_real_ones(root: Path) -> None:
    orders, ids = set(), []
    for path, document in annotations(root):
        assert list(document) == ["annotations", "attributes", "file_id", "filename", "metadata"]
        assert document["filename"] == f"{path.stem}.jpg"
        assert document["metadata"] == {"height": 3060, "width": 3060}
        assert all(list(entry) == ["id", "type", "attributes", "points", "label"] for entry in document["annotations"])
        assert all((entry["type"], entry["attributes"]) == ("poly_seg", {}) for entry in document["annotations"])
        orders.add(tuple(entry["label"] for entry in document["annotations"]))
        ids += [document["file_id"], *(entry["id"] for entry in document["annotations"])]
    assert len(orders) == 16
    assert BONES not in orders
    assert len(set(ids)) == len(ids)


def test_every_bone_has_one_polygon_inside_the_image(root: Path) -> None:
    for _, document in annotations(root):
        points = {entry["label"]: np.array(entry["points"]) for entry in document["annotations"]}
        assert len(document["annotations"]) == len(BONES)
        assert set(points) == set(BONES)
        for name, polygon in points.items():
            assert polygon.dtype.kind == "i"
            assert polygon.min() >= 0
            assert polygon.max() <= 127
            assert (len(polygon) > 1000) if name in FOREARM else (17 <= len(polygon) <= 63)
            assert (polygon[:, 1].max() == 127) == (name in FOREARM)


def test_the_first_hand_is_the_right_one_with_its_thumb_on_the_left(root: Path) -> None:
    for folder in {path.parent for path, _ in annotations(root)}:
        for right, path in zip((True, False), sorted(folder.iterdir()), strict=True):
            x = {entry["label"]: np.mean(entry["points"], axis=0)[0] for entry in json.loads(path.read_text())["annotations"]}
            assert (x["Radius"] < x["Ulna"]) == right
            assert (x["Trapezium"] < x["Hamate"]) == right


def test_one_pose_mirrored_is_the_same_hand() -> None:
    person, pose = random_person(np.random.default_rng(1), False), random_pose(np.random.default_rng(2))
    right, left = hand_outlines(person, pose, False), hand_outlines(person, pose, True)
    assert all(np.allclose(right[name] * [-1, 1] + [UNIT - 1, 0], left[name]) for name in BONES)


def test_mean_areas_are_the_published_ones() -> None:
    areas: dict[str, list[float]] = {name: [] for name in MEAN_AREAS}
    for bent in (False, True):
        for outlines in (hand for pair in hands(15, bent) for hand in pair):
            polygons = hand_polygons(outlines, UNIT)
            for name in MEAN_AREAS:
                # fillPoly also fills the pixels on the edge, which adds half its length, and one
                length = cv2.arcLength(polygons[name], True)
                areas[name].append(cv2.contourArea(polygons[name]) + length / 2 + 1)
    assert {name: np.mean(found) for name, found in areas.items()} == pytest.approx(MEAN_AREAS, rel=0.1)


def test_the_overlaps_are_the_published_ones() -> None:
    pisiform, trapezoid, double = [], [], []
    for right, _ in hands(10, False):
        masks = rasterized(hand_polygons(right, UNIT), list(BONES))
        pisiform.append(iou(masks, "Triquetrum", "Pisiform"))
        trapezoid.append(iou(masks, "Trapezium", "Trapezoid"))
        double.append(np.mean(np.sum([mask.view(np.uint8) for mask in masks.values()], axis=0, dtype=np.uint8) > 1))
    assert 0.35 < np.mean(pisiform) < 0.55
    assert min(pisiform) > 0.2
    assert 0.1 < np.mean(trapezoid) < 0.28
    assert min(trapezoid) > 0.05
    assert 0.002 < np.mean(double) < 0.008


@pytest.mark.parametrize("bent", [False, True])
def test_hands_are_inside_the_image_and_the_lower_edge_cuts_the_forearms(bent: bool) -> None:
    for outlines in (hand for pair in hands(40, bent, seed=5) for hand in pair):
        hand = np.concatenate([outline for name, outline in outlines.items() if name not in FOREARM])
        assert hand.min() > 0
        assert hand.max() < UNIT - 1
        polygons = hand_polygons(outlines, UNIT)
        for name, area in (("Radius", 25000), ("Ulna", 12000)):
            lowest = polygons[name][polygons[name][:, 1] == UNIT - 1]
            assert np.ptp(lowest[:, 0]) > 40, "the cut is as wide as the shaft"
            assert cv2.contourArea(polygons[name]) > area


def test_bent_wrists_are_bent_and_straight_ones_are_not() -> None:
    straight = [bend(hand_polygons(hand, UNIT)) for pair in hands(20, False) for hand in pair]
    bent = [bend(hand_polygons(hand, UNIT)) for pair in hands(20, True) for hand in pair]
    assert max(straight) < 12 < min(bent)


def test_the_given_share_of_people_has_both_wrists_bent(root: Path) -> None:
    assert (len(bent_people(PARAMS, TRAIN)), len(bent_people(PARAMS, TEST))) == (2, 2)
    for folder, subset, first in (("train/outputs_json", TRAIN, 1), ("test_truth/outputs_json", TEST, 6)):
        found = {}
        for path, document in annotations(root / folder):
            points = {entry["label"]: np.array(entry["points"]) for entry in document["annotations"]}
            found[path] = (bend(points) > 13, int(path.parent.name.removeprefix("ID")) - first in bent_people(PARAMS, subset))
        assert all(is_bent == expected for is_bent, expected in found.values())


def test_the_table_of_people_says_whose_wrists_are_bent(root: Path) -> None:
    wrists = read_people(root)["wrist"]
    assert sorted(wrists) == [f"ID{number:03d}" for number in range(1, 9)]
    for path, document in annotations(root):
        is_bent = bend({entry["label"]: np.array(entry["points"]) for entry in document["annotations"]}) > 13
        assert wrists[path.parent.name] == ("bent" if is_bent else "straight")


def test_the_visible_edge_is_the_polygon() -> None:
    rng = np.random.default_rng(3)
    person, look = random_person(rng, False), random_look(rng)
    outlines = hand_outlines(person, random_pose(rng), False)
    image, polygons = render_xray(outlines, 1024, look, "R", rng), hand_polygons(outlines, 1024)
    for name in ("finger-1", "finger-9", "finger-12"):
        mask = cv2.fillPoly(np.zeros(image.shape, np.uint8), [polygons[name]], 1)
        depth = cv2.distanceTransform(mask, cv2.DIST_L2, 5) - cv2.distanceTransform(1 - mask, cv2.DIST_L2, 5)
        profile = [image[np.rint(depth) == pixels].mean() for pixels in (-5, -4, -3, -2, -1, 1, 2, 3, 4)]
        assert np.argmax(np.diff(profile)) in (3, 4, 5), "the steepest step is at the edge, or one pixel beside it"

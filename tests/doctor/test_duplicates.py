"""Images that are there twice are found after recompression and small changes of brightness; different hands are not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from handbone.dataset.layout import Sample
from handbone.doctor.labels.duplicates import duplicates, shared_people, thumbnail
from handbone.phantom.anatomy import hand_outlines, random_person, random_pose
from handbone.phantom.render import random_look, render_xray

Image = NDArray[np.uint8]


def hand(seed: int) -> Image:
    rng = np.random.default_rng(seed)
    return render_xray(hand_outlines(random_person(rng, False), random_pose(rng), False), 256, random_look(rng), "R", rng)


@pytest.fixture(scope="module")
def images() -> list[Image]:
    return [hand(seed) for seed in range(12)]


def sample(name: str, subset: str = "train") -> Sample:
    return Sample(subset, name, Path(f"{name}.png"), None)


def recompressed(image: Image) -> Image:
    return np.asarray(cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 30])[1], cv2.IMREAD_GRAYSCALE), np.uint8)


def brighter(image: Image) -> Image:
    return np.clip(image * 1.1 + 10, 0, 255).astype(np.uint8)


def smaller(image: Image) -> Image:
    return np.asarray(cv2.resize(image, (200, 200), interpolation=cv2.INTER_AREA), np.uint8)


def coloured(image: Image) -> Image:
    return np.repeat(image[..., None], 3, 2)


def test_different_hands_are_different(images: list[Image]) -> None:
    samples = [sample(f"ID{number}/a") for number in range(len(images))]
    assert not list(duplicates(samples, [thumbnail(image) for image in images]))


@pytest.mark.parametrize("change", [recompressed, brighter, smaller, coloured])
def test_the_same_picture_is_found(images: list[Image], change: Callable[[Image], Image]) -> None:
    samples = [*(sample(f"ID{number}/a") for number in range(len(images))), sample("ID99/b")]
    (found,) = duplicates(samples, [*map(thumbnail, images), thumbnail(change(images[3]))])
    assert (found.key, found.kind, found.twin) == ("ID99/b", "duplicate", ("train", "ID3/a"))


def test_a_picture_in_train_and_test_is_an_error(images: list[Image]) -> None:
    (found,) = duplicates([sample("A/a"), sample("B/b", "test")], [thumbnail(images[0]), thumbnail(brighter(images[0]))])
    assert (found.key, found.subset, found.kind, found.certain) == ("A/a", "train", "leak", True)


def test_constant_images_are_no_duplicates() -> None:
    grey = thumbnail(np.full((50, 50), 7, np.uint8))
    assert not list(duplicates([sample("A/a"), sample("B/b")], [grey, grey]))
    assert not list(duplicates([], []))


def test_a_person_in_train_and_test_is_an_error() -> None:
    found = list(shared_people([sample("A/a"), sample("B/b"), sample("A/c", "test"), sample("C/c", "test")]))
    assert [(finding.key, finding.kind) for finding in found] == [("A", "leak")]

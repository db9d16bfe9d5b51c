"""Phantom hands as polygons, without images, with faults planted in their labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from handbone.config.params import BONES
from handbone.doctor.labels.drawing import Drawing
from handbone.phantom.anatomy import CARPALS, RAYS, UNIT, hand_outlines, hand_polygons, random_person, random_pose

Polygons = list[list[NDArray[np.int32]]]
INDEX = {name: number for number, name in enumerate(BONES)}
THUMB, FIRST, MIDDLE, RING, LITTLE = ([INDEX[bone.name] for bone in ray.bones] for ray in RAYS)
MIRROR = [
    *zip(THUMB, LITTLE, strict=False),
    *zip(FIRST, RING, strict=True),
    *((INDEX[one], INDEX[other]) for one, other in (("Trapezium", "Hamate"), ("Scaphoid", "Triquetrum"), ("Radius", "Ulna"))),
]
"""Classes that change places in a hand whose labels are mirrored: each bone of a finger with that of the finger opposite, and carpals."""
NEIGHBOURS = [
    *(pair for ray in (THUMB, FIRST, MIDDLE, RING, LITTLE) for pair in pairwise(ray)),
    *((INDEX[one], INDEX[other]) for one, other in pairwise(CARPALS)),
    (INDEX["Trapezium"], INDEX["Scaphoid"]),
    (INDEX["Radius"], INDEX["Ulna"]),
]
WITHOUT_PLACE = np.array([[0.06, 0.06], [0.94, 0.06], [0.06, 0.9], [0.94, 0.9]]) * UNIT  # corners, in which there is no bone


def hands(people: int, bent: float = 0.12, seed: int = 0) -> tuple[list[Drawing], NDArray[np.bool_]]:
    """Two hands of 2048 px per person, right and left, and which have a bent wrist."""
    drawings, bends = list[Drawing](), list[bool]()
    for number in range(people):
        rng = np.random.default_rng([seed, number])
        bend = bool(rng.random() < bent)
        person = random_person(rng, bend)
        for side in "RL":
            polygons = hand_polygons(hand_outlines(person, random_pose(rng), side == "L"), UNIT)
            drawings.append(Drawing(f"ID{number:04d}/image_{side}", (UNIT, UNIT), [[polygons[name]] for name in BONES]))
            bends.append(bend)
    return drawings, np.array(bends)


def mirrored(polygons: Polygons, rng: np.random.Generator) -> None:
    for one, other in MIRROR:
        polygons[one], polygons[other] = polygons[other], polygons[one]


def swapped(polygons: Polygons, rng: np.random.Generator) -> None:
    one, other = NEIGHBOURS[rng.integers(len(NEIGHBOURS))]
    polygons[one], polygons[other] = polygons[other], polygons[one]


def wrong_bone(polygons: Polygons, rng: np.random.Generator) -> None:
    """The label of one bone around another one, drawn again by a somewhat unsteady hand."""
    one, other = rng.choice(len(BONES), 2, replace=False)
    polygons[one] = [np.rint(polygons[other][0] + rng.normal(0, 1.5, polygons[other][0].shape)).astype(np.int32)]


def missing(polygons: Polygons, rng: np.random.Generator) -> None:
    polygons[rng.integers(len(BONES))] = []


def foreign(polygons: Polygons, rng: np.random.Generator) -> None:
    """The label of a bone on something in a corner, such as the letter that marks the side."""
    bone = rng.integers(len(BONES))
    box = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * rng.uniform(30, 60, 2)
    polygons[bone] = [np.rint(WITHOUT_PLACE[rng.integers(4)] + box).astype(np.int32)]


def displaced(polygons: Polygons, rng: np.random.Generator) -> None:
    bone = rng.integers(len(BONES))
    points = polygons[bone][0]
    angle, extent = rng.uniform(0, 2 * np.pi), np.ptp(points, 0).max()
    moved = points + 0.4 * min(extent, 250) * np.array([np.cos(angle), np.sin(angle)])
    polygons[bone] = [np.clip(np.rint(moved), 0, UNIT - 1).astype(np.int32)]


def resized(polygons: Polygons, rng: np.random.Generator) -> None:
    bone, factor = rng.integers(len(BONES)), rng.choice([0.6, 1.6])
    points = polygons[bone][0]
    centre = points.mean(0)
    polygons[bone] = [np.clip(np.rint(centre + factor * (points - centre)), 0, UNIT - 1).astype(np.int32)]


def ring(polygons: Polygons, rng: np.random.Generator) -> None:
    """Only a ring along the bone's edge is filled."""
    bone = rng.integers(len(BONES))
    points = polygons[bone][0]
    inner = points.mean(0) + 0.7 * (points - points.mean(0))
    polygons[bone] = [np.rint(np.concatenate([points, points[:1], inner[:1], inner[::-1]])).astype(np.int32)]


FAULTS: dict[str, tuple[Callable[[Polygons, np.random.Generator], None], str]] = {
    "mirrored": (mirrored, "mirrored"),
    "swapped": (swapped, "swapped"),
    "wrong bone": (wrong_bone, "wrong_bone"),
    "missing": (missing, "missing"),
    "foreign": (foreign, "foreign"),
    "displaced": (displaced, "off_bone"),
    "resized": (resized, "off_bone"),
    "ring": (ring, "off_bone"),
}
"""Name of a fault -> how it is planted, and the kind that should be found."""


def plant(drawings: Sequence[Drawing], names: Sequence[str], share: float, seed: int = 1) -> tuple[list[Drawing], dict[str, str]]:
    """The same drawings with each fault in `share` of them, no two in one -> them, and key -> name of the fault."""
    rng = np.random.default_rng(seed)
    count = max(1, round(share * len(drawings)))
    at = rng.choice(len(drawings), count * len(names), replace=False)
    faults = dict(zip(at.tolist(), [name for name in names for _ in range(count)], strict=True))
    changed = list(drawings)
    for number, name in faults.items():
        polygons = [list(of_class) for of_class in drawings[number].polygons]
        FAULTS[name][0](polygons, rng)
        changed[number] = Drawing(drawings[number].key, drawings[number].shape, polygons)
    return changed, {drawings[number].key: name for number, name in faults.items()}

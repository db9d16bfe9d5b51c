"""Bone outlines of one hand in unit space: a 2048 x 2048 pixel grid, x to the right, y down, right hand with the thumb on the left.

Lengths are in unit pixels, areas in square unit pixels, angles in degrees from straight up, clockwise. The tables describe the straight
mean hand relative to the wrist; a `Person` changes its proportions, a `Pose` bends, turns, spreads and shifts it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from handbone.config.params import BONES

Points = NDArray[np.float64]
Outlines = dict[str, Points]

UNIT = 2048

# Right halves of symmetric outlines, tip to base: (share of the half width, share of the length).
HALF_SHAPES: dict[str, list[tuple[float, float]]] = {
    "distal": [
        *[(0, 0), (0.42, 0), (0.66, 0.06), (0.68, 0.15), (0.5, 0.27), (0.46, 0.5), (0.58, 0.7)],
        *[(0.9, 0.84), (1.02, 0.92), (0.95, 1), (0.5, 1), (0, 0.96)],
    ],
    "phalanx": [
        *[(0, 0.03), (0.35, 0), (0.68, 0), (0.82, 0.04), (0.82, 0.11), (0.68, 0.2), (0.6, 0.32), (0.6, 0.5), (0.66, 0.68)],
        *[(0.84, 0.82), (1, 0.89), (1.04, 0.96), (0.92, 1), (0.45, 1), (0, 0.97)],
    ],
    "metacarpal": [
        *[(0, 0), (0.42, 0), (0.78, 0.03), (0.94, 0.08), (0.92, 0.15), (0.7, 0.24), (0.56, 0.36), (0.52, 0.52), (0.58, 0.68)],
        *[(0.74, 0.81), (0.92, 0.88), (0.98, 0.93), (0.94, 1), (0.5, 1), (0, 0.975)],
    ],
}


class LongBone(NamedTuple):
    """A phalanx or metacarpal of the mean hand."""

    name: str
    shape: str
    length: float
    area: float
    angle: float


class Ray(NamedTuple):
    """One finger: the base of its metacarpal relative to the wrist, and its bones from the metacarpal to the tip."""

    base: tuple[float, float]
    bones: tuple[LongBone, ...]


RAYS = (
    Ray(
        (-202, -202),
        (
            LongBone("finger-3", "metacarpal", 290, 24000, -40),
            LongBone("finger-2", "phalanx", 200, 13500, -32),
            LongBone("finger-1", "distal", 140, 6200, -28),
        ),
    ),
    Ray(
        (-88, -232),
        (
            LongBone("finger-7", "metacarpal", 430, 35311, -9),
            LongBone("finger-6", "phalanx", 255, 17800, -9),
            LongBone("finger-5", "phalanx", 145, 8300, -8),
            LongBone("finger-4", "distal", 105, 4950, -7),
        ),
    ),
    Ray(
        (-8, -238),
        (
            LongBone("finger-11", "metacarpal", 415, 32000, -1),
            LongBone("finger-10", "phalanx", 285, 20000, -1),
            LongBone("finger-9", "phalanx", 175, 10200, -1),
            LongBone("finger-8", "distal", 112, 5500, 0),
        ),
    ),
    Ray(
        (60, -234),
        (
            LongBone("finger-15", "metacarpal", 370, 24500, 7),
            LongBone("finger-14", "phalanx", 265, 17200, 8),
            LongBone("finger-13", "phalanx", 165, 9100, 7),
            LongBone("finger-12", "distal", 112, 5300, 6),
        ),
    ),
    Ray(
        (118, -218),
        (
            LongBone("finger-19", "metacarpal", 345, 23000, 16),
            LongBone("finger-18", "phalanx", 210, 12200, 19),
            LongBone("finger-17", "phalanx", 115, 5500, 17),
            LongBone("finger-16", "distal", 96, 3895, 14),
        ),
    ),
)
FINGERS = tuple(bone.name for ray in RAYS for bone in ray.bones)
JOINT_GAP = 5.0


class ShortBone(NamedTuple):
    """A carpal of the mean hand: centre relative to the wrist, area, share of the wrist's bend that it follows, outline at any scale."""

    centre: tuple[float, float]
    area: float
    follows: float
    outline: list[tuple[float, float]]


CARPALS = {
    "Trapezium": ShortBone((-151, -158), 10300, 1, [(-50, -42), (10, -55), (52, -25), (48, 35), (5, 55), (-50, 25)]),
    "Trapezoid": ShortBone((-96, -182), 7200, 1, [(-42, -45), (38, -47), (36, 5), (12, 46), (-25, 42), (-42, 0)]),
    "Capitate": ShortBone(
        (-10, -166), 13000, 1, [(-48, -78), (45, -75), (52, -25), (38, 20), (40, 62), (0, 88), (-38, 66), (-40, 20), (-52, -25)]
    ),
    "Hamate": ShortBone((76, -172), 11000, 1, [(-45, -58), (30, -62), (66, -28), (45, 15), (5, 55), (-35, 72), (-50, 10)]),
    "Scaphoid": ShortBone((-100, -72), 9200, 0.5, [(-72, -48), (-35, -68), (10, -30), (58, -12), (64, 38), (20, 54), (-32, 30), (-68, 0)]),
    "Lunate": ShortBone((2, -48), 8000, 0.5, [(-52, -22), (-25, -48), (0, -28), (38, -42), (55, 0), (35, 42), (-10, 54), (-48, 32)]),
    "Triquetrum": ShortBone((92, -84), 7000, 0.5, [(-48, -15), (0, -52), (48, -34), (46, 15), (5, 52), (-38, 38)]),
    "Pisiform": ShortBone((112, -76), 4327, 0.5, [(-30, -26), (5, -40), (33, -20), (32, 18), (0, 40), (-30, 22)]),
}
# The forearm reaches far beyond the image, so that the lower edge cuts it in every pose.
FOREARM: dict[str, list[tuple[float, float]]] = {
    "Radius": [
        *[(-166, -30), (-146, -52), (-112, -28), (-62, 2), (0, 16), (42, 8), (50, 50), (38, 100), (4, 160), (-28, 290), (-38, 520)],
        *[(-40, 1000), (-127, 1000), (-127, 520), (-132, 290), (-148, 160), (-168, 80), (-178, 10)],
    ],
    "Ulna": [
        *[(58, 50), (80, 22), (122, 30), (136, -2), (156, 2), (160, 50), (150, 100), (130, 165), (119, 300), (114, 1000)],
        *[(43, 1000), (49, 300), (60, 165), (53, 100)],
    ],
}
FOREARM_POINTS = 1100

WRIST_HEIGHT = 1510
PIVOT = np.array([0.0, -85.0])  # the capitate's head, relative to the wrist: the carpal rows turn about it
MARGIN = 40
MAX_CONTROL = 32


@dataclass(frozen=True)
class Person:
    """What both hands share: factors of length and width (29,), bumps (29, 32, 2) in unit pixels, the wrist's bend and turn in degrees."""

    length: Points
    width: Points
    bumps: Points
    wrist: float
    turn: float


@dataclass(frozen=True)
class Pose:
    """What differs between two images of a person: angles in degrees (5 rays, 19 joints), gaps (19,) and shift (2,) in unit pixels."""

    spread: Points
    joints: Points
    gaps: Points
    rotation: float
    wrist: float
    scale: float
    shift: Points


def random_person(rng: np.random.Generator, bent: bool) -> Person:
    """Random proportions. `bent`: the wrist is bent by 17 to 33 degrees to either side, and every third hand is also turned."""
    slim = rng.normal(0, 0.04)
    sign = rng.choice([-1.0, 1.0], 2)
    bend, turn, turned = rng.uniform(17, 33), rng.uniform(8, 18), rng.random() < 1 / 3
    return Person(
        length=np.exp(rng.normal(0, 0.025, len(BONES))) * (1 + slim / 2),
        width=np.exp(rng.normal(0, 0.025, len(BONES))) * (1 - slim),
        bumps=rng.normal(0, 2.2, (len(BONES), MAX_CONTROL, 2)),
        wrist=float(sign[0] * bend * bent),
        turn=float(sign[1] * turn * (bent and turned)),
    )


def random_pose(rng: np.random.Generator) -> Pose:
    """A random pose of one image."""
    return Pose(
        spread=rng.normal(0, 1.2, 5) + rng.uniform(0.4, 1.6) * np.array([-3, -2.5, 0, 2, 4]),
        joints=rng.normal(0, 1.2, len(FINGERS)),
        gaps=rng.normal(JOINT_GAP, 2.5, len(FINGERS)),
        rotation=float(rng.uniform(-5, 5)),
        wrist=float(rng.uniform(-2, 2)),
        scale=float(rng.uniform(0.95, 1.05)),
        shift=rng.uniform(-45, 45, 2),
    )


def hand_outlines(person: Person, pose: Pose, mirrored: bool) -> Outlines:
    """Smooth (n, 2) outlines of the 29 bones in unit space; Radius and Ulna continue beyond the lower edge."""
    bend = person.wrist + pose.wrist
    hand = {name: _turn(outline, bend, PIVOT) for name, outline in _fingers(person, pose).items()}
    hand |= {name: _turn(outline, bend * CARPALS[name].follows, PIVOT) for name, outline in _carpals(person).items()}
    forearm = {name: _smooth(_vary(person, name, np.array(outline, float))) for name, outline in FOREARM.items()}
    turned = {name: _turn(outline, person.turn + pose.rotation) * pose.scale for name, outline in (hand | forearm).items()}
    shift = _shift_inside(np.concatenate([turned[name] for name in hand]), pose)
    moved = {name: turned[name] + shift for name in BONES}
    return {name: _mirror(outline) for name, outline in moved.items()} if mirrored else moved


def hand_polygons(outlines: Outlines, size: int) -> dict[str, NDArray[np.int32]]:
    """(n, 2) int32 annotation points in a `size` x `size` image: each outline cut at the lower edge, resampled, converted and rounded."""
    return {name: _to_pixels(_resample(name, _cut_below(outline, UNIT - 0.5)), size) for name, outline in outlines.items()}


def scale_points(points: Points, size: int) -> Points:
    """(n, 2) points in unit space -> the same in a grid of `size` x `size` pixels; pixel centres have integer coordinates in both."""
    return (points + 0.5) * (size / UNIT) - 0.5


def _fingers(person: Person, pose: Pose) -> Outlines:
    outlines = {}
    for ray, spread in zip(RAYS, pose.spread, strict=True):
        base = np.array(ray.base)
        for bone in ray.bones:
            joint = FINGERS.index(bone.name)
            # the palm holds the metacarpals: they take a third of the spread, and no joint bends them
            free = bone.shape != "metacarpal"
            angle = bone.angle + spread * (1 if free else 1 / 3) + pose.joints[joint] * free
            outlines[bone.name] = _turn(_long_bone(person, bone), angle) + base
            step = bone.length * person.length[BONES.index(bone.name)] + pose.gaps[joint]
            base = base + step * np.array([np.sin(np.radians(angle)), -np.cos(np.radians(angle))])
    return outlines


def _long_bone(person: Person, bone: LongBone) -> Points:
    half_width = bone.area / (bone.length * _shape_area(bone.shape))
    control = (_full_shape(bone.shape) - [0, 1]) * [half_width, bone.length]
    return _smooth(_vary(person, bone.name, control))


def _carpals(person: Person) -> Outlines:
    outlines = {}
    for name, bone in CARPALS.items():
        control = np.array(bone.outline, float)
        control *= np.sqrt(bone.area / _area(_smooth(control)))
        outlines[name] = _smooth(_vary(person, name, control)) + bone.centre
    return outlines


def _vary(person: Person, name: str, control: Points) -> Points:
    """The mean (n, 2) control points with the person's factors and bumps; the width is scaled about the bone's axis."""
    bone = BONES.index(name)
    axis = np.array([control[:, 0].mean(), 0])
    factors = np.array([person.width[bone], person.length[bone]])
    bumped: Points = (control - axis) * factors + axis + person.bumps[bone, : len(control)]
    return bumped


@cache
def _shape_area(shape: str) -> float:
    return _area(_smooth(_full_shape(shape)))


def _full_shape(shape: str) -> Points:
    right = np.array(HALF_SHAPES[shape], float)
    return np.concatenate([right, right[-2:0:-1] * [-1, 1]])


def _smooth(control: Points) -> Points:
    """(n, 2) corners -> (16 n, 2) points of a smooth closed curve (Chaikin's corner cutting)."""
    for _ in range(4):
        following = np.roll(control, -1, axis=0)
        control = np.concatenate([0.75 * control + 0.25 * following, 0.25 * control + 0.75 * following], 1).reshape(-1, 2)
    return control


def _turn(points: Points, degrees: float, centre: Points | float = 0.0) -> Points:
    sin, cos = np.sin(np.radians(degrees)), np.cos(np.radians(degrees))
    clockwise: Points = np.array([[cos, sin], [-sin, cos]])
    return (points - centre) @ clockwise + centre


def _shift_inside(hand: Points, pose: Pose) -> Points:
    """The (2,) shift from the wrist's frame into the image that centres the hand and leaves no point of it outside."""
    low, high = hand.min(0), hand.max(0)
    wanted = np.array([UNIT / 2 - (low[0] + high[0]) / 2, WRIST_HEIGHT]) + pose.shift
    shift: Points = np.clip(wanted, MARGIN - low, UNIT - MARGIN - high)
    return shift


def _mirror(points: Points) -> Points:
    return np.stack([UNIT - 1 - points[:, 0], points[:, 1]], 1)


def _cut_below(outline: Points, limit: float) -> Points:
    """The part of a closed (n, 2) outline with y up to `limit`, closed by a straight cut."""
    following = np.roll(outline, -1, axis=0)
    inside = outline[:, 1] <= limit
    crossing = inside != (following[:, 1] <= limit)
    rise = np.where(crossing, following[:, 1] - outline[:, 1], 1)
    cuts = outline + ((limit - outline[:, 1]) / rise)[:, None] * (following - outline)
    kept: Points = np.stack([outline, cuts], 1)[np.stack([inside, crossing], 1)]
    return kept


def _resample(name: str, outline: Points) -> Points:
    """Points at equal steps along a closed outline: as many as an annotator sets, or as many as a tracing tool sets for the forearm."""
    closed = np.concatenate([outline, outline[:1]])
    distance = np.concatenate([[0], np.hypot(*np.diff(closed, axis=0).T).cumsum()])
    n = FOREARM_POINTS if name in FOREARM else int(np.clip(distance[-1] / 15, 17, 63))
    steps = np.arange(n) * (distance[-1] / n)
    return np.stack([np.interp(steps, distance, closed[:, axis]) for axis in (0, 1)], 1)


def _to_pixels(points: Points, size: int) -> NDArray[np.int32]:
    return np.clip(np.rint(scale_points(points, size)), 0, size - 1).astype(np.int32)


def _area(points: Points) -> float:
    x, y = points.T
    return float(abs(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))) / 2)

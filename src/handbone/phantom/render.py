"""The X-ray image of a hand: every tissue adds attenuation, and an exposure curve converts the sum to grey values.

Bones are rendered from their outlines at twice the image's resolution and averaged down, so that the visible edge is the outline itself.
Soft tissue has no outline: it fills everything within some distance of the bones.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from handbone.phantom.anatomy import CARPALS, FOREARM, RAYS, UNIT, Outlines, Points, scale_points

Plane = NDArray[np.float32]

FINE = 2  # bone pixels per image pixel, along one side
SOFT = 512  # side of the grid for everything that varies slowly
FRAME = 64  # unit pixels around a bone's crop

# Distance of the skin from the common hull of some bones, in unit pixels -> those groups of bones.
_THUMB, *_LONG_FINGERS = [[bone.name for bone in ray.bones] for ray in RAYS]
_PALM = [finger[0] for finger in _LONG_FINGERS]
SKINS: dict[float, list[list[str]]] = {
    27: [[near, far] for finger in (_THUMB, *_LONG_FINGERS) for near, far in pairwise(finger[1:])],
    31: [*(finger[:2] for finger in (_THUMB, *_LONG_FINGERS)), [_THUMB[0], _PALM[0], "Trapezium"]],
    46: [[*_PALM, *CARPALS]],
    62: [[*CARPALS], [*FOREARM]],
}


@dataclass(frozen=True)
class Look:
    """The exposure of one person's images.

    bone, soft: strength of attenuation. noise: in grey values. blur: unit pixels. base: grey value of air, 0..255.
    """

    bone: float
    soft: float
    noise: float
    blur: float
    base: float
    marker: bool
    collimated: bool


def random_look(rng: np.random.Generator) -> Look:
    """A random exposure; two of three people have a side marker, one of four has a collimator's edge."""
    return Look(
        bone=float(rng.uniform(0.85, 1.15)),
        soft=float(rng.uniform(0.8, 1.2)),
        noise=float(rng.uniform(2.5, 5)),
        blur=float(rng.uniform(1.0, 2.2)),
        base=float(rng.uniform(8, 26)),
        marker=bool(rng.random() < 2 / 3),
        collimated=bool(rng.random() < 1 / 4),
    )


def render_xray(outlines: Outlines, size: int, look: Look, side: str, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Outlines in unit space -> (size, size) uint8 image; `side` is the marker's letter, R or L."""
    skin = _skin(outlines)
    attenuation = _resize(0.5 * look.soft * _soft_tissue(skin, rng), size)
    texture = _texture(size, rng)
    for outline in outlines.values():
        _add_bone(attenuation, outline, texture, look.bone)
    if look.marker:
        _add_marker(attenuation, skin, side)
    field = _exposure(rng) * (_collimator(rng) if look.collimated else 1)
    signal = (look.base + 235 * (1 - np.exp(-attenuation))) * _resize(field, size)
    return _detect(np.asarray(signal, np.float32), look, rng)


def _skin(outlines: Outlines) -> Plane:
    """(SOFT, SOFT) depth below the skin in unit pixels, negative outside, smooth where two parts meet."""
    unit = UNIT / SOFT
    depth = np.full((SOFT, SOFT), -UNIT, np.float32)
    for reach, groups in SKINS.items():
        outside = np.ones((SOFT, SOFT), np.uint8)
        for names in groups:
            points = scale_points(np.concatenate([outlines[name] for name in names]), SOFT)
            cv2.fillConvexPoly(outside, cv2.convexHull(np.rint(points * 16).astype(np.int32)), (0,), cv2.LINE_8, 4)
        np.maximum(depth, reach - unit * cv2.distanceTransform(outside, cv2.DIST_L2, 5), out=depth)
    smooth = cv2.GaussianBlur(np.clip(depth, -80, 80), (0, 0), 16 / unit)
    inside = cv2.distanceTransform((smooth > 0).astype(np.uint8), cv2.DIST_L2, 5) * unit
    return np.where(smooth > 0, inside, smooth).astype(np.float32)


def _soft_tissue(skin: Plane, rng: np.random.Generator) -> Plane:
    """(SOFT, SOFT) attenuation, about 1 in the palm: curved at the rim, thicker where the hand is broader, mottled by muscle."""
    rim = np.clip(skin, 0, 75)
    thickness = np.sqrt(rim * (150 - rim)) / 75
    bulk = cv2.GaussianBlur(np.clip(skin, 0, 220) / 220, (0, 0), 8)
    mottle = 1 + 0.05 * _smooth_noise(18, rng) + 0.035 * _smooth_noise(5, rng)
    return np.asarray(cv2.GaussianBlur((0.75 * thickness + 0.6 * bulk) * mottle, (0, 0), 1.6), np.float32)


def _add_bone(attenuation: Plane, outline: Points, texture: Plane, strength: float) -> None:
    """Add one bone to the (size, size) plane in place; `texture` is the grain of spongy bone, with mean about 0."""
    size = len(attenuation)
    frame = FRAME * size // UNIT + 2
    points = scale_points(outline, size)
    x0, y0 = np.clip(np.floor(points.min(0)).astype(int) - frame, 0, size)
    x1, y1 = np.clip(np.ceil(points.max(0)).astype(int) + frame, 0, size)
    fine = scale_points(outline, FINE * size) - np.array([x0, y0]) * FINE
    density = _bone_density(fine, (FINE * (x1 - x0), FINE * (y1 - y0)), UNIT / (FINE * size))
    crop = cv2.resize(density, (int(x1 - x0), int(y1 - y0)), interpolation=cv2.INTER_AREA)
    attenuation[y0:y1, x0:x1] += strength * crop * (1 + texture[y0:y1, x0:x1])


def _bone_density(points: Points, shape: tuple[int, int], unit: float) -> Plane:
    """(height, width) attenuation by one bone, a tube of dense cortex around a lighter core.

    shape: (width, height) of the crop. unit: unit pixels per pixel of the crop.
    """
    filled = np.zeros(shape[::-1], np.uint8)
    cv2.fillPoly(filled, [np.rint(points * 16).astype(np.int32)], (1,), shift=4)
    depth = cv2.distanceTransform(filled, cv2.DIST_L2, 5) * unit
    shaft = _shaft(points, shape)
    radius = float(min(depth.max(), 42))
    cortex = radius * (0.14 + 0.19 * shaft)
    core = _chord(depth - cortex, radius - cortex)
    density = (_chord(depth, radius) - (0.74 + 0.13 * shaft) * core) / np.sqrt(34 * radius)
    return np.asarray(0.1 * (depth > 0) + 1.3 * density, np.float32)


def _chord(depth: Plane, radius: Plane | float) -> Plane:
    """Half the path of a ray through a cylinder, `depth` inside its rim; the whole radius where the bone is broader."""
    depth = np.clip(depth, 0, radius)
    return np.asarray(np.sqrt(depth * (2 * radius - depth)), np.float32)


def _shaft(points: Points, shape: tuple[int, int]) -> Plane:
    """(height, width) from 0 at a bone's ends to 1 along its middle; 0 throughout for a bone about as long as broad."""
    centre = (points.min(0) + points.max(0)) / 2
    values, vectors = np.linalg.eigh(np.cov((points - centre).T))
    along = (points - centre) @ vectors[:, 1]
    middle, half = (along.max() + along.min()) / 2, np.ptp(along) / 2
    x, y = (np.arange(n, dtype=np.float32) - c for n, c in zip(shape, centre, strict=True))
    place = np.abs((x * vectors[0, 1])[None, :] + (y * vectors[1, 1])[:, None] - middle) / half
    length = np.clip(values[1] / values[0] / 4 - 0.6, 0, 1)
    return np.asarray(length * np.clip((0.85 - place) / 0.45, 0, 1), np.float32)


def _texture(size: int, rng: np.random.Generator) -> Plane:
    """(size, size) grain of spongy bone; its scale relative to the hand does not depend on `size`."""
    grain = rng.standard_normal((2 * SOFT, 2 * SOFT), np.float32)
    band = cv2.GaussianBlur(grain, (0, 0), 1.2) - cv2.GaussianBlur(grain, (0, 0), 3.5)
    shading = _resize(_smooth_noise(14, rng), size)
    return _resize(0.075 * band / band.std(), size) + 0.09 * shading


def _exposure(rng: np.random.Generator) -> Plane:
    """(SOFT, SOFT) dose relative to the full dose, about 1: a gradient and a vignette."""
    y, x = np.mgrid[-1 : 1 : SOFT * 1j, -1 : 1 : SOFT * 1j]
    slope = rng.uniform(-0.08, 0.08, 2)
    return np.asarray(1 + slope[0] * x + slope[1] * y - rng.uniform(0.02, 0.12) * (x**2 + y**2), np.float32)


def _collimator(rng: np.random.Generator) -> Plane:
    """(SOFT, SOFT) transmission of lead shutters: 1 inside, less outside, with straight soft edges that do not cut the hand."""
    window = np.full((SOFT, SOFT), 0.45, np.float32)
    left, right = rng.integers(3, 9, 2)
    window[int(rng.integers(3, 9)) :, left : SOFT - right] = 1
    return np.asarray(cv2.GaussianBlur(window, (0, 0), 0.7), np.float32)


def _add_marker(attenuation: Plane, skin: Plane, side: str) -> None:
    """Add a lead letter in place, in the corner with the least tissue."""
    tissue = cv2.resize(np.clip(skin, 0, 1), (6, 6), interpolation=cv2.INTER_AREA)
    corners = {(0.07, 0.12): tissue[0, 0], (0.87, 0.12): tissue[0, -1], (0.07, 0.88): tissue[-1, 0], (0.87, 0.88): tissue[-1, -1]}
    x, y = min(corners, key=lambda corner: float(corners[corner]))
    size = len(attenuation)
    letter = np.zeros((size, size), np.uint8)
    place, thickness = (int(x * size), int(y * size)), max(1, size // 170)
    cv2.putText(letter, side, place, cv2.FONT_HERSHEY_SIMPLEX, size / 512, (255,), thickness, cv2.LINE_AA)
    attenuation += letter * np.float32(2 / 255)


def _detect(signal: Plane, look: Look, rng: np.random.Generator) -> NDArray[np.uint8]:
    """(size, size) uint8: blur of the focal spot, and slightly correlated quantum noise, stronger where the image is brighter."""
    size = len(signal)
    blurred = cv2.GaussianBlur(signal, (0, 0), max(0.3, look.blur * size / UNIT))
    noise = cv2.GaussianBlur(rng.standard_normal((size, size), np.float32), (0, 0), 0.6)
    return np.clip(np.rint(blurred + look.noise * (0.5 + blurred / 200) * noise), 0, 255).astype(np.uint8)


def _smooth_noise(sigma: float, rng: np.random.Generator) -> Plane:
    """(SOFT, SOFT) noise with mean 0 and standard deviation 1, smoothed with a Gaussian of `sigma` pixels of this grid."""
    coarse = rng.standard_normal((SOFT // 4, SOFT // 4), np.float32)
    noise = cv2.GaussianBlur(coarse, (0, 0), sigma / 4)
    return _resize(np.asarray((noise - noise.mean()) / noise.std(), np.float32), SOFT)


def _resize(plane: Plane, size: int) -> Plane:
    """A square plane resized to (size, size): averaged over areas when it shrinks, cubic when it grows."""
    return np.asarray(cv2.resize(plane, (size, size), interpolation=cv2.INTER_AREA if size < len(plane) else cv2.INTER_CUBIC), np.float32)

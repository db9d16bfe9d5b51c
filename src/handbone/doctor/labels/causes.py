"""Why single classes of an image are strange: the explanation with which they fit the anatomy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from handbone.doctor.labels.anatomy import SHIFT, Anatomy
from handbone.doctor.labels.doubt import Doubt
from handbone.doctor.labels.drawing import GRID, Floats, frame, paint
from handbone.doctor.labels.finding import Finding
from handbone.masks.rasterize import Polygon

BETTER = 0.5  # of the strangeness may be left with another label
INSIDE, UNUSUAL = 0.7, 0.3  # share of a polygon inside another class's if it is drawn on that one, and how much more than usual that is
EXAMPLES = 32  # images from which it is known what is usual
AWAY = 1.5  # sizes of a class from the expected place: farther away nothing of it belongs
NEAR = 3  # nearest classes of a class, of which one is turned with it
BEND, STRETCH = np.radians(50), np.log(1.25)  # of a joint; the most that a group of bones turns, and grows or shrinks, in it


def single_faults(anatomy: Anatomy, image: Doubt) -> Iterator[Finding]:
    """A finding for each strange class, or for two that are exchanged. Classes that a bent joint moved together are none."""
    key, left = anatomy.drawings[image.number].key, image.suspects
    fits = {c: _as_each(anatomy, image, c) for c in np.flatnonzero(image.present).tolist()} if left else {}
    findings = []
    while left:
        c = left.pop(0)
        other = _partner(image, fits, c)
        if other is None:
            findings.append(_single(anatomy, image, fits[c], c))
        else:
            left = [suspect for suspect in left if suspect != other]
            yield Finding(key, "swapped", (c, other), float(image.strange[c]), "each at the place of the other")
    off = [finding.classes[0] for finding in findings if finding.kind == "off_bone"]
    bent = _bent(anatomy, image, off)
    yield from (finding for finding in findings if finding.kind != "off_bone")
    if left := [c for c in off if c not in bent]:
        yield off_bone(anatomy, image, left)


def _as_each(anatomy: Anatomy, image: Doubt, c: int) -> Floats:
    """(C,) strangeness of the polygons of class c, if they were those of each class."""
    return np.asarray(anatomy.as_each_class(image.number, anatomy.drawings[image.number].polygons[c], image.expectation).max(0))


def _partner(image: Doubt, fits: Mapping[int, Floats], c: int) -> int | None:
    """The class with which c is exchanged: each then fits, and far better."""

    def after(other: int) -> float:
        return float(max(fits[c][other], fits[other][c]))

    best = min((other for other in fits if other != c), key=after, default=None)
    return best if best is not None and after(best) < min(1.0, BETTER * float(image.strange[c])) else None


def _single(anatomy: Anatomy, image: Doubt, fits: Floats, c: int) -> Finding:
    """What is wrong with class c alone. fits: (C,) its strangeness as each class."""
    drawing, strange = anatomy.drawings[image.number], float(image.strange[c])
    if stray := _stray(anatomy, image, c):
        words = f"{stray} of {len(drawing.polygons[c])} polygons where nothing of the class belongs"
        return Finding(drawing.key, "foreign", (c,), strange, words)
    if anatomy.apart(image.number, image.expectation)[0, c] > 1:
        other = _drawn_on(anatomy, image, fits, c)
        if other is not None:
            words = "the first in the place of the second" + ("" if drawing.polygons[other] else ", which has no label")
            return Finding(drawing.key, "wrong_bone", (c, other), strange, words)
        if abs(anatomy.placed[image.number, c] - image.expectation.centres[c]) > AWAY * anatomy.sizes[c]:
            return Finding(drawing.key, "foreign", (c,), strange, "a polygon where nothing of the class belongs")
    return off_bone(anatomy, image, [c])


def off_bone(anatomy: Anatomy, image: Doubt, classes: Sequence[int]) -> Finding:
    """The classes, the strangest first, of which no other explanation is known."""
    unusual = anatomy.apart(image.number, image.expectation)[:, list(classes)].max(1) > 1
    names = [name for name, beyond in zip(("place", "size", "shape"), unusual, strict=True) if beyond]
    strange = float(image.strange[classes[0]])
    return Finding(anatomy.drawings[image.number].key, "off_bone", classes, strange, f"an unusual {' and '.join(names)}")


def _stray(anatomy: Anatomy, image: Doubt, c: int) -> int:
    """How many of several polygons are away, if another one fits."""
    polygons = anatomy.drawings[image.number].polygons[c]
    if len(polygons) < 2:
        return 0
    alone = [float(anatomy.as_each_class(image.number, [polygon], image.expectation)[:, c].max()) for polygon in polygons]
    return sum(value > 1 for value in alone) if min(alone) <= 1 else 0


def _drawn_on(anatomy: Anatomy, image: Doubt, fits: Floats, c: int) -> int | None:
    """The other class whose bone the polygons of class c show: they fit it, or are inside its polygons as they usually are not."""
    others = [other for other in range(len(fits)) if other != c]
    best = min(others, key=lambda other: float(fits[other]))
    if fits[best] < min(1.0, BETTER * float(image.strange[c])):
        return best
    polygons = anatomy.drawings[image.number].polygons
    share, other = max(((inside_share(polygons[c], polygons[other]), other) for other in others), default=(0.0, -1))
    return other if share >= max(INSIDE, _usually_inside(anatomy, c, other) + UNUSUAL) else None


def _usually_inside(anatomy: Anatomy, c: int, other: int) -> float:
    examples = [drawing.polygons for drawing in anatomy.drawings if drawing.polygons[c]][:EXAMPLES]
    return float(np.median([inside_share(polygons[c], polygons[other]) for polygons in examples]))


def inside_share(polygons: Sequence[Polygon], others: Sequence[Polygon]) -> float:
    """Share of the area of polygons that is inside others, from a raster of GRID x GRID pixels of their box."""
    low, scale = frame(polygons)
    these, those = (paint((GRID, GRID), [(polygon - low) * scale for polygon in drawn]) for drawn in (polygons, others))
    return float((these & those).sum() / max(1, these.sum()))


def _bent(anatomy: Anatomy, image: Doubt, classes: Sequence[int]) -> list[int]:
    """Those of the classes that are turned together about a joint: all neighbours among them, or none."""
    apart = anatomy.apart(image.number, image.expectation)
    group = [c for c in classes if apart[1, c] <= 1]
    group = [c for c in group if set(group) & set(anatomy.neighbours[c, :NEAR].tolist())]
    if len(group) < 2:
        return []
    found, expected = anatomy.placed[image.number, group], image.expectation.centres[group]
    to_found, to_expected = found - found.mean(), expected - expected.mean()
    turn = (to_expected.conj() * to_found).sum() / max(1e-12, float((abs(to_expected) ** 2).sum()))
    left = abs(to_found - turn * to_expected) / (SHIFT * anatomy.sizes[group])
    together = abs(np.angle(turn)) <= BEND and abs(np.log(max(abs(turn), 1e-12))) <= STRETCH and left.max() <= 1
    return group if together else []

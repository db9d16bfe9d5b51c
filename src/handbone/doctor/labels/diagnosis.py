"""What is wrong with each image: first the image as a whole, then its classes, and then the classes that are absent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from handbone.doctor.labels.anatomy import Anatomy
from handbone.doctor.labels.causes import off_bone, single_faults
from handbone.doctor.labels.doubt import Doubt, doubt
from handbone.doctor.labels.drawing import Bools
from handbone.doctor.labels.finding import Finding
from handbone.doctor.labels.relabel import relabel

MANY = 0.25  # share of an image's classes: as many strange ones are no single faults
MIN_MOVED, MIN_GAIN = 4, 1.0  # classes that a new labelling of the whole image moves, and its gain for each, before it is believed
ODD_SIDE = 0.05  # share of images that are mirror images of the others, up to which they count as wrong
RARE = 0.02  # share of images without a class, up to which its absence is strange
NEIGHBOURS = 2  # nearest classes that must be there: where absence is allowed, teeth and the like are absent in groups


def diagnose(anatomy: Anatomy, allow_missing: bool) -> list[Finding]:
    """Every finding about positions, sizes, forms and absent classes. Classes are numbers of the anatomy's classes.

    allow_missing: a class may be absent where a neighbour is absent too.
    """
    odd = _odd_side(anatomy)
    findings = [_other_side(anatomy, number, odd) for number in np.flatnonzero(odd).tolist()]
    for number in np.flatnonzero(~odd).tolist():
        image = doubt(anatomy, number)
        if len(image.suspects) > MANY * image.present.sum():
            findings.append(_mirrored(anatomy, image) or off_bone(anatomy, image, image.suspects))
        else:
            findings += single_faults(anatomy, image)
    return findings + list(_missing(anatomy, allow_missing, findings))


def _odd_side(anatomy: Anatomy) -> Bools:
    """(N,) whether the image is a mirror image of nearly all others."""
    mirrored = anatomy.poses.mirrored
    few = mirrored if mirrored.mean() <= 0.5 else ~mirrored
    return np.asarray(few & (few.mean() <= ODD_SIDE))


def _other_side(anatomy: Anatomy, number: int, odd: Bools) -> Finding:
    present = np.flatnonzero(np.isfinite(anatomy.placed[number])).tolist()
    strange = ODD_SIDE / float(odd.mean())
    return Finding(anatomy.drawings[number].key, "mirrored", present, strange, "labels as in a mirror image of other images")


def _mirrored(anatomy: Anatomy, image: Doubt) -> Finding | None:
    """The labels of the whole image are permuted."""
    measures, number = anatomy.measures, image.number
    scaled = measures.log_areas[number] + 2 * np.log(abs(anatomy.poses.turn[number]))
    found = relabel(measures.centres[number], scaled, anatomy.shape, anatomy.shapes.log_areas)
    moved = np.flatnonzero(found.labels != np.arange(len(found.labels)))
    if len(moved) < MIN_MOVED or found.gain * image.present.sum() < MIN_GAIN * len(moved):
        return None
    words = f"{len(moved)} labels at the places of others, as if left and right were reversed"
    return Finding(anatomy.drawings[number].key, "mirrored", moved.tolist(), float(np.nanmax(image.strange)), words)


def _missing(anatomy: Anatomy, allow_missing: bool, findings: Sequence[Finding]) -> Iterator[Finding]:
    """Classes that nearly all images show, where another finding does not explain their absence."""
    absent = ~np.isfinite(anatomy.placed)
    share = absent.mean(0)
    strange = absent & (share <= RARE)
    if allow_missing:
        strange &= ~absent[:, anatomy.neighbours[:, :NEIGHBOURS]].any(2)
    explained = {(finding.key, c) for finding in findings if finding.kind == "wrong_bone" for c in finding.classes}
    for number, c in np.argwhere(strange).tolist():
        key = anatomy.drawings[number].key
        if (key, c) not in explained:
            yield Finding(key, "missing", (c,), float(RARE / share[c]), f"no polygon, as in {absent[:, c].sum()} of {len(absent)} images")

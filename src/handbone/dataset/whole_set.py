"""What no single file shows: faults of the whole data set. They are warnings, because now and then the data are meant so."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from handbone.cache.sample import CachedSample
from handbone.cache.sides import centres
from handbone.dataset.layout import Sample
from handbone.utils.errors import Problem
from handbone.utils.names import composed

CORNER = 1 / 3  # of width and height: polygons of a whole data set that never leave this corner are in another unit


@dataclass(frozen=True)
class SampleFacts:
    """What the whole set is checked for.

    pixels: hash of the image; constant: it has one grey level; areas: pixels of the C masks, None in the test set; reach: how far to the
    right and down the masks go, as shares of width and height; centres: of the C masks, x and y, likewise. void: pixels in no mask;
    overlap: pixels that masks lost to later ones, as classes exclude each other.
    """

    subset: str
    key: str
    person: str
    pixels: str
    constant: bool
    areas: Sequence[int] | None
    reach: tuple[float, float]
    centres: Sequence[tuple[float, float]] = ()
    void: int = 0
    overlap: int = 0

    @property
    def name(self) -> str:
        """The sample, for people to read."""
        return f"{self.subset}/{self.key}"


def facts_of(sample: Sample, cached: CachedSample, overlap: int = 0) -> SampleFacts:
    """The facts of one cached sample. overlap: as of `SampleFacts`."""
    image, masks = cached.image, cached.masks
    digest = hashlib.sha256(repr((image.shape, cached.shape)).encode())
    digest.update(image.tobytes())
    areas = None if masks is None else masks.unpack().areas().tolist()
    void = 0 if areas is None else max(0, cached.shape[0] * cached.shape[1] - sum(areas))
    bottom, right = (0, 0) if masks is None else masks.boxes[:, 2:].max(0, initial=0).tolist()
    reach = (right / cached.shape[1], bottom / cached.shape[0])
    places = () if masks is None else centres(masks)
    constant = bool(image.min() == image.max())
    return SampleFacts(sample.subset, sample.key, sample.person, digest.hexdigest(), constant, areas, reach, places, void, overlap)


def whole_set_problems(facts: Sequence[SampleFacts], classes: Sequence[str], exclusive: bool = False) -> list[Problem]:
    """Everything worth a warning: classes that nobody drew, coordinates in another unit, constant and equal images, shared people.

    If classes exclude each other, also masks that overlap, and sets that are mostly void.
    """
    kinds = [_never_drawn(facts, classes), _other_scale(facts), _constant(facts), _equal_images(facts), _shared_people(facts)]
    kinds += [_overlapping(facts), _mostly_void(facts)] if exclusive else []
    return [problem for kind in kinds for problem in kind]


def _never_drawn(facts: Sequence[SampleFacts], classes: Sequence[str]) -> Iterable[Problem]:
    for index, name in enumerate(classes):
        if not any(fact.areas[index] for fact in facts if fact.areas is not None):
            expected, found = "at least one polygon of each class", "none in any training image"
            fix = "correct data.classes or the labels; trained as it is, the class is always predicted as empty"
            yield Problem("set.class_never_drawn", f"class {name}", expected, found, fix)


def _other_scale(facts: Sequence[SampleFacts]) -> Iterable[Problem]:
    reaches = [fact.reach for fact in facts if max(fact.reach) > 0]
    right, down = (max((reach[axis] for reach in reaches), default=1.0) for axis in (0, 1))
    if right <= CORNER and down <= CORNER:
        found = f"none beyond {right:.0%} of the width and {down:.0%} of the height in {len(reaches)} images"
        fix = "if they are percent, or pixels of a smaller image, multiply them"
        yield Problem("set.scale", "all annotations", "polygons in pixels of the PNG", found, fix)


def _constant(facts: Sequence[SampleFacts]) -> Iterable[Problem]:
    for fact in facts:
        if fact.constant:
            fix = "export it again, or name the sample in data.exclude"
            yield Problem("set.constant_image", fact.name, "a picture", "one grey level", fix)


def _equal_images(facts: Sequence[SampleFacts]) -> Iterable[Problem]:
    """Equal pixels under two people or in both subsets: the score of held-out people then measures images that were trained on."""
    for same in _groups([fact for fact in facts if not fact.constant], lambda fact: fact.pixels):
        if len({(fact.subset, fact.person) for fact in same}) > 1:
            place = " = ".join(fact.name for fact in same[:4]) + (f" and {len(same) - 4} more" if len(same) > 4 else "")
            fix = "remove one or put both into one person's folder, as scores of images that were trained on are too high"
            yield Problem("set.equal_images", place, "different pictures of different people, and in train and test", "equal pixels", fix)


def _shared_people(facts: Sequence[SampleFacts]) -> Iterable[Problem]:
    for same in _groups(facts, lambda fact: composed(fact.person)):
        if len({fact.subset for fact in same}) > 1:
            found = "a folder of this name in both"
            fix = "rename one if they are two people; if not, test scores are of people who were trained on"
            yield Problem("set.shared_person", f"person {same[0].person}", "people who are in train or in test", found, fix)


def _overlapping(facts: Sequence[SampleFacts]) -> Iterable[Problem]:
    overlaps = [fact.overlap for fact in facts if fact.overlap]
    if overlaps:
        drawn = sum(overlaps) + sum(sum(fact.areas) for fact in facts if fact.areas is not None)
        found = f"{sum(overlaps) / drawn:.2%} of the drawn pixels in {len(overlaps)} images are also in a later class, which keeps them"
        fix = "if that is not what is seen there, order data.classes from back to front, or correct the labels"
        yield Problem("set.overlap", "all annotations", "classes that exclude each other (data.exclusive)", found, fix)


def _mostly_void(facts: Sequence[SampleFacts]) -> Iterable[Problem]:
    void, drawn = sum(fact.void for fact in facts), sum(sum(fact.areas) for fact in facts if fact.areas is not None)
    if void > drawn:
        found = f"{void / (void + drawn):.0%} of all pixels in none, so that nothing is learned there"
        fix = "if they are a background, draw it as a class, or set data.exclusive to false"
        yield Problem("set.void", "all annotations", "most pixels in a class, as data.exclusive leaves out all others", found, fix)


def _groups(facts: Iterable[SampleFacts], key: Callable[[SampleFacts], str]) -> Iterable[list[SampleFacts]]:
    """The facts of each key."""
    groups: dict[str, list[SampleFacts]] = {}
    for fact in facts:
        groups.setdefault(key(fact), []).append(fact)
    return groups.values()

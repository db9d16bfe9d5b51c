"""Faults planted in the labels of phantom hands: each is found and named, and hands without faults pass without a word."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handbone.config.params import BONES
from handbone.doctor.labels.alignment import CommonShape, align
from handbone.doctor.labels.drawing import Drawing, measure
from handbone.doctor.labels.examine import examine_labels
from handbone.doctor.labels.expected import expected_outlines
from handbone.doctor.labels.finding import Finding, ranked
from handbone.doctor.labels.held_out import unlike_predictions
from handbone.masks.cropped_maps import CroppedMaps
from planted_faults import FAULTS, FIRST, INDEX, LITTLE, MIDDLE, RING, THUMB, hands, plant

SIZE = 256


@pytest.fixture(scope="module")
def clean() -> list[Drawing]:
    """200 hands, 12 % of them with a bent wrist."""
    return hands(100)[0]


def findings(drawings: Sequence[Drawing], allow_missing: bool = False) -> list[Finding]:
    return ranked(examine_labels(drawings, allow_missing).findings)


def confusion(found: Sequence[Finding], faults: dict[str, str]) -> Counter[tuple[str, str]]:
    """(name of the planted fault, kind that is named first in its image) -> how often; "none" and "nothing" for what is not there."""
    first = {finding.key: finding.kind for finding in reversed(found)}
    pairs = [(name, first.get(key, "nothing")) for key, name in faults.items()]
    return Counter(pairs + [("none", kind) for key, kind in first.items() if key not in faults])


def test_hands_without_faults_pass(clean: list[Drawing]) -> None:
    assert not findings(clean)


def test_many_bent_wrists_pass_too() -> None:
    assert not findings(hands(50, bent=0.58)[0])


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_alone_is_found_and_named(clean: list[Drawing], name: str) -> None:
    drawings, faults = plant(clean, [name], share=0.02)
    found = confusion(findings(drawings), faults)
    assert not [pair for pair in found if pair[0] == "none"]
    # a shift by a fifth of a long bone is what a joint may do
    assert found[name, FAULTS[name][1]] >= (2 if name == "displaced" else 4)


def test_all_faults_at_once(clean: list[Drawing]) -> None:
    drawings, faults = plant(clean, list(FAULTS), share=0.01)
    found = findings(drawings)
    top = list(dict.fromkeys(finding.key for finding in found))[:10]
    sure = [key for key, name in faults.items() if name in ("mirrored", "swapped", "wrong bone", "missing")]
    assert set(sure) <= set(top)
    assert all(confusion(found, faults)[name, FAULTS[name][1]] for name in FAULTS)


@pytest.mark.slow
def test_two_thousand_hands() -> None:
    """1 % of each fault: nine tenths of those that can be explained are among the first 5 % of the images, with the right name."""
    drawings, faults = plant(hands(1000)[0], list(FAULTS), share=0.01)
    found = findings(drawings)
    table = confusion(found, faults)
    print("\n".join(f"{name:>12} -> {kind:<12} {count}" for (name, kind), count in sorted(table.items())))
    top = set(list(dict.fromkeys(finding.key for finding in found))[:100])
    for name in ("mirrored", "swapped", "wrong bone", "missing"):
        assert sum(key in top for key, fault in faults.items() if fault == name) >= 18
        assert table[name, FAULTS[name][1]] >= 18
    assert sum(count for (name, _), count in table.items() if name == "none") <= 4


@pytest.mark.slow
def test_false_alarms() -> None:
    """In sets of many sizes, with as many bent wrists as in training and test, and with too few of them to be usual."""
    sets = [(8, 0.12, 20), (20, 0.12, 20), (50, 0.12, 10), (100, 0.12, 8), (100, 0.58, 8), (100, 0.03, 8)]
    images = [hands(people, bent, seed=100 + seed)[0] for people, bent, count in sets for seed in range(count)]
    alarms = [(finding.kind, finding.certain) for drawings in images for finding in findings(drawings)]
    print(f"{len(alarms)} findings about {sum(map(len, images))} hands without a fault: {Counter(alarms)}")
    assert len(alarms) <= 0.005 * sum(map(len, images))
    assert not any(certain for _, certain in alarms)


def test_a_second_polygon_elsewhere_is_a_foreign_object(clean: list[Drawing]) -> None:
    polygons = [list(of_class) for of_class in clean[0].polygons]
    polygons[3].append(np.array([[40, 40], [90, 40], [90, 90], [40, 90]], np.int32))
    (finding,) = findings([replace(clean[0], polygons=polygons), *clean[1:]])
    assert (finding.kind, list(finding.classes)) == ("foreign", [3])


def test_any_permutation_of_many_labels_is_named_as_one_fault(clean: list[Drawing]) -> None:
    """Each finger's bones in reverse order; the classes shifted by one; the carpals of one side exchanged with those of the other."""
    fingers, carpals, order = np.arange(len(BONES)), np.arange(len(BONES)), np.arange(len(BONES))
    for finger in (THUMB, FIRST, MIDDLE, RING, LITTLE):
        fingers[finger] = finger[::-1]
    for one, other in (("Trapezium", "Hamate"), ("Scaphoid", "Triquetrum"), ("Trapezoid", "Capitate")):
        carpals[[INDEX[one], INDEX[other]]] = INDEX[other], INDEX[one]
    drawings = list(clean)
    for number, permuted in enumerate((fingers, carpals, np.roll(order, 1))):
        drawings[number] = replace(clean[number], polygons=[clean[number].polygons[c] for c in permuted])
    assert {(finding.key, finding.kind) for finding in findings(drawings)} == {(one.key, "mirrored") for one in drawings[:3]}


def test_neither_place_nor_size_nor_turn_of_an_image_matters(clean: list[Drawing]) -> None:
    turn = 0.4 * np.array([[np.cos(0.5), -np.sin(0.5)], [np.sin(0.5), np.cos(0.5)]])
    moved = [
        replace(one, polygons=[[np.rint(points @ turn + 900).astype(np.int32) for points in of_class] for of_class in one.polygons])
        for one in clean[::2]
    ]
    assert not findings([*moved, *clean[1::2]])


def arch(rng: np.random.Generator) -> Drawing:
    """Two rows of eight teeth, all drawn alike on both sides, a fifth of them missing in groups of neighbours."""
    angles = np.linspace(-1.2, 1.2, 8)
    rows = [np.stack([np.sin(angles) * 700, sign * (150 + 100 * np.cos(angles))], 1) for sign in (-1, 1)]
    centres = np.concatenate(rows) + 1000 + rng.normal(0, 8, (16, 2))
    boxes = [centre + rng.normal(40, 3) * np.array([[-1, -1.5], [1, -1.5], [1, 1.5], [-1, 1.5]]) for centre in centres]
    polygons = [[np.rint(box).astype(np.int32)] for box in boxes]
    for start in rng.choice(16, 2, replace=False):
        for number in range(start, min(16, start + 2)):
            polygons[number] = []
    return Drawing("", (2000, 2000), polygons)


def test_left_and_right_of_teeth() -> None:
    """All images show the same side, and many classes are absent: a mirrored labelling fits perfectly, but mirrored."""
    rng = np.random.default_rng(0)
    drawings = [replace(arch(rng), key=f"ID{number:03d}/a") for number in range(120)]
    assert not findings(drawings, allow_missing=True)
    wrong = [*drawings[5].polygons[7::-1], *drawings[5].polygons[:7:-1]]
    found = findings([*drawings[:5], replace(drawings[5], polygons=wrong), *drawings[6:]], allow_missing=True)
    assert {(finding.key, finding.kind) for finding in found} == {("ID005/a", "mirrored")}


def test_a_class_may_be_missing_with_its_neighbours_where_that_is_allowed(clean: list[Drawing]) -> None:
    without = [
        [] if BONES[c] in ("Triquetrum", "Pisiform", "Hamate", "Lunate") else of_class for c, of_class in enumerate(clean[0].polygons)
    ]
    drawings = [replace(clean[0], polygons=without), *clean[1:]]
    assert {finding.kind for finding in findings(drawings)} == {"missing"}
    assert not findings(drawings, allow_missing=True)


def test_too_few_images_say_nothing(clean: list[Drawing]) -> None:
    examined = examine_labels(clean[:5], False)
    assert examined.anatomy is None and not examined.findings
    assert examine_labels([], False).anatomy is None


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 8), st.integers(0, 30), st.floats(0, 1), st.sampled_from([1, 3, 60]))
@pytest.mark.filterwarnings("error")
def test_arbitrary_polygons_are_examined(seed: int, classes: int, images: int, absent: float, places: int) -> None:
    """Also without any anatomy, with all polygons at one place, or equal in all images."""
    rng = np.random.default_rng(seed)
    triangle = np.array([[0, 0], [9, 0], [0, 9]])
    drawings = [
        Drawing(
            str(number),
            (99, 99),
            [[(triangle + rng.integers(places, size=2)).astype(np.int32)] * (rng.random() >= absent) for _ in range(classes)],
        )
        for number in range(images)
    ]
    examined = examine_labels(drawings, allow_missing=True)
    for finding in examined.findings:
        assert np.isfinite(finding.strange)
        assert all(np.isfinite(points).all() for points in expected_outlines(examined, finding).values())


def random_shape(seed: int) -> CommonShape:
    rng = np.random.default_rng(seed)
    return CommonShape(rng.normal(size=12) + 1j * rng.normal(size=12), np.full(12, 0.05))


def test_a_class_far_away_moves_no_image() -> None:
    """In at least 99 of 100 random shapes: an estimate with many local optima cannot promise all (3,999 of 4,000 were counted)."""
    worst = []
    for seed in range(200):
        shape = random_shape(seed)
        centres = shape.centres.copy()
        centres[3] += 3
        distances = np.abs(align(centres[None], shape).apply(centres[None])[0] - shape.centres)
        worst.append(np.delete(distances, 3).max())
    assert np.mean(np.array(worst) < 0.05) >= 0.99


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32), st.floats(0.1, 10), st.floats(-3.1, 3.1), st.booleans())
def test_an_image_is_moved_onto_the_common_shape(seed: int, scale: float, angle: float, mirrored: bool) -> None:
    """Whatever its turn, scale, shift and side, and although a class is absent."""
    shape = random_shape(seed)
    centres = scale * np.exp(1j * angle) * (shape.centres.conj() if mirrored else shape.centres) + 300 - 200j
    centres[4] = np.nan
    pose = align(centres[None], shape)
    good = np.arange(12) > 4
    assert pose.mirrored[0] == mirrored
    assert np.abs(pose.apply(centres[None])[0] - shape.centres)[good].max() < 0.05
    assert np.allclose(pose.undo(pose.apply(centres[None]))[0, good], centres[good])


def test_measures_of_a_class() -> None:
    square = np.array([[10, 20], [40, 20], [40, 50], [10, 50]], np.int32)
    measures = measure([Drawing("a", (100, 100), [[square], [], [square, square + np.array([50, 0], np.int32)]])])
    assert np.isclose(measures.centres[0, 0], 25 + 35j, atol=0.5)
    assert np.isclose(measures.centres[0, 2], 50 + 35j, atol=1)
    assert np.isclose(np.exp(measures.log_areas[0, 0]), 30 * 30, rtol=0.1)
    assert np.isnan(measures.centres[0, 1]) and np.isnan(measures.log_areas[0, 1])


def held_out(clean: list[Drawing], dice_of: dict[tuple[str, str], float]) -> pd.DataFrame:
    """Counts of Dice 0.9, except for the given keys and classes."""
    rows = [(drawing.key, name, dice_of.get((drawing.key, name), 0.9)) for drawing in clean for name in BONES]
    return pd.DataFrame(
        [(key, name, int(1000 * dice), 0, int(2000 * (1 - dice))) for key, name, dice in rows], columns=["key", "class", "tp", "fp", "fn"]
    )


def maps_of(drawing: Drawing, classes: Sequence[int]) -> CroppedMaps:
    """Predictions: class c is seen where the polygons of classes[c] are."""
    import cv2

    planes = np.zeros((len(classes), SIZE, SIZE), np.uint8)
    for plane, other in zip(planes, classes, strict=True):
        for points in drawing.polygons[other]:
            cv2.fillPoly(plane, [(points * SIZE / 2048).astype(np.int32)], (255,))
    return CroppedMaps.from_dense(planes)


def test_a_label_that_the_model_contradicts(clean: list[Drawing]) -> None:
    """With the name of the other class, if the model sees one there."""
    order = np.arange(len(BONES))
    order[[INDEX["Radius"], INDEX["Ulna"]]] = INDEX["Ulna"], INDEX["Radius"]
    first, second = clean[0], clean[1]
    counts = held_out(clean, {(first.key, "Radius"): 0.0, (second.key, "finger-1"): 0.3, (second.key, "finger-2"): 0.85})
    predicted = {first.key: maps_of(first, order), second.key: CroppedMaps.from_dense(np.zeros((len(BONES), SIZE, SIZE), np.uint8))}
    found = ranked(list(unlike_predictions(counts, clean, BONES, set(), predicted.__getitem__)))
    assert [(finding.key, finding.kind, list(finding.classes)) for finding in found] == [
        (first.key, "swapped", [INDEX["Radius"], INDEX["Ulna"]]),
        (second.key, "held_out", [INDEX["finger-1"]]),
    ]
    assert len(list(unlike_predictions(counts, clean, BONES, {(first.key, INDEX["Radius"])}, predicted.__getitem__))) == 1

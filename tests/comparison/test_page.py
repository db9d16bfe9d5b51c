"""The page of two experiments: complete, escaped, small, and without anything from outside; its pictures show what was counted."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from conftest import Fails
from handbone.cache.sample import CachedSample, write_sample
from handbone.comparison.figures import intervals_svg, layers
from handbone.comparison.page import comparison_page
from handbone.comparison.selection import classes_that_differ, images_that_differ
from handbone.comparison.side import Member, Side
from handbone.evaluation.bootstrap import Intervals
from handbone.evaluation.comparison import Comparison, HeldOut, compare
from handbone.evaluation.decision import Decision, decided_counts
from handbone.masks.boxed import BoxedMasks
from handbone.masks.cropped_maps import CroppedMaps
from handbone.masks.packed import PackedMasks
from handbone.report.layers import Shown
from handbone.utils.io import write_json

CLASSES = ["<b>Radius", "Ulna"]
PEOPLE = 12
SIZE = 64


def square(side: int, classes: int = 2) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """(C, 64, 64): a square of that side in the middle for each class."""
    masks = np.zeros((classes, SIZE, SIZE), bool)
    at = (SIZE - side) // 2
    masks[:, at : at + side, at : at + side] = True
    return masks


def make_side(folder: Path, name: str, sides: list[int]) -> Side:
    """An experiment that predicts a square of `sides[i]` pixels for image i and both classes, where the truth is one of 24."""
    rng, decision = np.random.default_rng(0), Decision(0.5)
    models = {"0": {"spec": {"classes": CLASSES}, "size": SIZE}}
    write_json(folder / "models.json", {"models": models, "tables": {}, "files": {}})
    truth = PackedMasks.pack(BoxedMasks.from_dense(square(24)))
    rows, people = [], {}
    for number, side in enumerate(sides):
        key = f"ID{number:03}/<i>{number}"
        people[key] = f"ID{number:03}"
        write_sample(folder / f"{key}.sample", CachedSample(rng.integers(0, 255, (32, 32), np.uint8), (SIZE, SIZE), truth))
        maps = CroppedMaps.from_dense(square(side) * np.uint8(255))
        maps.save(folder / f"{key}.maps")
        rows += [(key, label, *counts) for label, counts in zip(CLASSES, decided_counts([maps], truth, decision).tolist(), strict=True)]
    held = HeldOut(name, pd.DataFrame(rows, columns=["key", "class", "tp", "fp", "fn"]), people)
    member = Member(folder / "models.json", lambda key: folder / f"{key}.maps")
    return Side(held, decision, [member], lambda key: folder / f"{key}.sample")


@pytest.fixture
def sides(tmp_path: Path) -> tuple[Side, Side]:
    """The second misses a part of each square: the more, the later the image."""
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    first = make_side(tmp_path / "one", "first<", [24] * PEOPLE)
    return first, make_side(tmp_path / "two", "HEAD", [24 - 2 * (at // 2) for at in range(PEOPLE)])


def compared(sides: tuple[Side, Side]) -> Comparison:
    return compare(sides[0].held, sides[1].held)


class Reader(HTMLParser):
    """All tags with their attributes, and the text of every table row."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.cell = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        self.cell = tag == "td"
        if tag == "tr":
            self.rows.append([])

    def handle_data(self, data: str) -> None:
        if self.cell:
            self.rows[-1].append(data)
            self.cell = False


def test_nothing_comes_from_outside_and_names_are_text(sides: tuple[Side, Side]) -> None:
    page = comparison_page(compared(sides), *sides)
    read = Reader(page)
    addresses = [value for _, attributes in read.seen for name, value in attributes.items() if name in ("src", "href", "srcset")]
    assert addresses and all((address or "").startswith(("data:", "#")) for address in addresses)
    assert not re.search(r"https?://|url\(|@import", page)
    for name in ("ID000/<i>0", "<b>Radius", "first<"):
        assert name not in page and escape(name) in page
    ids = [attributes["id"] for _, attributes in read.seen if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert len(page) < 15e6


def test_the_only_script_is_the_one_that_the_policy_names(sides: tuple[Side, Side]) -> None:
    page = comparison_page(compared(sides), *sides)
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.S)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in page


def test_every_image_is_in_the_table_largest_loss_first(sides: tuple[Side, Side]) -> None:
    rows = [row for row in Reader(comparison_page(compared(sides), *sides)).rows if row]
    assert len(rows) == PEOPLE and rows[0][0].startswith(("ID010", "ID011"))
    values = [float(row[4]) for row in rows]
    assert values == sorted(values)


def test_equal_experiments_have_no_pictures(sides: tuple[Side, Side]) -> None:
    page = comparison_page(compare(sides[0].held, sides[0].held), sides[0], sides[0])
    assert "<figure>" not in page


def test_two_pages_are_the_same_bytes(sides: tuple[Side, Side]) -> None:
    assert comparison_page(compared(sides), *sides) == comparison_page(compared(sides), *sides)


def test_masks_that_were_not_counted_are_refused(sides: tuple[Side, Side], tmp_path: Path, fails: Fails) -> None:
    CroppedMaps.from_dense(square(20) * np.uint8(255)).save(tmp_path / "two/ID011/<i>11.maps")
    with fails("compare.other_masks", "HEAD: ID011"):
        comparison_page(compared(sides), *sides)


def test_a_record_of_something_else_is_an_error(sides: tuple[Side, Side], tmp_path: Path, fails: Fails) -> None:
    write_json(tmp_path / "two/models.json", {"models": {}})
    with fails("predictions.record", "models.json"):
        comparison_page(compared(sides), *sides)


def test_members_are_joined_and_their_classes_are_ordered_by_name(sides: tuple[Side, Side], tmp_path: Path) -> None:
    """The mean of a square of the first class alone and of an empty mask of the second is shown as it was counted."""
    second, key = sides[1], "ID000/<i>0"
    models = {"0": {"spec": {"classes": CLASSES[::-1]}, "size": SIZE}}
    write_json(tmp_path / "two/other.json", {"models": models, "tables": {}, "files": {}})
    CroppedMaps.from_dense(square(30) * np.array([0, 255], np.uint8)[:, None, None]).save(tmp_path / "two/other.npz")
    members = [*second.members, Member(tmp_path / "two/other.json", lambda key: tmp_path / "two/other.npz")]
    counts = second.held.counts.set_index(["key", "class"])
    counts.loc[(key, CLASSES[0])] = [24**2, 30**2 - 24**2, 0]
    counts.loc[(key, CLASSES[1])] = [0, 0, 24**2]
    decision = Decision(0.5, members={"current": 1, "other": 2})
    found = Side(replace(second.held, counts=counts.reset_index()), decision, members, second.sample).show(key, CLASSES[:1])
    assert found.predicted.areas().tolist() == [30**2]


def test_after_a_search_the_pictures_are_of_the_final_decision(sides: tuple[Side, Side]) -> None:
    """And the scores are those that the search did not see."""
    first, second = sides
    nested = second.held.counts.assign(nested_tp=0, nested_fp=9, nested_fn=24**2)
    searched = replace(second, held=replace(second.held, counts=nested))
    page = comparison_page(compare(first.held, searched.held), first, searched)
    assert "nested" in page and "nested" not in comparison_page(compared(sides), *sides)
    assert {row[3] for row in Reader(page).rows if row} == {"0.0000"}


def test_what_differs_most_comes_first(sides: tuple[Side, Side]) -> None:
    comparison = compared(sides)
    assert [choice.image for choice in images_that_differ(comparison)] == [10, 11, 8, 9]
    assert all(choice.image in (8, 9, 10, 11) for choices in classes_that_differ(comparison) for choice in choices)


def test_both_pictures_of_a_pair_show_the_same_part() -> None:
    truth = BoxedMasks.from_dense(square(24, 1))
    image = np.full((SIZE, SIZE), 90, np.uint8)
    pair = layers("a", *(Shown(image, truth, BoxedMasks.from_dense(square(side, 1))) for side in (10, 40)), ["Radius"])
    views = [re.findall('viewBox="([^"]+)"', svg) for svg in (pair.first, pair.second)]
    assert views[0] == views[1] == [f"0 0 {SIZE} {SIZE}"] and pair.shape == (SIZE, SIZE)
    assert pair.first.count("data:image/jpeg") == 1 and "data:image/jpeg" not in pair.second and 'href="#a"' in pair.second


def test_a_class_that_cannot_be_judged_does_not_hide_the_others() -> None:
    """Its interval reaches from -1 to 1."""
    intervals = Intervals(np.array([0.01, 0.02]), np.array([-1.0, 0.01]), np.array([1.0, 0.03]))
    ticks = [float(text) for text in re.findall(r">(0\.\d+)<", intervals_svg(["few", "$x$"], intervals))]
    assert ticks and max(ticks) < 0.1

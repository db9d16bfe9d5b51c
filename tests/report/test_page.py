"""The page: complete, in order, escaped, and without anything from outside."""

from __future__ import annotations

import base64
import hashlib
import math
import re
from html import unescape
from html.parser import HTMLParser
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest

from handbone.evaluation.comparison import Comparison
from handbone.evaluation.decision import Decision, Gain, SearchRecord
from handbone.report.changes import CommittedRun, changes
from handbone.report.checks import data_section
from handbone.report.classes import classes_section
from handbone.report.decision import decision_section
from handbone.report.html import Link, Number, Section, document, table
from handbone.report.images import images_section
from handbone.report.origin import duration, stages_section
from handbone.report.overview import headline, score_tiles
from handbone.report.scores import Scores
from handbone.report.training import folds_section
from small_page import CLASSES, PEOPLE, counts, images, lineage, small_page

VOID = {"meta", "img", "br", "link", "input", "source"}
NAME = '<u>"&'


class Reader(HTMLParser):
    """Open tags, all tags with their attributes, ids, and the rows of every table."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.ids: list[str | None] = []
        self.rows: list[list[str]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data


@pytest.fixture(scope="module")
def page() -> str:
    return small_page(NAME)


def no_test() -> Scores:
    return Scores.of(counts(images())[:0])


def test_tags_close_in_order_and_ids_are_unique(page: str) -> None:
    reader = Reader(page)
    assert page.startswith("<!DOCTYPE html>")
    assert not reader.open
    assert len(reader.ids) == len(set(reader.ids))


def test_nothing_comes_from_outside(page: str) -> None:
    seen = Reader(page).seen
    assert not {tag for tag, _ in seen} & {"link", "iframe", "object", "base", "form"}
    addresses = [value or "" for _, attributes in seen for name, value in attributes.items() if name in ("src", "href", "srcset")]
    assert addresses and all(address.startswith(("data:", "#")) for address in addresses)
    assert not re.search(r"https?://|url\(|@import", page)


def test_the_only_script_is_the_one_that_the_policy_names(page: str) -> None:
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.S)
    assert f"script-src 'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" in page


def test_names_from_outside_are_text(page: str) -> None:
    assert "u" not in {tag for tag, _ in Reader(page).seen}
    for text in (f"Unet{NAME}", f"ID005/image11{NAME}", f"Pisiform{NAME}", f"odd areas{NAME}", f"OpenCV{NAME}", f"</pre>{NAME}"):
        assert text not in page
    for text in (f"Unet{NAME}", f"ID005/image11{NAME}", f"Pisiform{NAME}", f"odd areas{NAME}", f"OpenCV{NAME}", f"bent{NAME}", "3f2c91d"):
        assert text in unescape(page)


def test_links_lead_to_places_of_the_page(page: str) -> None:
    reader = Reader(page)
    targets = {
        value[1:] for _, attributes in reader.seen for name, value in attributes.items() if name == "href" and value and value[0] == "#"
    }
    assert targets and targets <= set(reader.ids)


def test_two_pages_are_the_same_bytes() -> None:
    assert small_page() == small_page()


def test_sections_that_are_none_are_left_out() -> None:
    text = document("<t>", "", "", [None, Section("A & b", "<p>x</p>"), Section("c", "")])
    assert text.count("<section") == 2 and '<a href="#a-b">A &amp; b</a>' in text and "<t>" not in text
    assert "<nav" not in document("", "", "", [None, Section("A", "")]), "one section needs no list"


def test_sections_of_one_heading_have_ids_of_their_own() -> None:
    reader = Reader(document("", "", "", [Section(heading, "") for heading in ("뼈", "a/b", "a b", "손")]))
    assert len(set(reader.ids)) == 4 and "" not in reader.ids


def test_cells_have_their_exact_value_for_sorting_and_a_dash_without_one() -> None:
    rows = [[Link("<a>", "x"), Number(0.123456, ".2f")], ["b", Number(math.nan)], ["c", Number(None, style="worse")]]
    text = table(["Name", "Value"], rows, sortable=True)
    assert '<th scope="col" class="number"><button type="button">Value</button></th>' in text
    assert '<td class="number" data-value="0.123456">0.12</td>' in text and '<a href="#x">&lt;a&gt;</a>' in text
    assert text.count('data-value="">–') == 2 and 'class="number worse"' in text


def test_every_image_is_in_the_table_worst_first() -> None:
    scores = Scores.of(counts(images()))
    rows = Reader(images_section(scores, {11: "worst"}).body).rows
    assert rows[0] == ["Image", "Person", "Fold", "Dice", "IoU", "Lowest classes"] and len(rows) == 1 + 2 * PEOPLE
    assert rows[1][:4] == ["ID005/image11", "ID005", "1", f"{scores.dice[11].mean():.4f}"]
    assert rows[1][5].startswith("Pisiform ") and rows[-1][3] == "1.0000"


def test_every_class_is_in_the_table_worst_first() -> None:
    scores = Scores.of(counts(images()))
    report = {"classes": {"Ulna": {"mean_area_px": 1600.4}}}
    heads, *rows = Reader(classes_section(scores, scores, report).body).rows
    assert heads == ["Class", "Dice", "Test", "IoU", "Spread", "Worst", "fold 0", "fold 1", "Area, px"]
    assert [row[0] for row in rows] == ["Pisiform", "Radius", "Ulna"]
    assert [row[-1] for row in rows] == ["–", "–", "1,600"]
    bare = Reader(classes_section(scores, no_test(), report).body).rows
    assert {len(row) for row in bare} == {8}


def test_a_fold_has_its_final_score_and_the_one_of_its_training() -> None:
    curve = pd.DataFrame({"epoch": [1, 2], "lr": 0.1, "loss": 1.0, "dice": [0.61, 0.52]})
    scores = Scores.of(counts(images()))
    rows = Reader(folds_section(scores, {10: curve.assign(dice=np.nan), 0: curve}).body).rows
    final = scores.dice[np.array(scores.folds) == 0].mean()
    assert rows[1:] == [["0", "6", f"{final:.4f}", "0.6100"], ["10", "0", "–", "–"]]


def test_the_top_says_which_run_it_is() -> None:
    assert headline(lineage(), "2026-11-26") == (
        "Unet · resnet18 · 512 px",
        "2026-11-26 · commit 3f2c91d00000 and 1 changed file · data/raw · trained on cpu",
    )
    bare = lineage() | {"git": {"commit": None, "reason": "no git"}, "models": {"0": {"sha256": "x"}}}
    bare["parameters"]["model"]["encoder"] = None
    assert headline(bare, "today") == ("Unet · 512 px", "today · no git commit · data/raw")


def test_the_score_has_its_interval_and_the_test_set_where_its_truth_is_known() -> None:
    scores = Scores.of(counts(images()))
    low, high = scores.interval() or (0, 0)
    text = score_tiles(scores, no_test(), Decision(0.375))
    assert f"{scores.dice.mean():.4f}<small>95 % interval {low:.4f} to {high:.4f}" in text
    assert "0.375" in text and "Test Dice" not in text and "nested" not in text.lower()
    assert "Test Dice" in score_tiles(scores, scores, Decision(0.5, members={"current": 1, "other": 2}))


def test_after_a_search_the_nested_score_comes_first() -> None:
    table = counts(images()).assign(nested_tp=1, nested_fp=1, nested_fn=1)
    scores = Scores.of(table)
    text = score_tiles(scores, no_test(), Decision({"Radius": 0.5, "Ulna": 0.4}))
    assert "Validation Dice, nested</dt><dd>0.5000<small>in sample" in text and "per class" in text
    assert Reader(images_section(scores, {}).body).rows[1][4] == "0.5000"


def test_searches_are_a_table_of_gains() -> None:
    searched = SearchRecord(
        "51 <thresholds>", Gain(0.0212, 0.0123, [0.0031, 0.0215]), True, {"Ulna": "0.4471"}, {"Ulna": Gain(0.04, 0.03, [0.01, 0.05])}
    )
    found = decision_section(Decision({"Radius": 0.5, "Ulna": 0.4471}, searches={"threshold": searched}))
    rows = Reader(found.body if found else "").rows
    assert ["threshold", "51 <thresholds>", "+0.0212", "+0.0123", "+0.0031 to +0.0215", "accepted"] in rows
    assert ["threshold", "Ulna", "0.4471", "+0.0400", "+0.0300", "+0.0100 to +0.0500"] in rows
    assert decision_section(Decision(0.5)) is None


def run(metrics: dict[str, object], params: dict[str, object]) -> CommittedRun:
    return CommittedRun("3f2c91d", "2026-11-20", metrics, params)


def test_what_changed_since_the_last_commit_is_a_table() -> None:
    before = run({"dice": {"mean": 0.9}, "n_images": 20, "gone": 1}, {"train": {"lr": 0.1, "size": 128}, "old": []})
    now = {"dice": {"mean": 0.91}, "n_images": 20, "new": 1}
    text = changes(before, now, {"train": {"lr": 0.1, "size": 256}, "added": None}, lambda: None)
    rows = Reader(text).rows
    assert ["dice.mean", "0.9000", "0.9100", "+0.0100"] in rows and "3f2c91d" in text and "2026-11-20" in text
    assert {tuple(row) for row in rows if len(row) == 3} == {
        ("Parameter", "Before", "Now"),
        ("train.size", "128", "256"),
        ("old", "[]", "–"),
        ("added", "–", "null"),
    }
    assert len(rows) == 6


@pytest.mark.parametrize(
    ("before", "now", "style"),
    [
        ({"dice": {"mean": 0.8}}, {"dice": {"mean": 0.9}}, "number better"),
        ({"dice": {"mean": 0.9}}, {"dice": {"mean": 0.8}}, "number worse"),
        ({"hd95": 3.0}, {"hd95": 2.5}, "number better"),
        ({"hd95": 2.5}, {"hd95": 3.0}, "number worse"),
        ({"n_images": 20}, {"n_images": 30}, "number"),
    ],
)
def test_a_difference_is_green_where_it_is_better(before: dict[str, object], now: dict[str, object], style: str) -> None:
    """A smaller distance is better; more images are neither."""
    text = changes(run(before, {}), now, {}, lambda: None)
    assert [attributes.get("class") for tag, attributes in Reader(text).seen if tag == "td"][-1] == style


def test_an_equal_run_and_a_missing_one_are_one_line() -> None:
    """And nothing is compared."""
    same, never = {"dice": {"mean": 0.9}}, Mock(side_effect=AssertionError)
    assert "<table" not in changes(run(same, {"a": 1}), same, {"a": 1}, never)
    assert "no &lt;git&gt;" in changes("no <git>", same, {}, never)


def test_the_difference_to_the_last_commit_has_its_interval() -> None:
    """Of the images that both runs have, with what the two do not have in common."""
    rng = np.random.default_rng(0)
    first = rng.random((30, 3)) / 2
    keys = [f"ID{number:03}/x" for number in range(30)]
    better = Comparison(keys, keys, CLASSES, first, first + 0.1 + 0.01 * rng.random((30, 3)), ["left <out>"], keys[:1])
    found = better.overall()
    text = unescape(changes(run({"dice": 0.9}, {}), {"dice": 0.95}, {}, lambda: better))
    assert f"{found.mean[0]:+.4f}, 95 % interval {found.low[0]:+.4f} to {found.high[0]:+.4f}, more than the noise" in text
    assert "Left <out>. " in text and keys[0] in text
    equal = Comparison(keys, keys, CLASSES, first, rng.permuted(first, axis=0), [], [])
    assert "within the noise" in changes(run({"dice": 0.9}, {}), {"dice": 0.95}, {}, lambda: equal)


def test_stages_have_the_times_of_their_runs() -> None:
    text = stages_section(["train", "infer", "report"], {"train@1": 61.0, "train@0": 7325.0, "infer@oof": 4.25})
    assert "2 h 2 min (0) + 1 min 1 s (1)" in text.body and "4.2 s" in text.body and "<b>report</b><span>–" in text.body
    assert [duration(seconds) for seconds in (0.04, 9.96, 59.4, 59.6, 3599.6)] == ["0.0 s", "10 s", "59 s", "1 min 0 s", "1 h 0 min"]


def test_every_warning_is_an_item_of_a_list_that_is_absent_without_warnings() -> None:
    report = {"train": {"images": 800, "people": 400}, "excluded": ["ID363"]}
    text = data_section(report, ["<odd>", "fold 1"]).body
    assert re.findall("<li>(.*)</li>", text) == ["&lt;odd&gt;", "fold 1"] and ["train", "800", "400"] in Reader(text).rows
    assert "ID363" in text and "<li>" not in data_section(report, []).body


def test_the_dice_under_the_test_mix_is_shown_with_its_interval(page: str) -> None:
    assert "0.9123" in page and "0.9012 to 0.9234" in page
    assert CLASSES[0] in page

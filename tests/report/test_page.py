"""The page: complete, in order, escaped, and without anything from outside."""

import math
import re
from html import unescape
from html.parser import HTMLParser

import pandas as pd
import pytest

from handbone.evaluation.decision import Decision, Gain, SearchRecord
from handbone.report.attributes import AttributeRow
from handbone.report.page import Case, Preview, render_page

SVG = '<svg xmlns="http://www.w3.org/2000/svg"></svg>'
PICTURE = "data:image/png;base64,AAAA"
CLASSES = ["Radius", "<b>", "Pisiform", "unseen"]
VOID = {"meta", "img", "br", "link"}


def inputs(**changes):
    return {
        "title": "Bones & <more>",
        "subtitle": "Unet <i>",
        "decision": Decision(0.375),
        "metrics": {
            "dice": {"mean": 0.9111, "per_fold": {"10": 0.93, "0": 0.92}},
            "n_images": 1234,
            "n_folds": 2,
            "test": {"dice": {"mean": 0.9022}, "n_images": 288},
        },
        "scores": pd.DataFrame({"class": CLASSES, "dice": [0.97, 0.91, 0.85, math.nan], "test": [0.9633, *[math.nan] * 3]}),
        "classes": CLASSES,
        "curves": SVG,
        "bars": SVG,
        "attributes": [
            AttributeRow("wrist", "bent", {"test": 10}, {"test": 0.9061}, "Pisiform 0.812"),
            AttributeRow("wrist", "<i>straight", {"held-out": 20, "test": 6}, {"held-out": 0.9301, "test": 0.931}, "Ulna 0.871"),
        ],
        "best": [Case("ID001/good_R", 0.98, PICTURE, "all well")],
        "worst": [Case("ID002/<u>bad</u>", 0.41, PICTURE, 'Pisiform "missed"'), Case("ID003/poor_L", 0.52, PICTURE, "")],
        "previews": [Preview("ID004/<u>drawn</u>", PICTURE)],
        "lineage": {"git": {"revision": "3f2c91d"}, "note": "</pre><script>"},
        "data_report": {
            "train": {"images": 800, "people": 400},
            "test": {"images": 288, "people": 144},
            "classes": {"Radius": {"images": 800, "mean_area_px": 123456.7}},
            "rasterizer": "OpenCV 4.10.0",
            "excluded": ["ID363/<u>"],
        },
        "warnings": ["Pisiform: <u>odd</u> areas", "fold 1: no Pisiform"],
    } | changes


@pytest.fixture
def page():
    return render_page(**inputs())


class Reader(HTMLParser):
    """Open tags, all tags with their attributes, ids, and the rows of every table."""

    def __init__(self, page):
        super().__init__()
        self.open, self.seen, self.ids, self.rows = [], [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.seen.append((tag, dict(attributes)))
        self.ids += [value for name, value in attributes if name == "id"]
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, text):
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1].append(text)


def class_rows(page):
    return [row for row in Reader(page).rows if row[0] in CLASSES]


def test_tags_close_in_order_and_ids_are_unique(page):
    reader = Reader(page)
    assert page.startswith("<!DOCTYPE html>")
    assert not reader.open
    assert len(reader.ids) == len(set(reader.ids))


def test_nothing_comes_from_outside(page):
    assert not {tag for tag, _ in Reader(page).seen} & {"script", "link", "iframe", "object"}
    addresses = [value for _, attributes in Reader(page).seen for name, value in attributes.items() if name in ("src", "href", "srcset")]
    assert addresses and all(address.startswith("data:") for address in addresses)
    assert not re.search(r"https?://|url\(|@import", page)


def test_names_from_outside_are_text(page):
    assert not {tag for tag, _ in Reader(page).seen} & {"u", "more", "script"}
    assert page.count("<b>") == 3, "only those of the page: one per case"
    for text in (
        "Bones & <more>",
        "Unet <i>",
        "ID002/<u>bad</u>",
        "ID004/<u>drawn</u>",
        'Pisiform "missed"',
        "</pre><script>",
        "ID363/<u>",
        "Pisiform: <u>odd</u> areas",
    ):
        assert text in unescape(page) and text not in page


def test_every_class_is_in_the_table_worst_first(page):
    assert [row[0] for row in class_rows(page)] == ["Pisiform", "<b>", "Radius", "unseen"]
    assert class_rows(page)[2][1:] == ["0.9700", "0.9633", "123,457"]


def test_an_unknown_number_is_a_dash(page):
    assert len(set(class_rows(page)[3][1:])) == 1
    assert "nan" not in page.lower().replace("tabular-nums", "") and "None" not in page


def test_without_test_truth_there_is_no_test_column(page):
    metrics = {name: value for name, value in inputs()["metrics"].items() if name != "test"}
    bare = render_page(**inputs(metrics=metrics, scores=inputs()["scores"].drop(columns="test")))
    assert {len(row) for row in class_rows(page)} == {4}
    assert {len(row) for row in class_rows(bare)} == {3}
    assert "0.9022" in page and "0.9022" not in bare


def test_folds_are_in_the_order_of_their_numbers(page):
    assert [row[0] for row in Reader(page).rows if row[0].isdigit()] == ["0", "10"]


def test_every_case_has_its_picture_and_dice(page):
    for case in inputs()["best"] + inputs()["worst"]:
        assert case.key in unescape(page) and f"{case.dice:.4f}" in page
    assert [attributes["src"] for tag, attributes in Reader(page).seen if tag == "img"].count(PICTURE) == 4, "one per case and preview"


def test_the_page_has_scores_counts_and_the_decision(page):
    for number in ("0.9111", "0.375", "1,234", "288", "800", "144", "OpenCV 4.10.0", "3f2c91d"):
        assert number in page


def test_searches_are_a_table_of_gains():
    searched = SearchRecord(
        "51 <thresholds>", Gain(0.0212, 0.0123, [0.0031, 0.0215]), True, {"Ulna": "0.4471"}, {"Ulna": Gain(0.04, 0.03, [0.01, 0.05])}
    )
    metrics = inputs()["metrics"] | {"dice": inputs()["metrics"]["dice"] | {"nested": 0.8765}}
    decision = Decision({"Radius": 0.5, "Ulna": 0.4471}, searches={"threshold": searched})
    page = render_page(**inputs(decision=decision, metrics=metrics))
    assert ["threshold", "51 <thresholds>", "+0.0212", "+0.0123", "+0.0031 to +0.0215", "accepted"] in Reader(page).rows
    assert ["threshold", "Ulna", "0.4471", "+0.0400", "+0.0300", "+0.0100 to +0.0500"] in Reader(page).rows
    assert "per class" in page and "0.8765" in page
    assert "nested" not in render_page(**inputs()).lower()


def test_lineage_is_collapsed(page):
    assert [attributes for tag, attributes in Reader(page).seen if tag == "details"] == [{}]


def test_every_warning_is_an_item_of_a_list_that_is_absent_without_warnings(page):
    def items(text):
        return re.findall("<li>(.*)</li>", text)

    assert [unescape(item) for item in items(page)] == inputs()["warnings"]
    assert not items(render_page(**inputs(warnings=[]))) and "Warnings" not in render_page(**inputs(warnings=[]))


def test_a_page_without_cases_has_no_gallery():
    assert "<figure>" not in render_page(**inputs(best=[], worst=[], previews=[]))


def test_two_pages_are_the_same_bytes(page):
    assert page == render_page(**inputs())


def test_each_value_of_an_attribute_is_a_row(page):
    rows = [row for row in Reader(page).rows if row[0].startswith("wrist")]
    assert rows[0][1:] == ["0", "–", "10", "0.9061", "Pisiform 0.812"]
    assert rows[1] == ["wrist: <i>straight", "20", "0.9301", "6", "0.9310", "Ulna 0.871"]
    assert "Attributes" not in render_page(**inputs(attributes=[]))


def test_without_test_dice_the_attributes_have_no_test_columns():
    rows = [AttributeRow("wrist", "bent", {"held-out": 20}, {"held-out": 0.93}, "")]
    assert [row for row in Reader(render_page(**inputs(attributes=rows))).rows if row[0] == "wrist: bent"] == [
        ["wrist: bent", "20", "0.9300"]
    ]


def test_the_dice_under_the_test_mix_is_shown_with_its_interval():
    metrics = inputs()["metrics"]
    metrics["dice"]["test_mix"] = {"wrist": {"mean": 0.9123, "low": 0.9012, "high": 0.9234}}
    page = render_page(**inputs(metrics=metrics))
    assert "mix of wrist: 0.9123" in page and "0.9012 to 0.9234" in page

"""Rules that say which person an image belongs to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from handbone.formats.labels import LabelledImage
from handbone.formats.people import person_rule

if TYPE_CHECKING:
    from conftest import Fails

IMAGE = LabelledImage("left/P07_3.jpg", "place", Path("x"), fields={"patient": "Kim", "empty": ""})


@pytest.mark.parametrize(
    ("rule", "person"),
    [(None, "P07_3"), ("folder", "left"), ("column:patient", "Kim"), (r"(P\d+)_", "P07"), (r"P\d+", "P07"), ("^(left|right)/", "left")],
)
def test_a_rule_finds_the_person(rule: str | None, person: str) -> None:
    assert person_rule(rule)(IMAGE) == person


@pytest.mark.parametrize("rule", ["column:empty", "column:none", "Q", "(Q)?"])
def test_an_image_without_a_person_is_an_error(rule: str, fails: Fails) -> None:
    with fails("import.person", "place"):
        person_rule(rule)(IMAGE)


def test_a_rule_that_is_no_expression_is_an_error(fails: Fails) -> None:
    with fails("import.person_rule", "--person-from"):
        person_rule("(")
    with fails("import.person", "place"):
        person_rule("folder")(LabelledImage("x.jpg", "place", Path("x")))

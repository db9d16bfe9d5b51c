"""The labels that folds are balanced by."""

import pandas as pd
import pytest

from conftest import Fails
from handbone.dataset.strata import image_attributes, strata
from handbone.utils.errors import UserError

KEYS = ["A/1", "A/2", "B/1", "C/1"]
INDEX = pd.DataFrame({"key": KEYS, "height": 64, "width": 64, "person_wrist": ["bent", "bent", "", "no"]})
AREAS = pd.DataFrame(
    [(key, name, 0.1 * place, 0.2 * place**2) for key in KEYS for place, name in enumerate("abcde")], columns=["key", "class", "x", "y"]
)
AREAS["pixels"] = 9 * ((AREAS["class"] != "c") | (AREAS["key"] == "B/1"))  # class c is in one image only


def labels(*stratify: str) -> dict[str, set[str]]:
    return strata(image_attributes(INDEX, AREAS, stratify), AREAS, stratify)


def test_nothing_is_balanced_by_default() -> None:
    assert labels() == {}


def test_values_and_rare_classes_are_labels() -> None:
    assert labels("classes", "wrist") == {"wrist=bent": {"A/1", "A/2"}, "wrist=no": {"C/1"}, "c": {"B/1"}}


def test_shapes_are_labels_if_they_are_named() -> None:
    shapes = labels("shape")
    assert set().union(*shapes.values()) == set(KEYS) and all(name.startswith("shape=") for name in shapes)


def test_every_unknown_name_is_listed() -> None:
    with pytest.raises(UserError) as error:
        labels("wirst", "classes", "age")
    assert [(problem.code, problem.found) for problem in error.value.problems] == [("split.stratify", "wirst"), ("split.stratify", "age")]
    assert "did you mean wrist?" in str(error.value)


def test_an_attribute_of_many_values_is_refused(fails: Fails) -> None:
    index = pd.DataFrame({"key": [f"{age}/1" for age in range(21)], "person_age": [str(age) for age in range(21)]})
    with fails("split.values", "split.stratify: age"):
        strata(image_attributes(index, AREAS, ["age"]), AREAS, ["age"])


def test_an_attribute_of_the_name_shape_is_refused(fails: Fails) -> None:
    with fails("split.name", "split.stratify: shape"):
        image_attributes(INDEX.assign(person_shape="x"), AREAS, ["shape"])

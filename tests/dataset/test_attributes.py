"""Attributes of images by key, and which of them scores can be compared by."""

import pandas as pd

from handbone.dataset.attributes import images_by_value, person_attributes, with_few_values

INDEX = pd.DataFrame({"key": ["A/1", "A/2", "B/1"], "person": ["A", "A", "B"], "person_wrist": ["bent", "bent", ""], "person_이름": "x"})


def test_attributes_are_the_columns_of_people() -> None:
    table = person_attributes(INDEX)
    assert table.index.tolist() == ["A/1", "A/2", "B/1"]
    assert table.to_dict("list") == {"wrist": ["bent", "bent", ""], "이름": ["x", "x", "x"]}
    assert list(person_attributes(INDEX[["key", "person"]])) == []


def test_decomposed_names_and_values_count_as_composed_ones() -> None:
    table = person_attributes(pd.DataFrame({"key": ["A/1"], "person_e\u0301": ["e\u0301"]}))
    assert table.to_dict("list") == {"\u00e9": ["\u00e9"]}


def test_few_values_are_two_to_six_known_ones_of_all_tables_together() -> None:
    one = pd.DataFrame({"wrist": ["straight", ""], "age": ["1", "2"], "site": ["a", ""], "sex": ["f", "m"]})
    other = pd.DataFrame({"wrist": ["bent", ""], "age": ["3", "7"], "site": ["a", "a"]})
    more = pd.DataFrame({"wrist": [""] * 3, "age": ["4", "5", "6"], "site": ["a"] * 3})
    assert with_few_values(one) == ["age", "sex"]
    assert with_few_values(one, other) == ["wrist", "age"]
    assert with_few_values(one, other, more) == ["wrist"]


def test_images_are_grouped_by_known_values() -> None:
    assert images_by_value(person_attributes(INDEX), ["wrist", "이름"]) == {"wrist=bent": {"A/1", "A/2"}, "이름=x": {"A/1", "A/2", "B/1"}}

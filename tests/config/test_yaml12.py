"""Nested mappings by dotted key."""

from handbone.config.yaml12 import dotted


def test_values_are_by_dotted_key() -> None:
    assert dotted({"seed": 1, "train": {"loss": {"dice": 1.0}, "exclude": []}, "mirror": {}}) == {
        "seed": 1,
        "train.loss.dice": 1.0,
        "train.exclude": [],
        "mirror": {},
    }


def test_anything_else_has_no_keys() -> None:
    assert dotted(None) == dotted("text") == dotted([{"a": 1}]) == {}

"""What differs between two documents of parameters."""

from handbone.config.yaml12 import dotted
from handbone.provenance.experiments import differences


def test_a_mapping_that_is_filled_differs_in_its_keys() -> None:
    assert differences(dotted({"members": {}, "crf": None}), dotted({"members": {"a": 1}, "crf": {}})) == {
        "crf": (None, {}),
        "members.a": (None, 1),
    }


def test_a_key_that_only_one_has_differs() -> None:
    assert differences({"a": 1, "b": 2, "c": 3}, {"a": 1, "b": 4, "d": None}) == {"b": (2, 4), "c": (3, None)}

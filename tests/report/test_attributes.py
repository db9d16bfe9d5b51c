"""The rows of the page's table of attributes."""

import pandas as pd

from handbone.report.attributes import AttributeRow, attribute_rows

COLUMNS = ["subset", "attribute", "value", "class", "images", "dice"]


def test_each_value_is_a_row_with_the_lowest_classes_of_the_test_images() -> None:
    rows = [("held-out", "wrist", "straight", name, 20, 0.5) for name in "abcd"]
    rows += [
        ("test", "wrist", value, name, 6, dice)
        for value in ("straight", "bent")
        for name, dice in zip("abcd", (1.0, 0.75, 0.5, 0.25), strict=True)
    ]
    bent, straight = attribute_rows(pd.DataFrame(rows, columns=COLUMNS))
    assert bent == AttributeRow("wrist", "bent", {"test": 6}, {"test": 0.625}, "d 0.250, c 0.500, b 0.750")
    assert straight.images == {"held-out": 20, "test": 6} and straight.dice["held-out"] == 0.5


def test_without_groups_there_is_no_row() -> None:
    assert attribute_rows(pd.DataFrame(columns=COLUMNS)) == []

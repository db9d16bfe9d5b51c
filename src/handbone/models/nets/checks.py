"""Checks of the arguments that several networks have."""

from __future__ import annotations

from collections.abc import Sequence


def check_widths(widths: Sequence[int], count: int) -> None:
    """Raise a ValueError unless `widths` are `count` numbers of channels, each at least 1."""
    if len(widths) != count or min(widths) < 1:
        raise ValueError(f"widths: expected {count} whole numbers, each at least 1; found {list(widths)}")


def check_positive(**numbers: int) -> None:
    """Raise a ValueError unless each number is at least 1."""
    for name, number in numbers.items():
        if number < 1:
            raise ValueError(f"{name}: expected a whole number of at least 1; found {number}")

"""Numbers as reports write them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from datasetkit.hi_scoring.report.text import interval, number, p_value, percent, signed

NAN = float("nan")


@pytest.mark.parametrize(
    ("write", "value", "text"),
    [
        (number, 0.1234, "0.123"),
        (number, -0.0004, "0.000"),
        (number, NAN, "-"),
        (signed, 0.1234, "+0.123"),
        (signed, -0.1236, "-0.124"),
        (signed, 0.0004, "0.000"),
        (signed, -0.0004, "0.000"),
        (signed, NAN, "-"),
        (p_value, 0.042, "0.042"),
        (p_value, 0.00099, "< 0.001"),
        (p_value, 1.0, "1.000"),
        (p_value, NAN, "-"),
        (percent, 0.0, "0 %"),
        (percent, 1.0, "100 %"),
        (percent, 0.123, "12 %"),
        (percent, 0.0241, "2.4 %"),
        (percent, 0.0001234, "0.012 %"),
        (percent, 1.2e-8, "0.0000012 %"),
    ],
)
def test_values(write: Callable[[float], str], value: float, text: str) -> None:
    assert write(value) == text


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [(-0.5, -0.0001, "-0.500 to 0.000"), (0.1, 0.25, "0.100 to 0.250"), (NAN, NAN, "-")],
)
def test_intervals(low: float, high: float, text: str) -> None:
    assert interval(low, high) == text

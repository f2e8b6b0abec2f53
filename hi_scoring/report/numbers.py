"""Numbers as reports write them. Owns their places, and the dash that stands for "not measured"."""

from __future__ import annotations

import numpy as np

NOT_MEASURED = "-"
_LEAST_P = 0.001


def number(value: float) -> str:
    """A score to three places; a dash where it is not defined."""
    return f"{value:.3f}" if np.isfinite(value) else NOT_MEASURED


def signed(value: float) -> str:
    """A difference to three places with its sign, which 0 has not; a dash where it is not defined."""
    if not np.isfinite(value):
        return NOT_MEASURED
    text = f"{value:+.3f}"
    return text if float(text) else text[1:]


def interval(low: float, high: float) -> str:
    """Both ends of an interval, either of which may be negative."""
    return f"{low:.3f} to {high:.3f}" if np.isfinite(low) else NOT_MEASURED


def p_value(value: float) -> str:
    """A p-value to three places; a dash where nothing was tested."""
    return f"< {_LEAST_P}" if value < _LEAST_P else number(value)


def percent(share: float) -> str:
    """A share, in percent, of which the first two digits that are not 0 are given, however small it is."""
    value = 100 * share
    if value >= 10:
        return f"{value:.0f} %"
    return f"{np.format_float_positional(value, precision=2, unique=False, fractional=False, trim='-')} %"

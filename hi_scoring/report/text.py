"""Format numbers and settings for reports. Owns decimal places, and the dash that means "not measured"."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

NOT_MEASURED = "-"
# With fewer samples, intervals and halves of the data mean little.
FEW_SAMPLES = 30
# Last line of results that have tables but no page.
ON_A_PAGE = "`datasetkit report FOLDER ...` shows all results of a model on one page"
_LEAST_P = 0.001
_SCORE = "z.3f"


def written(value: float, form: str) -> str:
    """Return a number in a format; a dash if it is undefined."""
    return format(value, form) if np.isfinite(value) else NOT_MEASURED


def number(value: float) -> str:
    """Return a score with three decimals; a dash if it is undefined. A value that rounds to 0 has no sign."""
    return written(value, _SCORE)


def signed(value: float) -> str:
    """Return a difference like :func:`number`, with a sign also above 0."""
    text = number(value)
    return f"+{text}" if value > 0 and float(text) else text


def interval(low: float, high: float, form: str = _SCORE) -> str:
    """Return both ends of an interval, either of which may be negative."""
    return f"{written(low, form)} to {written(high, form)}" if np.isfinite(low) else NOT_MEASURED


def p_value(value: float) -> str:
    """Return a p-value with three decimals; a dash if nothing was tested."""
    return f"< {_LEAST_P}" if value < _LEAST_P else number(value)


def percent(share: float) -> str:
    """Return a share in percent with two significant digits, however small it is."""
    value = 100 * share
    if value >= 10:
        return f"{value:.0f} %"
    return f"{np.format_float_positional(value, precision=2, unique=False, fractional=False, trim='-')} %"


def setting_lines(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield the values of nested mappings, by names such as ``training: learning rate``."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            spaced = key.replace("_", " ")
            yield from setting_lines(inner, f"{name}: {spaced}" if name else spaced)
    elif isinstance(value, list):
        yield (
            name,
            ", ".join(" ".join(map(str, one.values())) if isinstance(one, Mapping) else str(one) for one in value),
        )
    else:
        yield name, "none" if value is None else str(value)

"""JSON files that users may have edited. Owns the checks shared by manifest, statistics and ledger."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from numbers import Real
from typing import Any

from datasetkit.core.documents import load_json
from datasetkit.core.errors import BuiltFolderError
from datasetkit.core.paths import Place


def read_events(path: Place) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the lines of a ledger with their events.

    Raises:
        BuiltFolderError: a line is not an event; names it.

    """
    count = 0
    try:
        with path.open("rb") as lines:
            for line in lines:
                count += 1
                event = load_json(line)
                require_text(event=event["event"])
                yield line.decode(), event
    except (ValueError, KeyError, TypeError) as error:
        raise BuiltFolderError(f"{path} line {count} is not an event: {error!r}; rebuild the dataset") from error


def items(value: object) -> list[Any]:
    """Return a list; raise TypeError for anything else."""
    if not isinstance(value, list):
        raise TypeError(f"{value!r} must be a list")
    return value


def require_text(**values: object) -> None:
    """Raise TypeError if one of the named values is empty or not text."""
    for name, value in values.items():
        if not isinstance(value, str) or not value or "\0" in value:
            raise TypeError(f"{name} must be text, not {value!r}")


def require_counts(*values: object) -> None:
    """Raise ValueError if a value is not a non-negative integer of at most 63 bits."""
    for value in values:
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**63:
            raise ValueError(f"count {value!r} must be a non-negative whole number")


def require_numbers(*values: object) -> None:
    """Raise ValueError if a value is not a finite number."""
    for value in values:
        if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
            raise ValueError(f"{value!r} must be a number")


def require_levels(value: object, most: int = 50) -> None:
    """Raise ValueError if a value is nested too deeply to be written again."""
    if most == 0:
        raise ValueError("values are nested too deeply")
    for item in value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ():
        require_levels(item, most - 1)

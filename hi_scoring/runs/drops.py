"""Rows that could not be used, and why. Owns their file."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from datasetkit.core.errors import BuiltFolderError, UnusableError
from datasetkit.core.files import replace_file
from datasetkit.core.ledger import Drop, DropReason
from datasetkit.core.text import counted
from datasetkit.hi_scoring.runs.facts import Facts

DROPS_NAME = "drops.jsonl"


class _Line(Facts):
    """A line of the file."""

    row: int | None
    record_id: str
    reason: DropReason
    detail: str


def row_drop(row: int, record_id: str, error: UnusableError) -> Drop:
    """Return the drop of a row that cannot be used."""
    return Drop("record", record_id, error.reason, error.detail, row)


def drops_to_json(drops: Iterable[Drop]) -> list[list[Any]]:
    """Convert drops of rows to plain JSON values, for files that hold parts of a run."""
    return [[drop.row, drop.item_id, drop.reason, drop.detail] for drop in drops]


def drops_from_json(values: Iterable[Sequence[Any]]) -> list[Drop]:
    """Return the drops from the values that :func:`drops_to_json` returned."""
    return [Drop("record", record_id, DropReason(reason), detail, row) for row, record_id, reason, detail in values]


def in_row_order(drops: Iterable[Drop]) -> list[Drop]:
    """Return drops sorted by row."""
    return sorted(drops, key=lambda drop: (drop.row is None, drop.row))


def counted_reasons(drops: Iterable[Drop]) -> str:
    """Return the counts of drops by reason with explanations, the most frequent first; blank if there are none."""
    reasons = Counter(drop.reason for drop in drops)
    return "; ".join(f"{count:,} x {reason}: {reason.explanation}" for reason, count in reasons.most_common())


def drops_in(folder: Path) -> Counter[str]:
    """Count the drops of a folder by their reasons."""
    return Counter(str(drop.reason) for drop in read_drops(folder)) if (folder / DROPS_NAME).is_file() else Counter()


def drop_lines(folder: Path, what: str = "") -> Iterator[str]:
    """Yield a line for each reason that rows of a folder were left out for, the most frequent first."""
    for reason, count in drops_in(folder).most_common():
        yield f"{counted(count, what) if what else f'{count:,}'}: {reason} ({DropReason(reason).explanation})"


def write_drops(folder: Path, drops: Sequence[Drop]) -> None:
    """Write the dropped rows, one line each."""
    lines = (
        json.dumps({"row": drop.row, "record_id": drop.item_id, "reason": drop.reason, "detail": drop.detail})
        for drop in drops
    )
    replace_file(folder / DROPS_NAME, "".join(f"{line}\n" for line in lines).encode())


def read_drops(folder: Path) -> tuple[Drop, ...]:
    """Read what :func:`write_drops` wrote.

    Raises:
        BuiltFolderError: it is damaged.

    """
    path = folder / DROPS_NAME
    try:
        found = [_Line.model_validate_json(line) for line in path.read_bytes().splitlines()]
    except ValidationError as error:
        raise BuiltFolderError(
            f"{path} is damaged: {error.errors()[0]['msg']}; remove the folder, and run it again"
        ) from error
    return tuple(Drop("record", one.record_id, one.reason, one.detail, one.row) for one in found)

"""Rows that could not be used, and why. Owns their file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from datasetkit.core.files import replace_file
from datasetkit.core.ledger import DropReason

DROPS_NAME = "drops.jsonl"


@dataclass(frozen=True)
class Drop:
    """A row that is left out."""

    row: int
    record_id: str
    reason: DropReason
    detail: str


def write_drops(folder: Path, drops: Sequence[Drop]) -> None:
    """Write down the rows that were left out, one line each."""
    lines = (
        json.dumps({"row": drop.row, "record_id": drop.record_id, "reason": drop.reason, "detail": drop.detail})
        for drop in drops
    )
    replace_file(folder / DROPS_NAME, "".join(f"{line}\n" for line in lines).encode())


def read_drops(folder: Path) -> tuple[Drop, ...]:
    """Read what :func:`write_drops` wrote."""
    with (folder / DROPS_NAME).open(encoding="utf-8") as lines:
        found = [json.loads(line) for line in lines]
    return tuple(Drop(one["row"], one["record_id"], DropReason(one["reason"]), one["detail"]) for one in found)

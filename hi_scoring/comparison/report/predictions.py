"""Predictions of models side by side. Owns which predictions of a test set are shown, and their judgements in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasetkit.core.errors import BuiltFolderError
from datasetkit.hi_scoring.comparison.cells import TEST, load_predictions
from datasetkit.hi_scoring.comparison.compare import CELLS_NAME, Comparison


@dataclass(frozen=True)
class Said:
    """A model's prediction, and what is right or wrong with it; blank if unknown."""

    group: str
    text: str
    judged: str


@dataclass(frozen=True)
class Asked:
    """A prompt about a record's image, the expected response, and the predictions of the untuned and tuned models."""

    record_id: str
    prompt: str
    reference: str
    said: tuple[Said, ...]


def side_by_side(folder: Path, comparison: Comparison, records: int) -> list[Asked]:
    """Read the first prompt of each task on the first records of the test set, with the predictions of first runs.

    Raises:
        BuiltFolderError: the predictions of a cell are missing.

    """
    cells = [comparison.untuned, *(runs[0] for runs in comparison.groups.values())]
    tables = [load_predictions(folder / CELLS_NAME / cell.name, TEST) for cell in cells]
    prompts = [[(row["record_id"], row["task"], row["prompt"]) for row in table] for table in tables]
    for cell, own in zip(cells, prompts, strict=True):
        if own != prompts[0]:
            path = folder / CELLS_NAME / cell.name
            raise BuiltFolderError(f"{path} was tested on other prompts; remove it, and run the same command again")
    chosen: dict[tuple[str, str], int] = {}
    for place, row in enumerate(tables[0]):
        chosen.setdefault((row["record_id"], row["task"]), place)
    first = list(dict.fromkeys(record_id for record_id, _ in chosen))[:records]
    return [
        Asked(
            record_id,
            tables[0][place]["prompt"],
            tables[0][place]["reference"],
            tuple(_said(cell.group, table[place]) for cell, table in zip(cells, tables, strict=True)),
        )
        for (record_id, _), place in chosen.items()
        if record_id in first
    ]


def _said(group: str, row: Mapping[str, Any]) -> Said:
    judged = ""
    if row["is_right"] is not None:
        judged = "right" if row["is_right"] else "wrong"
    elif row["absent"]:
        judged = f"not in the image: {', '.join(row['absent'])}"
    return Said(group, row["prediction"], judged)

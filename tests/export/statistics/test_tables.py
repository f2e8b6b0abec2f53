"""Tables of statistics: what a share is a share of."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from datasetkit.export.statistics.counter import CATEGORIES_KEPT, compute_statistics
from datasetkit.export.statistics.tables import statistics_tables
from tests.export.folders import record, rows_of, write_folder


def test_category_shares_are_of_all_objects(tmp_path: Path) -> None:
    objects = [
        replace(record(1).objects[0], id=number, category=f"kind {number}", is_key=False)
        for number in range(CATEGORIES_KEPT + 50)
    ]
    rows = rows_of([replace(record(1), objects=tuple(objects), phrases=(), questions=())])
    manifest = write_folder(tmp_path / "out", {"train": [rows]}, described=False)
    console = Console(file=io.StringIO(), width=120)
    for table in statistics_tables(compute_statistics(tmp_path / "out", manifest)):
        console.print(table)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    (line,) = (line for line in shown.splitlines() if "kind 0 " in line)
    assert f"{1 / len(objects):.1%}" in line

"""Rows with an image and a text, as Parquet files and on the test Hub; and the result of reading each of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq

from datasetkit.core.errors import UnusableError
from datasetkit.core.protocols import Source
from datasetkit.export.dataset.manifest import Manifest
from datasetkit.export.dataset.reading import iter_shard
from datasetkit.options import Recipe
from datasetkit.options.build import RunOptions
from datasetkit.pipeline.build import build
from tests.pipeline.builders import check_account, make_image

Rows = list[dict[str, Any]]
IMAGE = {"image": datasets.Image(), "text": datasets.Value("string")}


def plain_rows(count: int, first: int = 0) -> Rows:
    """Make rows as ``datasets`` writes them: {bytes, path}, and a text."""
    numbers = range(first, first + count)
    return [{"image": {"bytes": make_image(n), "path": f"{n}.png"}, "text": f"a cat number {n}"} for n in numbers]


def write_rows(path: Path, rows: Sequence[dict[str, Any]], schema: pa.Schema | None = None, **how: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(rows), schema), path, **how)
    return path


def scenes(out: Path, **more: Any) -> Path:
    """Build a folder of eight scenes in two splits, with exact masks, gold phrases and questions."""
    source = {"name": "toyworld", "count": 8, "size_px": 64}
    value = {"source": source, "part_size": 3, "key_max": 1, "splits": {"train": 0.5, "test": 0.5}, **more}
    build(Recipe.checked(value), RunOptions(out=out, workers=2))
    check_account(out)
    return out


def rows_of(out: Path) -> dict[str, dict[str, Any]]:
    """Return every row of a built folder by its id, with its split."""
    manifest = Manifest.read(out)
    rows = ((shard.split, row) for shard in manifest.shards for row in iter_shard(out / shard.path))
    return {row["record_id"]: row | {"split": split} for split, row in rows}


def outcomes(source: Source) -> dict[str, Any]:
    """Return each entry's description, or the reason why it has no record; repeated ids get their number."""
    found: dict[str, Any] = {}
    for number, entry in enumerate(source.entries()):
        key = entry.record_id if entry.record_id not in found else f"{entry.record_id} #{number}"
        try:
            found[key] = source.read(entry).record.description
        except UnusableError as error:
            found[key] = error.reason
    assert len(source) == len(found)
    return found

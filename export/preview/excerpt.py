"""An excerpt of a built folder: a given number of records, spread over it. Owns their choice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from datasetkit.core.record import Record
from datasetkit.export.dataset.manifest import Manifest
from datasetkit.export.dataset.reading import iter_records

_RUNS = 20  # so many row groups are read where each has more rows than a run: at most 20 x 32 MiB of images


def spread_records(folder: Path, manifest: Manifest, limit: int) -> Iterator[tuple[str, Record]]:
    """Yield up to ``limit`` records in their order, each after the name of its row.

    Of a larger dataset, these are equally spaced runs of consecutive records, because the descriptions of an image are
    next to each other. Only shards and row groups with chosen records are read, so the time depends on ``limit`` alone.

    Raises:
        BuiltFolderError: a shard cannot be read, or values do not form a valid record.

    """
    runs = _runs(sum(shard.rows for shard in manifest.shards), limit)
    end = 0
    for shard in manifest.shards:
        first, end = end, end + shard.rows
        for run in runs:
            if run.start < end and first < run.stop:
                rows = range(max(run.start - first, 0), min(run.stop, end) - first)
                yield from iter_records(folder / shard.path, rows)


def _runs(total: int, limit: int) -> list[range]:
    """Return which rows of a dataset are chosen: disjoint ranges, in order."""
    if total <= limit:
        return [range(total)]
    count = min(_RUNS, limit)
    runs: list[range] = []
    for index in range(count):
        length = (index + 1) * limit // count - index * limit // count
        start = max(index * total // count, runs[-1].stop if runs else 0)
        runs.append(range(start, start + length))
    return runs

"""Verification of a built dataset: every shard, every row, every count. Owns the order of the checks.

Faults are reported and the check continues: a bad row, shard or file hides no other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from datasetkit.core.errors import BuiltFolderError
from datasetkit.core.files import file_sha256
from datasetkit.core.limits import ImageLimits
from datasetkit.core.schema import row_schema, stored_schema_version
from datasetkit.export.dataset.files import DatasetFiles
from datasetkit.export.dataset.folder import is_unfinished
from datasetkit.export.dataset.manifest import LEDGER_NAME, MANIFEST_NAME, Manifest, Shard, shard_path
from datasetkit.export.dataset.reading import open_shard, other_columns
from datasetkit.export.dataset.statistics import Statistics
from datasetkit.export.dataset.statistics_counter import StatisticsCounter, uncompressed_bytes
from datasetkit.export.dataset.verification.faults import Fault
from datasetkit.export.dataset.verification.papers import Contents, Ledger, check_papers
from datasetkit.export.dataset.verification.rows import Uniqueness, row_faults
from datasetkit.runtime.progress import OnProgress

# https://huggingface.co/docs/dataset-viewer: limits of reading at once, and of a displayed row
_VIEWER_ROW_GROUP_BYTES = 300_000_000
_VIEWER_ROW_BYTES = 2_000_000
_BATCH_ROWS = 16
_LIMITS = ("max_bytes", "max_pixels")
_ODD_PIXELS = ("0.1.", "0.2.", "0.3.")  # versions that published alpha channels and 16 bits unchanged


def verify_files(files: DatasetFiles, on_progress: OnProgress = lambda *_: None) -> Iterator[Fault]:
    """Check a local or remote dataset against its manifest, its card, its ledger and itself.

    One shard is open at a time. ``on_progress`` is called with the current shard, the number of checked rows, and their
    total number, before each shard and during it.

    Returns:
        faults, file by file; empty if the dataset is sound.

    Raises:
        HubError: the Hub stopped responding.

    """
    for fault in _check(files, on_progress):
        yield replace(fault, what=files.tell(fault.what))


def _check(files: DatasetFiles, on_progress: OnProgress) -> Iterator[Fault]:
    if is_unfinished(files.papers):
        yield Fault(str(files.papers), "contains an unfinished build; run the same `datasetkit build` again")
        return
    try:
        manifest = Manifest.read(files.papers)
    except BuiltFolderError as error:
        yield Fault(MANIFEST_NAME, str(error))
        return
    if not manifest.shards:
        yield Fault(MANIFEST_NAME, f"lists no shard: the dataset contains no records; {LEDGER_NAME} says why")
    ledger = Ledger.read(files.papers)
    counts = Counter(shard.split for shard in manifest.shards)
    names = frozenset(shard_path(split, index, count) for split, count in counts.items() for index in range(count))
    yield from _check_names(files, manifest, names)
    done, total = 0, sum(shard.rows for shard in manifest.shards)
    check = _ShardCheck(files, manifest, ledger, lambda shard, rows: on_progress(shard.path, done + rows, total))
    for shard in manifest.shards:
        if shard.path in names:
            yield from check.check_shard(shard)
        done += shard.rows
    yield from check.finish()
    yield from check_papers(files, manifest, ledger, check.contents())


def _check_names(files: DatasetFiles, manifest: Manifest, names: frozenset[str]) -> Iterator[Fault]:
    listed = [shard.path for shard in manifest.shards]
    for path in listed:
        if path not in names:
            yield Fault(MANIFEST_NAME, f"lists {path!r}, which is not the name of a shard and is not opened")
    for name in sorted(names - set(listed)):
        yield Fault(MANIFEST_NAME, f"does not list {name}; shards must be numbered without gaps")
    for name in sorted(files.data_names - names):
        yield Fault(name, "is not in the manifest; load_dataset may read it, too")


class _ShardCheck:
    """Checks the shards one after the other, and remembers what all of them together must satisfy."""

    def __init__(
        self, files: DatasetFiles, manifest: Manifest, ledger: Ledger, on_rows: Callable[[Shard, int], None]
    ) -> None:
        self._files = files
        self._on_rows = on_rows
        self._manifest = manifest
        self._limits = _limits(manifest)
        self._changed = ledger.changed
        self._are_pixels_used = not manifest.code_version.startswith(_ODD_PIXELS)
        self._uniqueness = Uniqueness()
        self._counter: StatisticsCounter | None = StatisticsCounter()
        self._rows = dict.fromkeys(manifest.split_rows, 0)
        self._columns: list[str] | None = None
        self._large_rows = 0
        self._first_large_row = ""

    def check_shard(self, shard: Shard) -> Iterator[Fault]:
        """Check one shard: its bytes, its footer, its rows."""
        self._on_rows(shard, 0)
        if shard.path not in self._files.names:
            self._counter = None
            yield Fault(shard.path, "is missing")
            return
        with self._files.opened(shard.path) as path:
            yield from self._check_file(path, shard)

    def _check_file(self, path: Path, shard: Shard) -> Iterator[Fault]:
        yield from _check_bytes(path, shard)
        try:
            file = open_shard(path)
        except BuiltFolderError as error:
            self._counter = None
            yield Fault(shard.path, str(error))
            return
        with file:
            schema_faults = list(self._check_schema(file, shard))
            yield from schema_faults
            yield from _check_footer(file, shard)
            self._rows[shard.split] += file.metadata.num_rows
            if self._counter:
                self._counter.add_bytes(shard.split, uncompressed_bytes(path))
            if any(not fault.is_warning for fault in schema_faults):
                self._counter = None
                return
            first_row = 0
            for group in range(file.num_row_groups):
                yield from self._check_row_group(file, shard, group, first_row)
                first_row += file.metadata.row_group(group).num_rows

    def finish(self) -> Iterator[Fault]:
        """Report faults of all rows together."""
        yield from self._uniqueness.faults()
        if self._large_rows:
            yield Fault(
                self._first_large_row,
                f"is the first of {self._large_rows:,} rows of more than {_VIEWER_ROW_BYTES:,} bytes, "
                "which the Hub's viewer does not show in full",
                is_warning=True,
            )

    def contents(self) -> Contents:
        """Return the contents of the shards."""
        statistics: Statistics | None = self._counter.finish() if self._counter else None
        return Contents(self._rows, tuple(self._columns or ()), statistics)

    def _check_schema(self, file: pq.ParquetFile, shard: Shard) -> Iterator[Fault]:
        schema = file.schema_arrow
        version = stored_schema_version(schema)
        if version != self._manifest.schema_version:
            yield Fault(shard.path, f"has schema version {version}; the manifest says {self._manifest.schema_version}")
        expected = row_schema(overlay="overlay" in schema.names, version=self._manifest.schema_version)
        if not schema.equals(expected):
            wrong = ", ".join(other_columns(schema, expected)) or "the order"
            yield Fault(shard.path, f"has other columns than schema version {version}: {wrong}")
        elif schema.metadata.get(b"huggingface") != expected.metadata[b"huggingface"]:
            yield Fault(shard.path, "has metadata with other feature types than its columns; datasets reads those")
        if self._columns is None:
            self._columns = schema.names
        elif self._columns != schema.names:
            yield Fault(shard.path, f"has the columns {schema.names}; the first shard has {self._columns}")

    def _check_row_group(self, file: pq.ParquetFile, shard: Shard, group: int, first_row: int) -> Iterator[Fault]:
        number = first_row
        try:
            for batch in file.iter_batches(_BATCH_ROWS, row_groups=[group]):
                for place in range(batch.num_rows):
                    yield from self._check_one_row(batch.slice(place, 1), shard, number)
                    number += 1
                self._on_rows(shard, min(number, shard.rows))
        except (OSError, pa.ArrowException, UnicodeDecodeError) as error:  # last: the name of a column is damaged
            self._counter = None
            last = first_row + file.metadata.row_group(group).num_rows - 1
            yield Fault(f"{shard.path} rows {number} to {last}", f"cannot be read: {error}")

    def _check_one_row(self, batch: pa.RecordBatch, shard: Shard, number: int) -> Iterator[Fault]:
        where = f"{shard.path} row {number}"
        try:
            row = batch.to_pylist()[0]
        except UnicodeDecodeError as error:
            self._counter = None
            yield Fault(where, f"contains text that is not UTF-8: {error}")
            return
        faults = row_faults(row, self._limits, self._changed, are_pixels_used=self._are_pixels_used)
        yield from (Fault(where, what) for what in faults)
        if batch.nbytes > _VIEWER_ROW_BYTES:
            self._first_large_row = self._first_large_row or where
            self._large_rows += 1
        self._uniqueness.add(row, shard, number)
        if faults:
            self._counter = None
        elif self._counter:
            self._counter.add_row(shard.split, row)


def _limits(manifest: Manifest) -> ImageLimits:
    """Return the image limits of the build."""
    limits = manifest.recipe.get("limits")
    values = limits if isinstance(limits, Mapping) else {}
    return ImageLimits(**{name: values[name] for name in _LIMITS if isinstance(values.get(name), int)})


def _check_bytes(path: Path, shard: Shard) -> Iterator[Fault]:
    if not path.is_file():
        return
    size, sha256 = path.stat().st_size, file_sha256(path)
    if (size, sha256) != (shard.bytes, shard.sha256):
        yield Fault(
            shard.path,
            f"has {size:,} bytes of sha256 {sha256}; the manifest says {shard.bytes:,} bytes of {shard.sha256}",
        )


def _check_footer(file: pq.ParquetFile, shard: Shard) -> Iterator[Fault]:
    metadata = file.metadata
    if metadata.num_rows != shard.rows:
        yield Fault(shard.path, f"has {metadata.num_rows:,} rows; the manifest says {shard.rows:,}")
    for index in range(metadata.num_row_groups):
        group = metadata.row_group(index)
        if group.total_byte_size <= _VIEWER_ROW_GROUP_BYTES:
            continue
        if not all(group.column(place).has_offset_index for place in range(group.num_columns)):
            yield Fault(
                f"{shard.path} row group {index}",
                f"has {group.total_byte_size:,} bytes and no page index; the Hub's viewer reads at most "
                f"{_VIEWER_ROW_GROUP_BYTES:,}",
            )

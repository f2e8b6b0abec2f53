"""Verification of shards, piece by piece: file, footer, schema, rows. Owns what workers check, and what they return.

What all pieces together must satisfy is checked by the process that started the workers, from these small results.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from datasetkit.core.errors import BuiltFolderError
from datasetkit.core.files import file_sha256
from datasetkit.core.limits import ImageLimits
from datasetkit.core.schema import row_schema, stored_schema_version
from datasetkit.core.text import counted
from datasetkit.export.dataset.manifest import Manifest, Shard
from datasetkit.export.dataset.reading import open_shard, other_columns
from datasetkit.export.statistics.counter import StatisticsCounter, uncompressed_bytes
from datasetkit.export.verification.faults import Fault
from datasetkit.export.verification.files import DatasetFiles
from datasetkit.export.verification.rows import RowKeys, row_faults
from datasetkit.runtime.engines.in_order import MOST_DEATHS
from datasetkit.runtime.engines.protocol import Do, Seat, Tell

# https://huggingface.co/docs/dataset-viewer: limits of reading at once, and of a displayed row
_VIEWER_ROW_GROUP_BYTES = 300_000_000
VIEWER_ROW_BYTES = 2_000_000
_BATCH_ROWS = 16
_PIECE_ROWS = 250
_LIMITS = ("max_bytes", "max_pixels")
_ODD_PIXELS = ("0.1.", "0.2.", "0.3.")  # versions that published alpha channels and 16 bits unchanged


@dataclass(frozen=True, slots=True)
class Piece:
    """A share of the row groups of a shard; the first piece includes its file and its footer.

    Args:
        shard: the shard, as the manifest describes it.
        index: number of the piece in the shard, from 0.
        count: number of pieces of the shard.

    """

    shard: Shard
    index: int = 0
    count: int = 1

    @property
    def rows(self) -> int:
        """The number of rows that the piece stands for in the progress; its row groups may have a few others."""
        start, end = (self.shard.rows * place // self.count for place in (self.index, self.index + 1))
        return end - start

    def row_groups(self, number: int) -> range:
        """Return the row groups of the piece, out of a number of them."""
        return range(number * self.index // self.count, number * (self.index + 1) // self.count)


@dataclass(slots=True)
class Findings:
    """What a worker found in a piece.

    Args:
        faults: in the order of the rows.
        rows: number of rows of the shard by its footer; 0 if it cannot be read, and except in the first piece.
        columns: columns of the shard; empty if it cannot be read, and except in the first piece.
        counter: counts of the rows; None if they cannot be counted.
        keys: ids and images of the rows, for comparisons with those of other pieces.
        large_rows: numbers of rows that the Hub's viewer does not show in full.

    """

    faults: list[Fault] = field(default_factory=list)
    rows: int = 0
    columns: tuple[str, ...] = ()
    counter: StatisticsCounter | None = field(default_factory=StatisticsCounter)
    keys: RowKeys = field(default_factory=RowKeys)
    large_rows: list[int] = field(default_factory=list)


def pieces_of(shard: Shard) -> Iterator[Piece]:
    """Divide a shard, so that several workers can check it."""
    count = max(1, shard.rows // _PIECE_ROWS)
    return (Piece(shard, index, count) for index in range(count))


def unchecked(piece: Piece, how: str) -> Findings:
    """Return what is known of a piece whose workers died."""
    which = "" if piece.count == 1 else f" (piece {piece.index + 1} of {piece.count})"
    fault = Fault(
        piece.shard.path,
        f"was not checked{which}: {counted(MOST_DEATHS, 'worker')} died on it (the last: {how}); verify with fewer "
        "--workers if memory is short, or with --workers 1 to see what happens in one process",
    )
    return Findings([fault], rows=0 if piece.index else piece.shard.rows, counter=None)


class ShardWork:
    """The work of verifying one dataset.

    Args:
        files: files of the dataset; can be pickled if there are other processes.
        manifest: what the build says about them.
        changed: ids of the records whose image bytes were changed, from the ledger.

    """

    def __init__(self, files: DatasetFiles, manifest: Manifest, changed: frozenset[str]) -> None:
        self.files = files
        self.schema_version = manifest.schema_version
        self.limits = _limits(manifest)
        self.changed = changed
        self.are_pixels_used = not manifest.code_version.startswith(_ODD_PIXELS)

    def start(self, seat: Seat) -> tuple[None, Do]:  # noqa: ARG002 - the same everywhere
        """Return the function that takes a :class:`Piece` and returns :class:`Findings`."""
        return None, self.check

    def check(self, piece: Piece, tell: Tell) -> Findings:
        """Check a piece; report the number of checked rows."""
        check = _PieceCheck(self, piece, tell)
        check.found.faults += check.faults()
        return check.found


class _PieceCheck:
    """Checks one piece.

    Attributes:
        found: everything but the faults.

    """

    def __init__(self, work: ShardWork, piece: Piece, tell: Tell) -> None:
        self._work = work
        self._piece = piece
        self._shard = piece.shard
        self._tell = tell
        self.found = Findings()

    def faults(self) -> Iterator[Fault]:
        """Check the piece, and yield its faults in order."""
        if self._shard.path not in self._work.files.names:
            self.found.counter = None
            if self._piece.index == 0:
                yield Fault(self._shard.path, "is missing")
            return
        with self._work.files.opened(self._shard.path) as path:
            if self._piece.index == 0:
                yield from _check_bytes(path, self._shard)
            yield from self._check_file(path)

    def _check_file(self, path: Path) -> Iterator[Fault]:
        try:
            file = open_shard(path)
        except BuiltFolderError as error:
            self.found.counter = None
            if self._piece.index == 0:
                yield Fault(self._shard.path, str(error))
            return
        with file:
            schema_faults = [*self._check_schema(file)]
            if self._piece.index == 0:
                yield from schema_faults
                yield from _check_footer(file, self._shard)
                self.found.rows = file.metadata.num_rows
                self.found.columns = tuple(file.schema_arrow.names)
                if self.found.counter:
                    self.found.counter.add_bytes(self._shard.split, uncompressed_bytes(path))
            if schema_faults:
                self.found.counter = None
                return
            groups = self._piece.row_groups(file.num_row_groups)
            first_row = sum(file.metadata.row_group(group).num_rows for group in range(groups.start))
            begun = first_row
            for group in groups:
                yield from self._check_row_group(file, group, first_row, begun)
                first_row += file.metadata.row_group(group).num_rows

    def _check_schema(self, file: pq.ParquetFile) -> Iterator[Fault]:
        schema, wanted = file.schema_arrow, self._work.schema_version
        version = stored_schema_version(schema)
        if version != wanted:
            yield Fault(self._shard.path, f"has schema version {version}; the manifest says {wanted}")
        expected = row_schema(overlay="overlay" in schema.names, version=wanted)
        if not schema.equals(expected):
            wrong = ", ".join(other_columns(schema, expected)) or "the order"
            yield Fault(self._shard.path, f"has other columns than schema version {version}: {wrong}")
        elif schema.metadata.get(b"huggingface") != expected.metadata[b"huggingface"]:
            yield Fault(
                self._shard.path, "has metadata with other feature types than its columns; datasets reads those"
            )

    def _check_row_group(self, file: pq.ParquetFile, group: int, first_row: int, begun: int) -> Iterator[Fault]:
        number = first_row
        try:
            for batch in file.iter_batches(_BATCH_ROWS, row_groups=[group]):
                for place in range(batch.num_rows):
                    yield from self._check_row(batch.slice(place, 1), number)
                    number += 1
                self._tell(min(number - begun, self._piece.rows))
        except (OSError, pa.ArrowException, UnicodeDecodeError) as error:  # last: the name of a column is damaged
            self.found.counter = None
            last = first_row + file.metadata.row_group(group).num_rows - 1
            yield Fault(f"{self._shard.path} rows {number} to {last}", f"cannot be read: {error}")

    def _check_row(self, batch: pa.RecordBatch, number: int) -> Iterator[Fault]:
        where, work, found = f"{self._shard.path} row {number}", self._work, self.found
        try:
            row = batch.to_pylist()[0]
        except UnicodeDecodeError as error:
            found.counter = None
            yield Fault(where, f"contains text that is not UTF-8: {error}")
            return
        faults = row_faults(row, work.limits, work.changed, are_pixels_used=work.are_pixels_used)
        yield from (Fault(where, what) for what in faults)
        if batch.nbytes > VIEWER_ROW_BYTES:
            found.large_rows.append(number)
        found.keys.add(row, number)
        if faults:
            found.counter = None
        elif found.counter:
            found.counter.add_row(self._shard.split, row)


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

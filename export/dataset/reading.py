"""Rows of a built folder, shard by shard. Owns opening shards; holds a few rows in memory at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from datasetkit.core.errors import BuiltFolderError
from datasetkit.core.schema import check_schema_version
from datasetkit.export.dataset.manifest import Manifest, Shard

_BATCH_ROWS = 16
# Pages are read one by one; with pre_buffer on, pyarrow holds every row group until the last row is read.
_BUFFER_BYTES = 2**20


def open_shard(path: Path) -> pq.ParquetFile:
    """Open a shard's footer; close the file, or use it in a ``with``.

    Raises:
        BuiltFolderError: there is no such file, it is not Parquet, or it has another schema version.

    """
    try:
        file = pq.ParquetFile(path, buffer_size=_BUFFER_BYTES, pre_buffer=False)
    except FileNotFoundError:
        raise BuiltFolderError(f"shard {path.name} is missing from {path.parent}") from None
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        raise BuiltFolderError(f"{path} cannot be read as Parquet: {error}") from error
    try:
        check_schema_version(file.schema_arrow, path.name)
    except BuiltFolderError:
        file.close()
        raise
    return file


def iter_shard(path: Path, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
    """Give a shard's rows in order.

    ``columns`` are those to read, or paths of parts of them (``source.license``); None reads all.

    Raises:
        BuiltFolderError: the shard cannot be read, wholly or from some row on.

    """
    with open_shard(path) as file:
        unknown = sorted({name.split(".")[0] for name in columns or ()} - set(file.schema_arrow.names))
        if unknown:
            raise BuiltFolderError(f"{path.name} has no column {unknown}; it has {file.schema_arrow.names}")
        try:
            for batch in file.iter_batches(_BATCH_ROWS, columns=columns):
                yield from batch.to_pylist()
        except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
            raise BuiltFolderError(f"{path} breaks off: {error}") from error


def iter_rows(
    folder: Path, manifest: Manifest, columns: Sequence[str] | None = None
) -> Iterator[tuple[Shard, dict[str, Any]]]:
    """Give all rows of a built folder, shard by shard in the manifest's order, each with its shard.

    For ``columns`` see :func:`iter_shard`.

    Raises:
        BuiltFolderError: a shard cannot be read.

    """
    for shard in manifest.shards:
        for row in iter_shard(folder / shard.path, columns):
            yield shard, row

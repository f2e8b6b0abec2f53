"""Tables as Parquet files. Owns their compression, and that a file is there whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from datasetkit.core.files import replace_file


def write_table(path: Path, table: pa.Table | pd.DataFrame) -> None:
    """Write a table, a frame without its index; equal tables make equal bytes."""
    if isinstance(table, pd.DataFrame):
        table = pa.Table.from_pandas(table, preserve_index=False)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    replace_file(path, sink.getvalue().to_pybytes())

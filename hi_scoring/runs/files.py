"""Files of results: tables, arrays and facts. Owns their format, and that files are written atomically."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from safetensors.numpy import save as save_tensors

from datasetkit.core.files import replace_file


def write_table(path: Path, table: pa.Table | pd.DataFrame) -> None:
    """Write a table as Parquet, a frame without its index; equal tables give equal bytes."""
    if isinstance(table, pd.DataFrame):
        table = pa.Table.from_pandas(table, preserve_index=False)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    replace_file(path, sink.getvalue().to_pybytes())


def records_of(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a table's rows as plain values; undefined values are null."""
    return list(json.loads(table.to_json(orient="records")))


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, str] | None = None) -> None:
    """Write arrays of any shape by name as safetensors, whatever their layout in memory."""
    tensors = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    replace_file(path, save_tensors(tensors, metadata=None if metadata is None else dict(metadata)))


def write_facts(path: Path, facts: Mapping[str, Any], *, ensure_ascii: bool = True) -> None:
    """Write plain values as indented JSON; ``ensure_ascii`` as in :func:`json.dumps`."""
    replace_file(path, (json.dumps(facts, indent=1, ensure_ascii=ensure_ascii) + "\n").encode())

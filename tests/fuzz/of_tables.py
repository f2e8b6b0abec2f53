"""Changes to one cell, column or array of a file: Parquet and safetensors."""

from __future__ import annotations

import io
import json
import random
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors import safe_open
from safetensors.numpy import save as save_tensors

from tests.fuzz.of_values import NothingToChangeError, change_value, dumped


def in_parquet(data: bytes, rng: random.Random) -> tuple[bytes, str]:
    table = pq.read_table(io.BytesIO(data))
    changes = (_odd_cell, _odd_cell, _odd_cell, _null_column, _cast, _without, _renamed, _reordered, _bare, _rows)
    table, what = rng.choice(changes)(table, rng)
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue(), what


def _column(table: pa.Table, rng: random.Random) -> int:
    return rng.randrange(table.num_columns)


def _odd_cell(table: pa.Table, rng: random.Random) -> tuple[pa.Table, str]:
    """Change a value in one cell, as far as the type of its column allows."""
    place = _column(table, rng)
    field = table.schema.field(place)
    cells = table.column(place).to_pylist()
    for _ in range(20):
        row = rng.randrange(len(cells))
        (changed,), what = change_value([cells[row]], rng)
        try:
            array = pa.array([*cells[:row], changed, *cells[row + 1 :]], field.type)
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            continue
        return table.set_column(place, field, array), f"{field.name}, row {row}: {what}"
    raise NothingToChangeError


def _null_column(table: pa.Table, rng: random.Random) -> tuple[pa.Table, str]:
    place = _column(table, rng)
    field = table.schema.field(place)
    kind = rng.choice((field.type, pa.null()))
    return table.set_column(place, pa.field(field.name, kind), pa.nulls(len(table), kind)), f"{field.name} of nulls"


def _cast(table: pa.Table, rng: random.Random) -> tuple[pa.Table, str]:
    place = _column(table, rng)
    field = table.schema.field(place)
    kind = rng.choice((pa.string(), pa.int64(), pa.float64(), pa.binary(), pa.bool_(), pa.large_string(), pa.int8()))
    try:
        array = table.column(place).cast(kind)
    except pa.ArrowException:
        array = pa.array([b"7" if kind == pa.binary() else "7"] * len(table)).cast(kind)
    return table.set_column(place, pa.field(field.name, kind), array), f"{field.name} as {kind}"


def _without(table: pa.Table, rng: random.Random) -> tuple[pa.Table, str]:
    name = table.column_names[_column(table, rng)]
    return table.drop_columns([name]), f"{name} left out"


def _renamed(table: pa.Table, rng: random.Random) -> tuple[pa.Table, str]:
    place = _column(table, rng)
    names = list(table.column_names)
    names[place] = rng.choice(("", "unknown thing", names[0], names[-1], names[place].upper()))
    return table.rename_columns(names), f"{table.column_names[place]} as {names[place]!r}"


def _reordered(table: pa.Table, rng: random.Random) -> tuple[pa.Table, str]:
    names = list(table.column_names)
    rng.shuffle(names)
    return table.select(names), "columns in another order"


def _bare(table: pa.Table, rng: random.Random) -> tuple[pa.Table, str]:
    return table.replace_schema_metadata(None), "without metadata"


def _rows(table: pa.Table, rng: random.Random) -> tuple[pa.Table, str]:
    act = rng.randrange(3)
    if act == 0:
        return table.slice(0, 0), "without rows"
    if act == 1:
        return pa.concat_tables([table, table]), "rows doubled"
    return table.slice(0, max(1, len(table) - 1)), "without its last row"


def in_safetensors(data: bytes, rng: random.Random) -> tuple[bytes, str]:
    if rng.random() < 0.4:
        length = int.from_bytes(data[:8], "little")
        header, what = change_value(json.loads(data[8 : 8 + length]), rng)
        text = dumped(header)
        return len(text).to_bytes(8, "little") + text + data[8 + length :], f"header, {what}"
    path = _temporary(data)
    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    Path(path).unlink()
    name = rng.choice(sorted(arrays))
    array = arrays[name]
    act = rng.randrange(7)
    if act == 0:
        del arrays[name]
    elif act == 1:
        arrays[f"{name}x"] = arrays.pop(name)
    elif act == 2:
        arrays[name] = np.full_like(array, np.nan) if array.dtype.kind == "f" else array * 0
    elif act == 3:
        arrays[name] = array.reshape(-1)
    elif act == 4:
        arrays[name] = array.astype(rng.choice(("int8", "float16", "bool", "float64", "int64")))
    elif act == 5:
        arrays[name] = array[:0]
    else:
        metadata = None
    what = ("left out", "under another name", "of NaN", "flat", "of another type", "empty", "(metadata) left out")[act]
    return save_tensors({key: np.ascontiguousarray(one) for key, one in arrays.items()}, metadata), f"{name} {what}"


def _temporary(data: bytes) -> str:
    with tempfile.NamedTemporaryFile(delete=False) as file:
        file.write(data)
    return file.name

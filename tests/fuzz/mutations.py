"""Changes to files, drawn by a generator of random numbers. Owns how each kind of file is spoilt.

Half of the changes are to the bytes; the others parse a file, change one value, and write it again, so that what reads
it comes further than its first check.
"""

from __future__ import annotations

import copy
import csv
import gzip
import hashlib
import io
import json
import os
import random
import shutil
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import save as save_tensors

_DEEP = "@deep@"
_DEEP_TEXT = "[" * 3000 + "]" * 3000
ODD_VALUES: tuple[Any, ...] = (
    *(None, True, False, "", " ", "x" * 10_000, "NaN", "null", "../../outside", "/etc/hostname", "a\0b", "\ud800", "é"),
    *(-1, 0, 1, 7, 10**30, -(10**30), 2**31, 2**63, 1e308, 0.5, -0.5, float("nan"), float("inf"), _DEEP),
    *([], {}, [None], [1], [[]], {"a": 1}, ["a", "b"], "0", "[1, 2]", "no such thing", "s3://nowhere", "{a: 1}"),
)
Json = Any


class NothingToChangeError(Exception):
    """A file is empty of what could be changed; another change is drawn."""


def spoil(folder: Path, files: Sequence[str], rng: random.Random) -> str:
    """Change one file of a folder; return what was done, for people.

    Args:
        folder: with the files.
        files: names relative to it, of which one is drawn.
        rng: decides everything.

    """
    name = rng.choice(files)
    path = folder / name
    before = path.read_bytes()
    readers = _STRUCTURED.get(path.suffix.lower())
    if readers is not None and rng.random() < 0.65:
        try:
            what = _rewrite(path, before, readers, rng)
        except NothingToChangeError:
            what = _spoil_bytes(path, before, rng)
    else:
        what = _spoil_bytes(path, before, rng)
    if path.is_file() and not path.is_symlink() and rng.random() < 0.5:
        after = path.read_bytes() if os.access(path, os.R_OK) else before
        if _refit(folder, path, before, after):
            what += ", digests fitted"
    return f"{name}: {what}"


def _rewrite(path: Path, before: bytes, change: Callable[[bytes, random.Random], tuple[bytes, str]], rng: Any) -> str:
    try:
        after, what = change(before, rng)
    except (ValueError, OSError, LookupError, TypeError, AttributeError, OverflowError, pa.ArrowException) as error:
        raise NothingToChangeError from error
    path.write_bytes(after)
    return what


# Bytes


def _spoil_bytes(path: Path, data: bytes, rng: random.Random) -> str:
    changes = (_flip, _truncate, _empty, _double, _insert, _as_folder, _as_loop, _missing, _closed, _wide, _bom, _packed)
    weights = (5, 4, 2, 2, 3, 1, 1, 2, 1, 2, 1, 1)
    [change] = rng.choices(changes, weights)
    return change(path, data, rng)


def _flip(path: Path, data: bytes, rng: random.Random) -> str:
    changed = bytearray(data)
    places = sorted(rng.randrange(len(changed)) for _ in range(rng.choice((1, 1, 4, 32)))) if changed else []
    for place in places:
        changed[place] ^= 1 << rng.randrange(8)
    path.write_bytes(changed)
    return f"bits flipped at {places[:4]}"


def _truncate(path: Path, data: bytes, rng: random.Random) -> str:
    length = rng.randrange(len(data) + 1)
    path.write_bytes(data[:length])
    return f"cut to {length} bytes of {len(data)}"


def _empty(path: Path, data: bytes, rng: random.Random) -> str:  # noqa: ARG001
    path.write_bytes(b"")
    return "emptied"


def _double(path: Path, data: bytes, rng: random.Random) -> str:  # noqa: ARG001
    path.write_bytes(data + data)
    return "doubled"


def _insert(path: Path, data: bytes, rng: random.Random) -> str:
    place = rng.randrange(len(data) + 1)
    junk = rng.choice((b"\0", b"\xff\xfe", b"\n\n", b"{", b'"', rng.randbytes(16), b"9" * 5000, b"[" * 3000))
    path.write_bytes(data[:place] + junk + data[place:])
    return f"{junk[:8]!r} put in at {place}"


def _as_folder(path: Path, data: bytes, rng: random.Random) -> str:  # noqa: ARG001
    path.unlink()
    path.mkdir()
    (path / "x").write_bytes(data[:10])
    return "a folder in its place"


def _as_loop(path: Path, data: bytes, rng: random.Random) -> str:  # noqa: ARG001
    path.unlink()
    path.symlink_to(path.name)
    return "a link to itself in its place"


def _missing(path: Path, data: bytes, rng: random.Random) -> str:  # noqa: ARG001
    path.unlink()
    return "removed"


def _closed(path: Path, data: bytes, rng: random.Random) -> str:
    if os.geteuid() == 0:  # to whom no file is closed
        return _missing(path, data, rng)
    path.chmod(0)
    return "may not be read"


def _wide(path: Path, data: bytes, rng: random.Random) -> str:
    name = rng.choice(("utf-16", "utf-32", "cp037"))
    path.write_bytes(data.decode("latin-1").encode(name))
    return f"encoded as {name}"


def _bom(path: Path, data: bytes, rng: random.Random) -> str:  # noqa: ARG001
    path.write_bytes(b"\xef\xbb\xbf" + data)
    return "with a byte-order mark"


def _packed(path: Path, data: bytes, rng: random.Random) -> str:
    many = rng.random() < 0.5
    path.write_bytes(gzip.compress(bytes(30_000_000) if many else data, mtime=0))
    return "gzip of 30 million zeros" if many else "gzip of itself"


# Values


def change_value(value: Json, rng: random.Random) -> tuple[Json, str]:
    """Change one place in plain values; return a changed copy and what was done."""
    value = copy.deepcopy(value)
    places = list(_places(value, ()))
    if not places:
        raise NothingToChangeError
    # Deep places are many: the path's first part is drawn first.
    [head] = rng.sample(sorted({repr(place[0]) for place in places}), 1)
    place = rng.choice([one for one in places if repr(one[0]) == head])
    parent = value
    for part in place[:-1]:
        parent = parent[part]
    last = place[-1]
    told = ".".join(map(str, place))[:120]
    act = rng.random()
    if act < 0.7:
        found = rng.choice(ODD_VALUES) if rng.random() < 0.8 else _near(parent[last], rng)
        parent[last] = found
        return value, f"{told} = {found!r:.40}"
    if act < 0.85:
        del parent[last]
        return value, f"{told} deleted"
    if isinstance(parent, list):
        parent.insert(last, copy.deepcopy(parent[last]))
        return value, f"{told} doubled"
    parent["unknown thing"] = parent.pop(last) if rng.random() < 0.5 else parent[last]
    return value, f"{told} under another name"


def _near(value: Json, rng: random.Random) -> Json:
    """Return a value of the same type, or one that is written as it."""
    if isinstance(value, bool) or value is None:
        return not value
    if isinstance(value, int | float):
        return rng.choice((-value, value + 1, value - 1, value * 1000, float(value), str(value)))
    if isinstance(value, str):
        return rng.choice((value + "x", value[:-1], value.upper(), [value], value * 2))
    return rng.choice((list(value) * 2, {"was": value}, list(reversed(list(value)))))


def _places(value: Json, way: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = []
    for key, inner in items:
        found.append((*way, key))
        found += _places(inner, (*way, key))
    return found


def _dumped(value: Json, indent: int | None = None) -> bytes:
    text = json.dumps(value, indent=indent).replace(f'"{_DEEP}"', _DEEP_TEXT)
    return text.encode("utf-8", "surrogatepass")


def _json(data: bytes, rng: random.Random) -> tuple[bytes, str]:
    value, what = change_value(json.loads(data), rng)
    return _dumped(value, 1), what


def _jsonl(data: bytes, rng: random.Random) -> tuple[bytes, str]:
    lines = data.splitlines()
    place = rng.randrange(len(lines))
    act = rng.random()
    if act < 0.8:
        value, what = change_value(json.loads(lines[place]), rng)
        lines[place] = _dumped(value)
    elif act < 0.9:
        what = "doubled"
        lines.insert(place, lines[place])
    else:
        what = "deleted"
        del lines[place]
    return b"\n".join(lines) + b"\n", f"line {place + 1}, {what}"


def _yaml(data: bytes, rng: random.Random) -> tuple[bytes, str]:
    value, what = change_value(yaml.safe_load(data), rng)
    return yaml.safe_dump(value).replace(_DEEP, _DEEP_TEXT).encode("utf-8", "surrogatepass"), what


def _csv(data: bytes, rng: random.Random) -> tuple[bytes, str]:
    rows = list(csv.reader(io.StringIO(data.decode())))
    row = rng.randrange(len(rows))
    column = rng.randrange(len(rows[row]))
    act = rng.randrange(6)
    if act <= 1:
        text = str(rng.choice(ODD_VALUES)).replace("\ud800", "?")
        rows[row][column], what = text, f"row {row}, column {column} = {text!r:.40}"
    elif act == 2:
        rows, what = [[*cells[:column], *cells[column + 1 :]] for cells in rows], f"column {column} deleted"
    elif act == 3:
        rows, what = [[*cells, cells[column]] for cells in rows], f"column {column} doubled"
    elif act == 4:
        rows[row], what = [*rows[row], "more"], f"row {row} with one cell more"
    else:
        what = f"row {row} deleted"
        del rows[row]
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode(), what


def _text(data: bytes, rng: random.Random) -> tuple[bytes, str]:
    found = rng.choice(ODD_VALUES)
    return str(found).encode("utf-8", "surrogatepass"), f"the text {found!r:.40}"


# Tables and arrays


def _parquet(data: bytes, rng: random.Random) -> tuple[bytes, str]:
    table = pq.read_table(io.BytesIO(data))
    changes = (_odd_cell, _odd_cell, _odd_cell, _null_column, _cast, _without, _renamed, _reordered, _bare, _rows)
    table, what = rng.choice(changes)(table, rng)
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue(), what


def _column(table: pa.Table, rng: random.Random) -> int:
    return rng.randrange(table.num_columns)


def _odd_cell(table: pa.Table, rng: random.Random) -> tuple[pa.Table, str]:
    """Change a value in one cell, as far as its column's type can hold it."""
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


def _bare(table: pa.Table, rng: random.Random) -> tuple[pa.Table, str]:  # noqa: ARG001
    return table.replace_schema_metadata(None), "without metadata"


def _rows(table: pa.Table, rng: random.Random) -> tuple[pa.Table, str]:
    act = rng.randrange(3)
    if act == 0:
        return table.slice(0, 0), "without rows"
    if act == 1:
        return pa.concat_tables([table, table]), "rows doubled"
    return table.slice(0, max(1, len(table) - 1)), "without its last row"


def _safetensors(data: bytes, rng: random.Random) -> tuple[bytes, str]:
    if rng.random() < 0.4:
        length = int.from_bytes(data[:8], "little")
        header, what = change_value(json.loads(data[8 : 8 + length]), rng)
        text = _dumped(header)
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
    import tempfile

    with tempfile.NamedTemporaryFile(delete=False) as file:
        file.write(data)
    return file.name


# Archives and pictures


def _tar(data: bytes, rng: random.Random) -> tuple[bytes, str]:
    with tarfile.open(fileobj=io.BytesIO(data)) as file:
        members = [(one, (file.extractfile(one) or io.BytesIO()).read()) for one in file.getmembers()]
    place = rng.randrange(len(members))
    member, content = members[place]
    name, act = member.name, rng.randrange(8)
    if act <= 2:
        reader = _STRUCTURED.get(Path(name).suffix.lower(), _text)
        content, what = reader(content, rng)
        members[place] = member, content
    elif act == 3:
        del members[place]
        what = "left out"
    elif act == 4:
        members.append((member, content))
        what = "twice"
    elif act == 5:
        member.name = rng.choice(("../../outside", "/outside", "x" * 300 + ".jpg", "a\nb.jpg", ".hidden", "é.txt", "."))
        what = f"named {member.name!r:.30}"
    elif act == 6:
        member.type = rng.choice((tarfile.SYMTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.LNKTYPE, b"Z"))
        member.linkname, content = name, b""
        members[place] = member, content
        what = f"of type {member.type!r}"
    else:
        rng.shuffle(members)
        what = "(all) in another order"
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=tarfile.PAX_FORMAT) as file:
        for one, inner in members:
            one.size = len(inner)
            file.addfile(one, io.BytesIO(inner))
    return sink.getvalue(), f"member {name} {what}"


def _image(data: bytes, rng: random.Random) -> tuple[bytes, str]:
    image = Image.open(io.BytesIO(data))
    kind, act = image.format or "PNG", rng.randrange(6)
    options: dict[str, Any] = {}
    if act == 0:
        size = rng.choice(((1, 1), (1, 4000), (image.height, image.width), (3000, 2000)))
        image, what = image.resize(size), f"of size {size}"
    elif act == 1:
        mode = rng.choice(("L", "P", "1", "CMYK", "RGBA", "I;16", "LA"))
        kind = kind if kind == "PNG" and mode != "CMYK" else "TIFF"
        image, what = image.convert("L" if mode == "I;16" else mode), f"of mode {mode}"
        image = image.convert("I").convert("I;16") if mode == "I;16" else image
    elif act == 2:
        exif = image.getexif()
        exif[0x0112] = rng.choice((3, 6, 8, 99))
        options["exif"], what = exif, f"turned by EXIF {exif[0x0112]}"
    elif act == 3:
        kind = rng.choice(("GIF", "BMP", "TIFF", "WEBP", "PPM", "ICO"))
        what = f"as {kind}"
    elif act == 4 and data[:4] == b"\x89PNG":
        sides = rng.choice(((0, 0), (100_000, 100_000), (2**31 - 1, 1), (64, 10)))
        head = b"IHDR" + b"".join(side.to_bytes(4, "big") for side in sides) + data[24:29]
        import zlib

        return data[:12] + head + zlib.crc32(head).to_bytes(4, "big") + data[33:], f"a header that says {sides}"
    else:
        options, what = {"save_all": True, "append_images": [image.rotate(90)]}, "with a second frame"
        kind = "GIF"
    sink = io.BytesIO()
    image.save(sink, kind, **options)
    return sink.getvalue(), what


_STRUCTURED: dict[str, Callable[[bytes, random.Random], tuple[bytes, str]]] = {
    ".json": _json,
    ".jsonl": _jsonl,
    ".yaml": _yaml,
    ".csv": _csv,
    ".txt": _text,
    ".md": _text,
    ".parquet": _parquet,
    ".safetensors": _safetensors,
    ".tar": _tar,
    ".png": _image,
    ".jpg": _image,
}


def _refit(folder: Path, path: Path, before: bytes, after: bytes) -> bool:
    """Where a JSON file names the digest of a changed file, have it name the new one, and its size."""
    old, new = (hashlib.sha256(data).hexdigest() for data in (before, after))
    is_named = False
    for other in folder.rglob("*.json"):
        if other == path or not other.is_file() or other.is_symlink():
            continue
        data = other.read_bytes()
        if old.encode() in data:
            value = json.loads(data.replace(old.encode(), new.encode()))
            _resize(value, new, len(after))
            other.write_text(json.dumps(value), encoding="utf-8")
            is_named = True
    return is_named


def _resize(value: Json, digest: str, size: int) -> None:
    if isinstance(value, dict):
        if value.get("sha256") == digest and "bytes" in value:
            value["bytes"] = size
        value = list(value.values())
    for inner in value if isinstance(value, list) else ():
        _resize(inner, digest, size)


def copied(source: Path, folder: Path) -> None:
    """Copy a file or a folder as it is, into a folder."""
    if source.is_dir():
        shutil.copytree(source, folder / source.name, symlinks=True)
    else:
        shutil.copy2(source, folder / source.name)

"""Changes to the bytes of a file, or replacements of the file, whatever its kind."""

from __future__ import annotations

import gzip
import os
import random
from pathlib import Path


def spoil_bytes(path: Path, data: bytes, rng: random.Random) -> str:
    changes = (
        _flip,
        _truncate,
        _empty,
        _double,
        _insert,
        _as_folder,
        _as_loop,
        _missing,
        _closed,
        _wide,
        _bom,
        _packed,
    )
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


def _empty(path: Path, data: bytes, rng: random.Random) -> str:
    path.write_bytes(b"")
    return "emptied"


def _double(path: Path, data: bytes, rng: random.Random) -> str:
    path.write_bytes(data + data)
    return "doubled"


def _insert(path: Path, data: bytes, rng: random.Random) -> str:
    place = rng.randrange(len(data) + 1)
    junk = rng.choice((b"\0", b"\xff\xfe", b"\n\n", b"{", b'"', rng.randbytes(16), b"9" * 5000, b"[" * 3000))
    path.write_bytes(data[:place] + junk + data[place:])
    return f"{junk[:8]!r} put in at {place}"


def _as_folder(path: Path, data: bytes, rng: random.Random) -> str:
    path.unlink()
    path.mkdir()
    (path / "x").write_bytes(data[:10])
    return "a folder in its place"


def _as_loop(path: Path, data: bytes, rng: random.Random) -> str:
    path.unlink()
    path.symlink_to(path.name)
    return "a link to itself in its place"


def _missing(path: Path, data: bytes, rng: random.Random) -> str:
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


def _bom(path: Path, data: bytes, rng: random.Random) -> str:
    path.write_bytes(b"\xef\xbb\xbf" + data)
    return "with a byte-order mark"


def _packed(path: Path, data: bytes, rng: random.Random) -> str:
    many = rng.random() < 0.5
    path.write_bytes(gzip.compress(bytes(30_000_000) if many else data, mtime=0))
    return "gzip of 30 million zeros" if many else "gzip of itself"

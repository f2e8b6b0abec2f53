"""Random changes to files. Owns how each kind of file is damaged.

Half of the changes are to the bytes; the others parse a file, change one value, and write it again, so that readers
get past their first check.
"""

from __future__ import annotations

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

import pyarrow as pa

from tests.fuzz.of_bytes import spoil_bytes
from tests.fuzz.of_images import in_image
from tests.fuzz.of_tables import in_parquet, in_safetensors
from tests.fuzz.of_values import NothingToChangeError, in_csv, in_json, in_jsonl, in_text, in_yaml


def spoil(folder: Path, files: Sequence[str], rng: random.Random) -> str:
    """Change one file of a folder; return a description of the change.

    Args:
        folder: folder of the files.
        files: names relative to it, one of which is drawn.
        rng: source of all random choices.

    """
    name = rng.choice(files)
    path = folder / name
    before = path.read_bytes()
    readers = _STRUCTURED.get(path.suffix.lower())
    if readers is not None and rng.random() < 0.65:
        try:
            what = _rewrite(path, before, readers, rng)
        except NothingToChangeError:
            what = spoil_bytes(path, before, rng)
    else:
        what = spoil_bytes(path, before, rng)
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


def _in_tar(data: bytes, rng: random.Random) -> tuple[bytes, str]:
    with tarfile.open(fileobj=io.BytesIO(data)) as file:
        members = [(one, (file.extractfile(one) or io.BytesIO()).read()) for one in file.getmembers()]
    place = rng.randrange(len(members))
    member, content = members[place]
    name, act = member.name, rng.randrange(8)
    if act <= 2:
        reader = _STRUCTURED.get(Path(name).suffix.lower(), in_text)
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


_STRUCTURED: dict[str, Callable[[bytes, random.Random], tuple[bytes, str]]] = {
    ".json": in_json,
    ".jsonl": in_jsonl,
    ".yaml": in_yaml,
    ".csv": in_csv,
    ".txt": in_text,
    ".md": in_text,
    ".parquet": in_parquet,
    ".safetensors": in_safetensors,
    ".tar": _in_tar,
    ".png": in_image,
    ".jpg": in_image,
}


def _refit(folder: Path, path: Path, before: bytes, after: bytes) -> bool:
    """Update the digest and the size of a changed file in JSON files that name them."""
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


def _resize(value: Any, digest: str, size: int) -> None:
    if isinstance(value, dict):
        if value.get("sha256") == digest and "bytes" in value:
            value["bytes"] = size
        value = list(value.values())
    for inner in value if isinstance(value, list) else ():
        _resize(inner, digest, size)


def copied(source: Path, folder: Path) -> None:
    """Copy a file or folder unchanged into a folder."""
    if source.is_dir():
        shutil.copytree(source, folder / source.name, symlinks=True)
    else:
        shutil.copy2(source, folder / source.name)

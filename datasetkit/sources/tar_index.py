"""What is where in a tar file. Owns the reading of headers: nothing is extracted, and no name is ever opened.

Only headers are read, which have a fixed size, or a limited size if they are extended, so that no size that a file
claims can exhaust memory. A truncated file yields the members before the damage.
"""

from __future__ import annotations

import os
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from datasetkit.core.paths import Place

_BLOCK = tarfile.BLOCKSIZE
_LONGEST_EXTENSION = 2**20
_LONG_NAME = b"L"
_LONG_LINK = b"K"
_PAX = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE)
_PAX_RECORD = re.compile(rb"(\d{1,10}) ([^=]+)=")
_NO_FILES = {
    tarfile.LNKTYPE: "a link",
    tarfile.SYMTYPE: "a link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a pipe",
}


@dataclass(frozen=True, slots=True)
class Member:
    """One file in a tar, from byte ``offset`` on; its name is untrusted.

    ``fault`` is what it is instead of a file, or why it cannot be read; None for a file.
    """

    name: str
    offset: int
    size: int
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class Break:
    """Where and why a tar becomes unreadable; whatever follows is lost."""

    offset: int
    detail: str


def scan_tar(path: Place) -> Iterator[Member | Break]:
    """Yield the members of an uncompressed tar in order, without folders. A break ends it.

    Raises:
        OSError: the file cannot be read.

    """
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        offset = 0
        extension: dict[str, str] = {}
        while True:
            file.seek(offset)
            header = file.read(_BLOCK)
            if header == bytes(_BLOCK):
                if file.read(_BLOCK).strip(b"\0"):  # two such blocks mark the end
                    yield Break(offset, "a single block of zeros replaces a member; what follows is not read")
                return
            try:
                info = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
                size = int(extension.get("size", info.size))
            except (tarfile.HeaderError, ValueError) as error:
                yield Break(offset, _why(header, str(error)))
                return
            data = offset + _BLOCK
            following = data + -(-size // _BLOCK) * _BLOCK
            if size < 0:
                yield Break(offset, f"a member claims {size} bytes")
                return
            if info.type in {_LONG_NAME, *_PAX}:
                if size > _LONGEST_EXTENSION or data + size > end:
                    yield Break(offset, f"a header of {size:,} bytes; at most {_LONGEST_EXTENSION:,} are allowed")
                    return
                extension |= _extension(file, info.type, size)
            elif info.type not in {_LONG_LINK, tarfile.XGLTYPE}:
                name = extension.get("path", info.name)
                extension = {}
                if info.type != tarfile.DIRTYPE:
                    yield Member(name, data, size, _fault(info, data + size > end))
                if info.type in _NO_FILES or info.type == tarfile.DIRTYPE:
                    following = data  # some writers set a size for links and folders, but none adds data
            if following > end:
                yield Break(data, f"it ends at byte {end:,}, before the last member's end at {data + size:,}")
                return
            offset = following


def _why(header: bytes, error: str) -> str:
    if not header:
        return "it has no end mark"
    if header[:2] == b"\x1f\x8b" or header[:4] == b"\x28\xb5\x2f\xfd":
        return "it is compressed; decompress it first"
    return f"there is no tar header ({error})"


def _extension(file: IO[bytes], kind: bytes, size: int) -> dict[str, str]:
    """Read the name and the size that an extended header sets for the next member."""
    data = file.read(size)
    if kind == _LONG_NAME:
        return {"path": data.split(b"\0")[0].decode("utf-8", "surrogateescape")}
    found = {}
    start = 0
    while match := _PAX_RECORD.match(data, start):
        length = int(match[1])
        if length <= match.end() - start or start + length > len(data):
            break
        value = data[match.end() : start + length - 1]
        key = match[2].decode("utf-8", "replace")
        if key in {"path", "size"}:
            found[key] = value.decode("utf-8", "surrogateescape")
        start += length
    return found


def _fault(info: tarfile.TarInfo, is_cut: bool) -> str | None:
    if info.type in _NO_FILES:
        return f"is {_NO_FILES[info.type]}, not a file"
    if info.type not in {tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE}:
        return f"has the unsupported type {info.type!r}"
    return "is cut short by the end of the tar" if is_cut else None

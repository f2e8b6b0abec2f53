"""Repair of files that readers refuse although all of their pixels are present. Owns the repairs.

A PNG may contain texts that are longer than Pillow accepts, and a JPEG may lack its two-byte end marker. A JPEG with
missing pixels is not repaired: libjpeg would fill them with grey.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Iterator

from PIL import PngImagePlugin

from datasetkit.core.decoding import decode_as_readers, is_read_as
from datasetkit.core.ledger import NoticeKind

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG, _END = b"\xff\xd8\xff", b"\xff\xd9"
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SCAN = 0xDA
_AFTER_SCAN = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]")
_RESTART = re.compile(rb"\xff[\xd0-\xd7]")
_PADDING_BYTES = 16
# Many, as about every third one may change no visible pixel where only the last few bits are missing.
_FILLS = tuple(hashlib.sha256(bytes([number])).digest().replace(b"\xff", b"\0") for number in range(16))


def repaired(data: bytes) -> tuple[bytes, NoticeKind] | None:
    """Repair a file without changing its pixels.

    Args:
        data: bytes of a file that Pillow cannot decode.

    Returns:
        the bytes to read and publish, and what was done; None if no repair helps, or pixels are missing.

    """
    if data.startswith(_PNG):
        shorter = _without_long_texts(data)
        return None if shorter == data else (shorter, NoticeKind.TEXT_REMOVED)
    if data.startswith(_JPEG):
        data = data.rstrip(b"\xff")  # the first half of an end marker
        # If the last bytes do not matter either, the file ends in filler, such as the zeros of broken downloads.
        if _has_all_pixels(data) and not _has_all_pixels(data[:-_PADDING_BYTES]):
            return data + _END, NoticeKind.END_ADDED
    return None


def png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield each complete chunk of a PNG: its kind, and its start and end in the file."""
    start = len(_PNG)
    while start + 12 <= len(data):
        end = start + 12 + int.from_bytes(data[start : start + 4])
        if end > len(data):
            return
        yield data[start + 4 : start + 8], start, end
        start = end


def _without_long_texts(data: bytes) -> bytes:
    """Remove texts and colour profiles that are too long for Pillow; no more is decompressed than it allows."""
    kept, done = [data[: len(_PNG)]], len(_PNG)
    budget = PngImagePlugin.MAX_TEXT_MEMORY
    for kind, start, end in png_chunks(data):
        length, fits = _text_length(kind, data[start + 8 : end - 4], budget)
        budget -= length
        if fits:
            kept.append(data[start:end])
        done = end
    return b"".join((*kept, data[done:]))


def _text_length(kind: bytes, body: bytes, budget: int) -> tuple[int, bool]:
    """Return the decompressed length of a chunk's text, at most ``budget``, and whether that is all of it."""
    if kind not in {b"tEXt", b"zTXt", b"iTXt", b"iCCP"}:
        return 0, True
    _, _, text = body.partition(b"\0")  # after its keyword
    is_packed = kind in {b"zTXt", b"iCCP"} or (kind == b"iTXt" and text[:1] == b"\1")
    if not is_packed:
        return min(len(text), budget), len(text) <= budget
    packed = text[1:] if kind != b"iTXt" else text[2:].split(b"\0", 2)[-1]
    most = min(budget, PngImagePlugin.MAX_TEXT_CHUNK)
    if most == 0:
        return 0, False
    unpacker = zlib.decompressobj()
    try:
        return len(unpacker.decompress(packed, most)), not unpacker.unconsumed_tail
    except zlib.error:  # not text to Pillow
        return most, True


def _has_all_pixels(data: bytes) -> bool:
    """Whether a JPEG without its end marker is otherwise complete: its pixels do not depend on appended bytes.

    libjpeg does not report missing pixels. It decodes them from the bytes that follow, or leaves them grey.
    """
    try:
        scan = _last_scan(data)
    except (IndexError, ValueError):  # a header is cut
        return False
    whole = decode_as_readers(data + _END) if scan is not None else None
    if scan is None or whole is None:
        return False
    restart = bytes([0xFF, 0xD0 + len(_RESTART.findall(data, scan)) % 8])  # the marker that may still be pending
    return all(is_read_as(data + fill + restart + fill + _END, whole) for fill in _FILLS)


def _last_scan(data: bytes) -> int | None:
    """Return the start of the data of a JPEG's last scan; None if its scans omit any coefficient."""
    place, scan = 2, None
    precision: dict[tuple[int, int], int] = {}  # missing bits per component and coefficient
    while place + 4 <= len(data) and data[place] == 0xFF:
        kind = data[place + 1]
        if kind == 0xFF:
            place += 1
            continue
        end = place + 2 + int.from_bytes(data[place + 2 : place + 4])
        body = data[place + 4 : end]
        if kind in _FRAMES:
            precision = {(component, number): 16 for component in body[6::3] for number in range(64)}
        elif kind == _SCAN:
            first, last, bits = body[-3:]
            for component in body[1 : 1 + 2 * body[0] : 2]:
                precision |= {(component, number): bits & 15 for number in range(first, last + 1)}
            scan = end
            found = _AFTER_SCAN.search(data, end)
            end = found.start() if found else len(data)
        place = end
    return None if any(precision.values()) else scan

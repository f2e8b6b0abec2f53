"""Files that ordinary readers refuse although all of their pixels are there. Owns how they are made readable.

A PNG may hold texts that are longer than Pillow reads, and a JPEG may lack the two bytes that mark its end. A JPEG
whose pixels are missing is not made readable: libjpeg would fill them with grey.
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
# Many, as every third one may happen to change no pixel that is seen where only the last few bits are missing.
_FILLS = tuple(hashlib.sha256(bytes([number])).digest().replace(b"\xff", b"\0") for number in range(16))


def repaired(data: bytes) -> tuple[bytes, NoticeKind] | None:
    """Make a file readable, its pixels unchanged.

    Args:
        data: bytes of a file that Pillow does not decode.

    Returns:
        the bytes to read and to publish, and what was done; None where nothing helps, or pixels are missing.

    """
    if data.startswith(_PNG):
        shorter = _without_long_texts(data)
        return None if shorter == data else (shorter, NoticeKind.TEXT_REMOVED)
    if data.startswith(_JPEG):
        data = data.rstrip(b"\xff")  # the first half of an end marker
        # Where the last bytes do not matter either, something else fills the file, as zeros do in broken downloads.
        if _has_all_pixels(data) and not _has_all_pixels(data[:-_PADDING_BYTES]):
            return data + _END, NoticeKind.END_ADDED
    return None


def png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield each complete chunk of a PNG: its kind, and where it starts and ends in the file's bytes."""
    start = len(_PNG)
    while start + 12 <= len(data):
        end = start + 12 + int.from_bytes(data[start : start + 4])
        if end > len(data):
            return
        yield data[start + 4 : start + 8], start, end
        start = end


def _without_long_texts(data: bytes) -> bytes:
    """Leave out texts and colour profiles that Pillow refuses for their length; no more than it allows is unpacked."""
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
    """Return how many bytes a chunk's text was unpacked to, at most ``budget``, and whether that is all of it."""
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
    except zlib.error:  # Pillow reads it as no text
        return most, True


def _has_all_pixels(data: bytes) -> bool:
    """Whether a JPEG without its end marker is otherwise whole: its pixels do not depend on what is written after it.

    libjpeg reports nothing about missing pixels. It takes them from the bytes that follow, and then leaves them grey.
    """
    try:
        scan = _last_scan(data)
    except (IndexError, ValueError):  # a header is cut
        return False
    whole = decode_as_readers(data + _END) if scan is not None else None
    if scan is None or whole is None:
        return False
    restart = bytes([0xFF, 0xD0 + len(_RESTART.findall(data, scan)) % 8])  # the one that may be waited for
    return all(is_read_as(data + fill + restart + fill + _END, whole) for fill in _FILLS)


def _last_scan(data: bytes) -> int | None:
    """Return where the data of a JPEG's last scan begins; None where its scans leave any coefficient out."""
    place, scan = 2, None
    precision: dict[tuple[int, int], int] = {}  # of each coefficient of each component: the bits that are missing
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

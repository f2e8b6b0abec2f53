"""Text files as people have them: compressed, with a byte-order mark, in any encoding. Owns how they become UTF-8."""

from __future__ import annotations

import codecs
import gzip
import io
import re
import tempfile
import zlib
from typing import IO

from datasetkit.core.errors import SourceError, UnusableError
from datasetkit.core.ledger import DropReason
from datasetkit.core.limits import MOST_UNPACKED_BYTES
from datasetkit.core.paths import Place, open_local, unread

_PIECE_BYTES = 2**20
_SMALL_BYTES = 2**26
_MOST_RATIO = 100  # JSON and CSV shrink to a fifth or tenth; a bomb to a thousandth
_GZIP = b"\x1f\x8b"
# Flickr30k Entities; then the markup of Kosmos-2, Qwen-VL, Shikra, Ferret, GLaMM and similar models.
_ENTITY = re.compile(r"\[/EN#\d+(?:/\w+)* ([^\[\]]*)\]")
_MARKUP = re.compile(
    r"<\|?/?(?:grounding|phrase|object|delimiter_of_multi_objects/?|patch_index_\d+|ref|box|quad|p|obj|bbox|seg|SEG"
    r"|(?:object_ref|box|quad)_(?:start|end))\|?>|(?<=>)(?:\(\d+, ?\d+\),? ?)+(?=<)|<image>"
)
_BEFORE_STOP = re.compile(r" ([,.;:!?](?:\s|$))")
# UTF-32 first: its mark starts with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def open_utf8(path: Place, encoding: str | None = None) -> IO[bytes]:
    """Open a text file as UTF-8 without a byte-order mark.

    A file that already is plain UTF-8 is opened unchecked; anything else is converted to an anonymous temporary file.

    Args:
        path: the file; gzip is decompressed.
        encoding: of the text; None for UTF-8, or that of the byte-order mark.

    Raises:
        SourceError: the file cannot be opened, is not complete gzip or too large, or is not in that encoding.

    """
    try:
        file = open_local(path)
        start = file.read(4)
        file.seek(0)
        if start.startswith(_GZIP):
            with file:
                file = _unpacked(file, path)
            start = file.read(4)
            file.seek(0)
        source = encoding_of(start, encoding)
        if source is None:
            return file
        with file:
            return _recoded(file, source, path)
    except OSError as error:
        raise SourceError(unread(path, error)) from error


def decoded(data: bytes, name: str, encoding: str | None = None) -> str:
    """Decode a whole text without its byte-order mark.

    Raises:
        UnusableError: ``bad_row``: it is not in that encoding.

    """
    known = encoding_of(data[:4], encoding) or "utf-8"
    try:
        return data.decode(known)
    except UnicodeError as error:
        raise UnusableError(DropReason.BAD_ROW, not_in_encoding(name, known, error)) from None


def encoding_of(start: bytes, encoding: str | None) -> str | None:
    """Return the encoding of a text by its first four bytes, without the mark; None for plain UTF-8."""
    marked = next((name for mark, name in _MARKS if start.startswith(mark)), None)
    return marked or (None if encoding is None or codecs.lookup(encoding).name == "utf-8" else encoding)


def not_in_encoding(name: str, encoding: str, error: UnicodeError) -> str:
    """Return the message that a text is not in an encoding, and what to do."""
    place = f" (byte {error.start})" if isinstance(error, UnicodeDecodeError) else ""
    known = "UTF-8" if encoding in {"utf-8", "utf-8-sig"} else encoding
    return f"{name} is not {known} text{place}; give its encoding as --encoding, such as cp1252, or save it as UTF-8"


def without_markup(text: str) -> str:
    """Remove what links words to boxes in grounded texts: ``[/EN#1/people two men]``, ``<phrase>``, ``<box>``."""
    plain = _MARKUP.sub(" ", _ENTITY.sub(r"\1", text))
    return text if plain == text else _BEFORE_STOP.sub(r"\1", " ".join(plain.split()))


def _unpacked(packed: IO[bytes], path: Place) -> IO[bytes]:
    target = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    most = min(MOST_UNPACKED_BYTES, max(_SMALL_BYTES, _MOST_RATIO * packed.seek(0, io.SEEK_END)))
    packed.seek(0)
    try:
        with gzip.open(packed) as file:
            while piece := file.read(_PIECE_BYTES):
                if target.tell() + len(piece) > most:
                    raise SourceError(f"{path} decompresses to more than {most:,} bytes; decompress it yourself")
                target.write(piece)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise SourceError(f"{path} cannot be decompressed: {error}") from None
    target.seek(0)
    return target


def _recoded(file: IO[bytes], encoding: str, path: Place) -> IO[bytes]:
    target = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    try:
        with io.TextIOWrapper(file, encoding, newline="") as text:
            while piece := text.read(_PIECE_BYTES):
                target.write(piece.encode("utf-8", "surrogatepass"))
    except UnicodeError as error:
        raise SourceError(not_in_encoding(str(path), encoding, error)) from None
    target.seek(0)
    return target

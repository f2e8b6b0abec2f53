"""Large JSON files, read element by element. Owns the index of where each element of an array is.

An annotation file of a few hundred megabytes would need several gigabytes as Python objects. Here it is scanned once;
only the start and the length of each element stay in memory, and elements are decoded when they are needed.
"""

from __future__ import annotations

import codecs
import hashlib
import json
import os
import re
import weakref
from array import array
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import IO, Any

import numpy as np

from datasetkit.core.errors import SourceError
from datasetkit.core.paths import Place
from datasetkit.sources.texts import not_in_encoding, open_utf8

_CHUNK_BYTES = 2**20
_BLANKS = " \t\r\n"
# At the end of the buffer, 1 may be the start of 1e+5, and an apparent error may be the start of \ud83d\ude00.
_LONGEST_NUMBER_TAIL = 2
_LONGEST_TOKEN = 12
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


class JsonFile:
    """A JSON file whose top level is an object or a list; the elements of its arrays can be read one by one.

    The file stays open as long as this object lives.

    Args:
        path: the file; it may be compressed with gzip, and start with a byte-order mark.
        encoding: of its text; None for UTF-8, or the encoding of the byte-order mark.

    Raises:
        SourceError: the file cannot be opened.

    """

    def __init__(self, path: Place, encoding: str | None = None) -> None:
        self.path = path
        self._file = open_utf8(path, encoding)
        weakref.finalize(self, self._file.close)
        self.sha256 = ""

    def scan(self, on_element: Callable[[str, Any, int, int], None]) -> dict[str, bool]:
        """Read the file once from start to end.

        Args:
            on_element: called with the top-level key ("" if the top level is a list), the decoded element, its first
                byte in UTF-8 and its length, for each element of each top-level array.

        Returns:
            the keys of the top level, and whether each has an array; a null counts as a missing key.

        Raises:
            SourceError: the file is not such JSON; the message has the byte of the error.

        """
        self._file.seek(0)
        scanner = _Scanner(self._file.read, str(self.path))
        arrays: dict[str, bool] = {}

        def scan_array(key: str) -> None:
            scanner.expect("[")
            for element, start, length in scanner.members("]", scanner.value):
                on_element(key, element, start, length)

        if scanner.peek() == "[":
            scan_array("")
        else:
            scanner.expect("{")
            for key in scanner.members("}", scanner.key):
                scanner.expect(":")
                is_array = scanner.peek() == "["
                if is_array:
                    scan_array(key)
                if is_array or scanner.value()[0] is not None:
                    arrays[key] = is_array
        self.sha256 = scanner.digest()
        return arrays

    def element(self, start: int, length: int) -> Any:
        """Decode one element at an offset. Safe to call from several threads.

        A lone surrogate, which JSON can encode and UTF-8 cannot, becomes a question mark.
        """
        text = os.pread(self._file.fileno(), length, start)
        value = json.loads(text)
        if _SURROGATE.search(text):
            value = json.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))
        return value


class _Scanner:
    """A cursor over JSON text, read in chunks as Latin-1: one byte is one character, so indices are byte offsets."""

    def __init__(self, read: Callable[[int], bytes], name: str) -> None:
        self._read = read
        self._name = name
        self._text = ""
        self._at = 0
        self._before = 0
        self._ended = False
        self._sha256 = hashlib.sha256()
        self._decoder = json.JSONDecoder()
        self._utf8 = codecs.getincrementaldecoder("utf-8")()

    def digest(self) -> str:
        """Read to the end and return the SHA-256 of the whole file."""
        if self.peek():
            raise self._broken("something follows the closing bracket")
        return self._sha256.hexdigest()

    def peek(self) -> str:
        """Return the next character that is not blank, or "" at the end of the file."""
        while True:
            while self._at < len(self._text) and self._text[self._at] in _BLANKS:
                self._at += 1
            if self._at < len(self._text):
                return self._text[self._at]
            if self._ended:
                return ""
            self._fill()

    def expect(self, character: str) -> None:
        """Step over one character."""
        found = self.peek()
        if found != character:
            raise self._broken(f"expected {character!r}, found {found or 'the end of the file'!r}")
        self._at += 1

    def members(self, closing: str, read_member: Callable[[], Any]) -> Iterator[Any]:
        """Yield comma-separated members up to the closing bracket."""
        if self.peek() == closing:
            self._at += 1
            return
        while True:
            yield read_member()
            if self.peek() == closing:
                self._at += 1
                return
            self.expect(",")

    def key(self) -> str:
        """Decode the key of a member at the cursor."""
        if self.peek() != '"':
            raise self._broken("expected a key in double quotes")
        return str(self.value()[0])

    def value(self) -> tuple[Any, int, int]:
        """Decode the value at the cursor; return it with its first byte and its length."""
        self.peek()
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                cut_off = error.msg.startswith("Unterminated") or len(self._text) - error.pos < _LONGEST_TOKEN
                if self._ended or not cut_off:
                    self._at = error.pos
                    raise self._broken(error.msg) from None
            except RecursionError:
                raise self._broken("brackets are nested too deep") from None
            except ValueError:
                raise self._broken("a number has too many digits") from None
            else:
                if end + _LONGEST_NUMBER_TAIL < len(self._text) or self._ended:
                    text, start = self._text[self._at : end], self._before + self._at
                    self._at = end
                    if not text.isascii():  # it was decoded as Latin-1, one character per byte
                        value = json.loads(text.encode("latin-1"))
                    return value, start, len(text)
            self._fill()

    def _fill(self) -> None:
        # Chunks grow with a value that is longer than the buffer, so that decoding it again stays linear in total.
        chunk = self._read(max(_CHUNK_BYTES, len(self._text) - self._at))
        self._ended = not chunk
        self._sha256.update(chunk)
        self._check_utf8(chunk)
        self._before += self._at
        self._text = self._text[self._at :] + chunk.decode("latin-1")
        self._at = 0

    def _check_utf8(self, chunk: bytes) -> None:
        first = self._before + len(self._text) - len(self._utf8.getstate()[0])
        try:
            self._utf8.decode(chunk, final=self._ended)
        except UnicodeDecodeError as error:
            error.start += first
            raise SourceError(not_in_encoding(self._name, "utf-8", error)) from None

    def _broken(self, what: str) -> SourceError:
        return SourceError(f"{self._name} is not valid JSON: {what} (byte {self._before + self._at})")


def first_elements(file: IO[bytes], most_bytes: int) -> dict[str, Any]:
    """Return the first element of each list of a JSON file.

    Args:
        file: the file, as UTF-8.
        most_bytes: how much of it is read.

    Returns:
        by key of the top level, "" for a file that itself is a list, of which only the start is read; None for a key
        without elements or without a list. It is empty for anything but JSON.

    """
    scanner = _Scanner(lambda size: file.read(min(size, max(most_bytes - file.tell(), 0))), "")
    found: dict[str, Any] = {}

    def first_of(key: str) -> None:
        scanner.expect("[")
        found[key] = None
        for number, (element, _, _) in enumerate(scanner.members("]", scanner.value)):
            if number == 0:
                found[key] = element
            if not key:
                return

    with suppress(SourceError):
        if scanner.peek() == "[":
            first_of("")
        elif scanner.peek():
            scanner.expect("{")
            for key in scanner.members("}", scanner.key):
                scanner.expect(":")
                found[key] = None
                if scanner.peek() == "[":
                    first_of(key)
                else:
                    scanner.value()
    return found


class Postings:
    """Which elements belong to which owner: positions of elements, grouped, in order of appearance.

    Compact on purpose: 24 bytes per element and owner numbers of 4 bytes.
    """

    def __init__(self) -> None:
        self._owners = array("i")
        self._places = array("q")
        self._order = np.zeros(0, dtype=np.int64)
        self._bounds = np.zeros(1, dtype=np.int64)

    def __len__(self) -> int:
        """Return the number of elements."""
        return len(self._owners)

    def add(self, owner: int, element_id: int, start: int, length: int) -> None:
        """Add one element of the owner with that number."""
        self._owners.append(owner)
        self._places.extend((element_id, start, length))

    def group(self, owners: int) -> None:
        """Sort by owner; call it once, after the last :meth:`add`."""
        numbers = np.frombuffer(self._owners, dtype=np.int32) if self._owners else np.zeros(0, dtype=np.int32)
        self._order = np.argsort(numbers, kind="stable")
        self._bounds = np.concatenate([[0], np.cumsum(np.bincount(numbers, minlength=owners))])

    def of(self, owner: int) -> list[tuple[int, int, int]]:
        """Return (element id, first byte, length) of every element of one owner."""
        places = self._order[self._bounds[owner] : self._bounds[owner + 1]].tolist()
        return [(self._places[3 * place], self._places[3 * place + 1], self._places[3 * place + 2]) for place in places]

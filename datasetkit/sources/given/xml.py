"""XML of annotation tools. Owns the limits of what is parsed: no entities of a document's own, no external ones."""

from __future__ import annotations

import hashlib
import os
import weakref
from array import array
from typing import Any
from xml.etree.ElementTree import Element, ParseError
from xml.parsers.expat import ExpatError, ParserCreate

from defusedxml.ElementTree import fromstring

from datasetkit.core.errors import SourceError
from datasetkit.core.paths import Place
from datasetkit.sources.texts import open_utf8

_CHUNK_BYTES = 2**20


def parse_xml(data: bytes) -> Element:
    """Parse a document.

    Raises:
        ValueError: it is not XML, or defines entities, with which a few bytes can become gigabytes.

    """
    try:
        found: Element = fromstring(data)
    except ParseError as error:  # a SyntaxError
        raise ValueError(f"it is not XML: {error}") from None
    return found


class XmlElements:
    """The elements of one tag below the root of an XML file; only their positions are kept in memory.

    Args:
        path: the file.
        tag: of the elements.
        encoding: of the file; None for UTF-8.

    Raises:
        SourceError: the file is not XML, or defines entities.

    """

    def __init__(self, path: Place, tag: str, encoding: str | None = None) -> None:
        self.path = path
        self._file = open_utf8(path, encoding)
        weakref.finalize(self, self._file.close)
        self._places = array("q")
        self._parser = ParserCreate("utf-8")
        self._depth = 0
        self._tag = tag
        self._begin = -1
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.EntityDeclHandler = self._refuse
        digest = hashlib.sha256()
        try:
            while chunk := self._file.read(_CHUNK_BYTES):
                digest.update(chunk)
                self._parser.Parse(chunk)
            self._parser.Parse(b"", True)
        except ExpatError as error:
            raise SourceError(f"{path} is not valid XML: {error}") from None
        self.sha256 = digest.hexdigest()
        del self._parser

    def _start(self, name: str, attributes: Any) -> None:  # noqa: ARG002 - the signature of expat
        self._depth += 1
        if self._depth == 2:
            self._close()
            self._begin = self._parser.CurrentByteIndex if name == self._tag else -1

    def _end(self, name: str) -> None:  # noqa: ARG002 - the signature of expat
        self._depth -= 1
        if self._depth == 0:
            self._close()

    def _close(self) -> None:
        if self._begin >= 0:
            self._places.extend((self._begin, self._parser.CurrentByteIndex - self._begin))

    def _refuse(self, *_: object) -> None:
        raise SourceError(f"{self.path} defines entities, with which a few bytes can become gigabytes")

    def __len__(self) -> int:
        """Return the number of elements."""
        return len(self._places) // 2

    def __getitem__(self, number: int) -> Element:
        """Parse one element."""
        start, length = self._places[2 * number : 2 * number + 2]
        return parse_xml(os.pread(self._file.fileno(), length, start))

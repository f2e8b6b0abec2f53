"""Files that are read entry by entry: JSON lists, JSON lines, and COCO's lists. Owns what readers need to index them.

Only positions are kept in memory, so that it stays flat for any number of entries.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import weakref
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from datasetkit.core.errors import SourceError, UnusableError
from datasetkit.core.ledger import DropReason
from datasetkit.core.paths import Place, files_below, path_inside, read_part
from datasetkit.sources.coco_values import identity
from datasetkit.sources.files import as_text
from datasetkit.sources.json_index import JsonFile, Postings
from datasetkit.sources.texts import open_utf8

Json = Mapping[str, Any]
# An annotation file of one image may contain the image, in base64.
_MOST_FILE_BYTES = 2**27


def names_below(folder: Place, *endings: str) -> list[str]:
    """Return the names of the files below a folder, relative and sorted; only those with one of these endings, if any.

    Endings are in lower case.
    """
    return [name for name, _ in files_below(folder) if name.lower().endswith(endings or "")]


class Files:
    """Files of a folder, one per entry.

    Args:
        path: the folder.
        names: of the files, relative to it.

    """

    def __init__(self, path: Place, names: Sequence[str]) -> None:
        self.path = path
        self.names = names
        digest = hashlib.sha256()
        for name in names:
            try:
                found = hashlib.sha256(self.read(name)).hexdigest()
            except UnusableError as error:
                found = error.reason
            digest.update(repr((name, found)).encode("utf-8", "surrogatepass"))
        self.sha256 = digest.hexdigest()

    def read(self, name: str) -> bytes:
        """Read a file of the folder, listed or not.

        Raises:
            UnusableError: ``missing``, ``unreadable``, ``path_escapes``, or ``too_many_bytes``.

        """
        try:
            data = read_part(path_inside(self.path, name), 0, _MOST_FILE_BYTES + 1)
        except FileNotFoundError:
            raise UnusableError(DropReason.MISSING, f"{as_text(name)} is not there") from None
        except OSError as error:
            raise UnusableError(DropReason.UNREADABLE, f"{as_text(name)}: {error.strerror or error}") from None
        if len(data) > _MOST_FILE_BYTES:
            raise UnusableError(DropReason.TOO_MANY_BYTES, f"{as_text(name)} has more than {_MOST_FILE_BYTES:,} bytes")
        return data


@dataclass(slots=True)
class Whole:
    """A file, or files of a folder, that are read as a whole.

    Args:
        path: the file or folder.
        sha256: hex digest of what is read.

    """

    path: Place
    sha256: str


class JsonList:
    """The elements of one list of a JSON file.

    Args:
        path: the file.
        key: of the list at the top level; "" if the file itself is a list.
        encoding: of the file; None for UTF-8.

    Raises:
        SourceError: it is not such a file.

    """

    def __init__(self, path: Place, key: str = "", encoding: str | None = None) -> None:
        self.path = path
        self._file = JsonFile(path, encoding)
        self._places = array("q")

        def take(of: str, element: Any, start: int, length: int) -> None:  # noqa: ARG001 - the signature of scan
            if of == key:
                self._places.extend((start, length))

        self._file.scan(take)
        self.sha256 = self._file.sha256

    def __len__(self) -> int:
        """Return the number of elements."""
        return len(self._places) // 2

    def __getitem__(self, number: int) -> Any:
        """Decode one element."""
        return self._file.element(*self._places[2 * number : 2 * number + 2])


class JsonLines:
    """The lines of a file of JSON lines; blank lines are skipped.

    Args:
        path: the file.
        encoding: of the file; None for UTF-8.

    Raises:
        SourceError: it cannot be opened.

    """

    def __init__(self, path: Place, encoding: str | None = None) -> None:
        self.path = path
        self._file = open_utf8(path, encoding)
        weakref.finalize(self, self._file.close)
        self._places = array("q")
        digest = hashlib.sha256()
        at = 0
        for line in self._file:
            digest.update(line)
            if line.strip():
                self._places.extend((at, len(line)))
            at += len(line)
        self.sha256 = digest.hexdigest()

    def __len__(self) -> int:
        """Return the number of lines that are not blank."""
        return len(self._places) // 2

    def __getitem__(self, number: int) -> Any:
        """Decode one line."""
        start, length = self._places[2 * number : 2 * number + 2]
        return json.loads(os.pread(self._file.fileno(), length, start))


class CsvRows:
    """The rows of a CSV file, by the value of one column; a row is one line, and only its position is kept.

    Args:
        path: the file, with a header.
        column: by which rows are found.
        encoding: of the file; None for UTF-8.

    Raises:
        SourceError: it cannot be opened, or has no such column.

    """

    def __init__(self, path: Place, column: str, encoding: str | None = None) -> None:
        self.path = path
        self._file = open_utf8(path, encoding)
        weakref.finalize(self, self._file.close)
        digest = hashlib.sha256()
        self._header: list[str] = []
        self._owners: dict[str, int] = {}
        self._postings = Postings()
        at = 0
        for line in self._file:
            digest.update(line)
            if not self._header:
                self._header = cells_of(line)
                if column not in self._header:
                    raise SourceError(f"{path} has no column {column}; it has {', '.join(self._header[:20])}")
            elif line.strip():
                cells = cells_of(line)
                place = self._header.index(column)
                key = cells[place] if place < len(cells) else ""
                self._postings.add(self._owners.setdefault(key, len(self._owners)), 0, at, len(line))
            at += len(line)
        self._postings.group(len(self._owners))
        self.sha256 = digest.hexdigest()

    @property
    def keys(self) -> Iterable[str]:
        """The values of the column, in order of appearance."""
        return self._owners.keys()

    def of(self, key: str) -> Iterator[Mapping[str, str]]:
        """Decode the rows with that value, in order."""
        if key in self._owners:
            for _, start, length in self._postings.of(self._owners[key]):
                cells = cells_of(os.pread(self._file.fileno(), length, start))
                yield dict(zip(self._header, cells, strict=False))


def cells_of(line: bytes) -> list[str]:
    """Return the cells of one line of CSV; none of a line that is malformed."""
    text = line.decode("utf-8", "replace").strip("\ufeff\r\n")
    try:
        return next(csv.reader([text]), []) if '"' in text else text.split(",")
    except csv.Error:
        return []


class CocoLists:
    """The lists ``images``, ``annotations`` and ``categories`` of a file in COCO's layout.

    Args:
        path: the file.
        encoding: of the file; None for UTF-8.

    Attributes:
        categories: the entries of the categories, by id.
        licenses: the entries of the licenses, by id.
        strays: number of annotations whose image is not listed.

    Raises:
        SourceError: it is not such a file.

    """

    def __init__(self, path: Place, encoding: str | None = None) -> None:
        self.path = path
        self._file = JsonFile(path, encoding)
        self._images = array("q")
        self._found = array("q")
        self._keys: dict[int | str | None, int] = {}
        self.categories: dict[int | str | None, Json] = {}
        self.licenses: dict[int | str | None, Json] = {}
        self._file.scan(self._take)
        self.sha256 = self._file.sha256
        if not self._images:
            raise SourceError(f"{path} has no images; the list images is missing or empty")
        self._numbers: dict[int, int] = {}
        for number in range(len(self)):
            self._numbers.setdefault(self._images[3 * number], number)
        self._postings = Postings()
        self.strays = 0
        for at in range(0, len(self._found), 3):
            key, start, length = self._found[at : at + 3]
            if key in self._numbers:
                self._postings.add(self._numbers[key], 0, start, length)
            else:
                self.strays += 1
        self._found = array("q")
        self._postings.group(len(self))

    def _take(self, key: str, element: Any, start: int, length: int) -> None:
        value = element if isinstance(element, dict) else {}
        if key == "images":
            self._images.extend((self._key(value.get("id")), start, length))
        elif key == "annotations":
            self._found.extend((self._key(value.get("image_id")), start, length))
        elif key in {"categories", "licenses"}:
            getattr(self, key)[identity(value.get("id"))] = value

    def _key(self, value: object) -> int:
        return self._keys.setdefault(identity(value), len(self._keys))

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._images) // 3

    def number(self, image_id: object) -> int | None:
        """Return the number of the image with an id; None if there is none."""
        return self._numbers.get(self._keys.get(identity(image_id), -1))

    def image(self, number: int) -> Json:
        """Decode the entry of an image."""
        found: Json = self._file.element(*self._images[3 * number + 1 : 3 * number + 3])
        return found

    def annotations(self, number: int) -> Iterator[Json]:
        """Decode the annotations of an image, in order."""
        for _, start, length in self._postings.of(number):
            yield self._file.element(start, length)

"""A first look at a place: what it contains, without reading it all. Owns the samples that formats are recognised by.

Formats are told apart by their content: the keys of JSON, the header of CSV, the first tags of XML, the columns of
Parquet, the members of archives. A name alone decides nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property, lru_cache
from itertools import islice
from pathlib import Path, PurePosixPath
from posixpath import splitext
from typing import Any

import pyarrow as pa

from datasetkit.core.errors import SourceError
from datasetkit.core.paths import Place, files_below, read_part
from datasetkit.sources.files import IMAGE_SUFFIXES
from datasetkit.sources.given.indexed import cells_of
from datasetkit.sources.json_index import first_elements
from datasetkit.sources.parquet_tables import open_parquet
from datasetkit.sources.tar_index import Member, scan_tar
from datasetkit.sources.texts import open_utf8

_SAMPLE_BYTES = 2**20
_MOST_JSON_BYTES = 2**28  # a few seconds; lists follow each other, and the second may begin late
_MOST_FILES = 20_000
_MOST_MEMBERS = 60
_REMEMBERED = 32  # looks, of at most a megabyte and the first elements each
_PARQUET = b"PAR1"
_TAR, _TAR_AT = b"ustar", 257


class Look:
    """What a file or folder contains.

    Args:
        place: the file or folder.
        encoding: of text files; None for UTF-8.

    """

    def __init__(self, place: Place, encoding: str | None = None) -> None:
        self.place = place
        self._encoding = encoding
        self._at = lru_cache(_REMEMBERED)(lambda name: Look(place / name, encoding))

    @cached_property
    def is_folder(self) -> bool:
        """Whether it is a folder."""
        return self.place.is_dir()

    @cached_property
    def names(self) -> Sequence[str]:
        """Names of the files below the folder, relative, sorted; none for a file."""
        return [name for name, _ in files_below(self.place)[:_MOST_FILES]] if self.is_folder else []

    def named(self, *endings: str) -> list[str]:
        """Return the names below the folder with one of these endings, in lower case."""
        return [name for name in self.names if name.lower().endswith(endings)]

    @cached_property
    def has_images(self) -> bool:
        """Whether there are image files below the folder."""
        return any(PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES for name in self.names)

    def at(self, name: str) -> Look:
        """Look at a file below the folder; formats look at the same few, which are remembered."""
        return self._at(name)

    @cached_property
    def start(self) -> bytes:
        """The first bytes of a file, as UTF-8; none for a folder."""
        if self.is_folder:
            return b""
        with open_utf8(self.place, self._encoding) as file:
            return file.read(_SAMPLE_BYTES)

    @cached_property
    def first(self) -> Mapping[str, Any]:
        """The first element of each list of a JSON file, by its key at the top level.

        "" is the key of a file that itself is a list. A key without a list, or with an empty one, has the value None.
        It is empty for anything but JSON.
        """
        if self.is_folder or self.start.lstrip(b" \t\r\n")[:1] not in (b"{", b"["):
            return {}
        with open_utf8(self.place, self._encoding) as file:
            return first_elements(file, _MOST_JSON_BYTES)

    @cached_property
    def first_line(self) -> Any:
        """The first line of a file of JSON lines, decoded; None for anything else."""
        line, _, rest = self.start.lstrip(b" \t\r\n\xef\xbb\xbf").partition(b"\n")
        if not line.startswith(b"{") or (rest.strip() and not rest.lstrip().startswith(b"{")):
            return None
        try:
            return json.loads(line)
        except ValueError:
            return None

    @cached_property
    def value(self) -> Any:
        """The value of a small JSON file; None for anything else."""
        if self.start.lstrip(b" \t\r\n")[:1] not in (b"{", b"[") or len(self.start) >= _SAMPLE_BYTES:
            return None
        try:
            return json.loads(self.start)
        except (ValueError, RecursionError):
            return None

    @cached_property
    def header(self) -> Sequence[str]:
        """The cells of the first line, as CSV."""
        return cells_of(self.start.partition(b"\n")[0])

    @cached_property
    def root_tag(self) -> str:
        """The name of the first element of an XML file; "" for anything else."""
        text = self.start[:4096].decode("utf-8", "replace").lstrip("\ufeff \t\r\n")
        while text.startswith(("<?", "<!--")):
            text = text.partition("?>" if text.startswith("<?") else "-->")[2].lstrip()
        if not text.startswith("<") or text.startswith("<!"):
            return ""
        name = text[1:].partition(">")[0].split(maxsplit=1)
        return name[0].rstrip("/") if name else ""

    @cached_property
    def schema(self) -> pa.Schema | None:
        """The schema of a Parquet file, or of the first one below a folder; None without one, or if it is broken."""
        place: Place | None = self.place
        if self.is_folder:
            names = [name for name in self.named(".parquet") if PurePosixPath(name).name != "metadata.parquet"]
            place = self.place / names[0] if names else None
        if place is None or read_part(place, 0, len(_PARQUET)) != _PARQUET:
            return None
        with suppress(SourceError), open_parquet(place) as file:
            return file.schema_arrow
        return None

    @property
    def columns(self) -> frozenset[str]:
        """The columns of a Parquet file; see :attr:`schema`."""
        return frozenset(() if self.schema is None else self.schema.names)

    @cached_property
    def samples(self) -> Sequence[tuple[frozenset[str], Mapping[str, Any]]]:
        """The first samples of a tar file, or of the first one below a folder: its endings, and the values of its JSON.

        They are none for a tar without images.
        """
        place: Place | None = self.place
        if self.is_folder:
            names = self.named(".tar")
            place = self.place / names[0] if names else None
        if place is None or read_part(place, _TAR_AT, len(_TAR)) != _TAR:
            return ()
        found: dict[str, set[str]] = {}
        values: dict[str, Mapping[str, Any]] = {}
        for member in islice(scan_tar(place), _MOST_MEMBERS):
            if isinstance(member, Member):
                stem, ending = splitext(member.name.lower())
                found.setdefault(stem, set()).add(ending)
                if ending == ".json" and member.size <= _SAMPLE_BYTES:
                    with suppress(ValueError, RecursionError):
                        value = json.loads(read_part(place, member.offset, member.size))
                        values[stem] = value if isinstance(value, dict) else {"": value}
        samples = [(frozenset(endings), values.get(stem, {})) for stem, endings in found.items()]
        return samples if any(endings & IMAGE_SUFFIXES for endings, _ in samples) else ()

    @cached_property
    def metadata(self) -> Sequence[str]:
        """Names of the metadata files below a folder, as the Hub names them."""
        return [name for name in self.names if PurePosixPath(name).name.lower().startswith("metadata.")]

    @cached_property
    def beside(self) -> Sequence[str]:
        """Names of the files below a folder that are named after an image next to them, and are none themselves."""
        images = {splitext(name)[0] for name in self.names if splitext(name)[1].lower() in IMAGE_SUFFIXES}
        return [
            name
            for name in self.names
            if splitext(name)[1].lower() not in IMAGE_SUFFIXES and {splitext(name)[0], name} & images
        ]

    def files(self) -> Iterator[Look]:
        """Yield the place itself if it is a file, or the files at the top of the folder that are no images."""
        if not self.is_folder:
            yield self
            return
        for name in self.names:
            if "/" not in name and PurePosixPath(name).suffix.lower() not in IMAGE_SUFFIXES:
                yield self.at(name)


def folder_of(place: Place) -> Place:
    """Return a folder itself, or the folder that a file is in."""
    return place if place.is_dir() else Path(place).parent if isinstance(place, Path) else place.parent

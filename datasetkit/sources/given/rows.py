"""Rows with one image each, of Parquet files, of shards, and of folders. Owns what all formats of rows share.

The files are those of the sources ``parquet``, ``webdataset`` and ``folder``, and are read by their parts. Images are
read when their record is made; parsing reads the other cells.
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, ClassVar, Protocol

from datasetkit.core.errors import SourceError, UnusableError
from datasetkit.core.given import GivenImage
from datasetkit.core.ledger import DropReason
from datasetkit.core.limits import ImageLimits
from datasetkit.core.paths import Place
from datasetkit.options.sources import FolderOptions, ParquetOptions
from datasetkit.sources.columns import find_columns, is_image_column, only_item
from datasetkit.sources.files import as_text, list_shards, split_of_shard
from datasetkit.sources.folder import FolderSource
from datasetkit.sources.given.cells import READ, TEXT_MEMBER, Cells, ClassNames, class_names, objects_of_cells, texts_of
from datasetkit.sources.given.indexed import Whole
from datasetkit.sources.given.look import Look
from datasetkit.sources.given.reader import Given, Index, Reader
from datasetkit.sources.in_order import InOrder
from datasetkit.sources.parquet_tables import Table, footer_sha256, group_rows, open_parquet, table_rows
from datasetkit.sources.rows import first_text, image_of
from datasetkit.sources.tar_index import Member, scan_tar
from datasetkit.sources.tar_samples import Sample, group
from datasetkit.sources.tar_texts import bytes_of, text_of, values_of
from datasetkit.sources.unused import Unused, kind_of_leaves, leaves_of_type

_TEXT_ENDINGS = ("txt", "caption")


class RowsIn(Enum):
    """Where rows are."""

    PARQUET = "parquet"
    TAR = "tar"
    FOLDER = "folder"


def rows_of(look: Look) -> RowsIn | None:
    """Return where the rows of a place are; None if it has none.

    Tables without images, as img2dataset writes them, count only where neither shards nor described images are.
    """
    if look.schema is not None and any(is_image_column(only_item(column.type)) for column in look.schema):
        return RowsIn.PARQUET
    if look.samples:
        return RowsIn.TAR
    if look.has_images and (look.beside or look.metadata):
        return RowsIn.FOLDER
    return None if look.schema is None else RowsIn.PARQUET


@dataclass(frozen=True, slots=True)
class GivenRow:
    """One row.

    Args:
        id: name of the row.
        cells: its values by column, without the image.
        names: names of its image's file, if it lies in a folder.
        data: reads the image, if the row contains it.
        uri: where the row is.
        split: split that the place of the row names, or None.
        class_names: names of numbered categories, by column.

    """

    id: str
    cells: Cells
    names: tuple[str, ...] = ()
    data: Callable[[], bytes] | None = None
    uri: str | None = None
    split: str | None = None
    class_names: ClassNames = field(default_factory=dict)


class Rows(Protocol):
    """Rows by number."""

    indexes: Sequence[Index]
    digest: str

    def __len__(self) -> int:
        """Return the number of rows."""
        ...

    def __getitem__(self, number: int) -> GivenRow:
        """Read a row.

        Raises:
            UnusableError: it cannot be read.

        """
        ...


class ParquetRows(Rows):
    """Rows of Parquet files.

    Args:
        given: the place.
        wanted: names of columns that are read, besides those of all formats.

    """

    def __init__(self, given: Given, wanted: frozenset[str]) -> None:
        self._tables: list[_ParquetFile] = []
        self._length = 0
        indexes: list[Index] = []
        for name, path in list_shards([given.place], ".parquet", given.passed_over):
            with open_parquet(path) as file:
                schema, groups = file.schema_arrow, group_rows(file)
            found = _ParquetFile.of(name, path, schema, groups, self._length, wanted)
            for column in schema:
                if column.name not in {*found.cells.names, found.image}:
                    leaves = list(leaves_of_type(column.type, column.name))
                    given.passed_over.add(kind_of_leaves(leaves), column.name)
            self._tables.append(found)
            self._length += found.cells.rows
            indexes.append(Whole(path, footer_sha256(path)))
        self.indexes = indexes
        facts = [(one.cells.name, index.sha256) for one, index in zip(self._tables, indexes, strict=True)]
        self.digest = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
        self._cells = InOrder(lambda number: self._from(number, images=False))
        self._images = InOrder(lambda number: self._from(number, images=True))

    def __len__(self) -> int:
        """Return the number of rows."""
        return self._length

    def __getitem__(self, number: int) -> GivenRow:
        """Read a row without its image."""
        file = self._file_of(number)
        cells = _sound(self._cells.take(number))
        row_id = f"{file.cells.name}/{number - file.first}"
        split = split_of_shard(file.cells.name)

        def data() -> bytes:
            return image_of(_sound(self._images.take(number))[str(file.image)], row_id)[0]

        return GivenRow(row_id, cells, (), data if file.image else None, row_id, split, file.class_names)

    def _file_of(self, number: int) -> _ParquetFile:
        return self._tables[bisect_right(self._tables, number, key=lambda one: one.first) - 1]

    def _from(self, number: int, *, images: bool) -> Iterator[Mapping[str, Any] | UnusableError]:
        for file in self._tables[self._tables.index(self._file_of(number)) :]:
            yield from table_rows(file.images if images else file.cells, max(number - file.first, 0))


@dataclass(frozen=True, slots=True)
class _ParquetFile:
    """A file: its cells and its images as tables, the image's column, the number of its first row."""

    cells: Table
    images: Table
    image: str | None
    first: int
    class_names: ClassNames

    @classmethod
    def of(
        cls, name: str, path: Place, schema: Any, groups: tuple[int, ...], first: int, wanted: frozenset[str]
    ) -> _ParquetFile:
        try:
            image = find_columns(schema, str(path), ParquetOptions(files=(path,))).image
        except SourceError:
            if not wanted & {*schema.names}:
                raise
            image = None
        read = {*READ, *wanted} - {image}
        names = tuple(one for one in schema.names if one in read and schema.names.count(one) == 1)
        images = () if image is None else (image,)
        return cls(
            Table(name, path, names or images, groups),
            Table(name, path, images, groups),
            image,
            first,
            class_names(schema),
        )


def _sound(row: Mapping[str, Any] | UnusableError) -> Mapping[str, Any]:
    if isinstance(row, UnusableError):
        raise row
    return row


class TarRows(Rows):
    """Samples of WebDataset shards, as ``datasetkit build webdataset`` groups them."""

    def __init__(self, given: Given) -> None:
        self._encoding = given.encoding
        self._shards = list_shards([given.place], ".tar", given.passed_over)
        self._samples: list[Sample] = []
        unused = Unused(str(given.place), ())
        indexes: list[Index] = []
        for number, (name, path) in enumerate(self._shards):
            try:
                members = list(scan_tar(path))
            except OSError as error:
                raise SourceError(f"{path} cannot be read: {error.strerror}") from None
            facts = [(item.name, item.offset, item.size) for item in members if isinstance(item, Member)]
            digest = hashlib.sha256(json.dumps([name, path.stat().st_size, facts]).encode()).hexdigest()
            indexes.append(Whole(path, digest))
            self._samples.extend(group(number, name, members, _TEXT_ENDINGS, unused))
        given.passed_over.update(unused.counts)
        self.indexes = indexes
        self.digest = hashlib.sha256("".join(index.sha256 for index in indexes).encode()).hexdigest()
        if not any(sample.image_member for sample in self._samples):
            faults = [sample.fault[1] for sample in self._samples if sample.fault]
            raise SourceError(faults[0] if faults else f"{given.place}: no shard holds an image")

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self._samples)

    def __getitem__(self, number: int) -> GivenRow:
        """Read the texts of a sample."""
        sample = self._samples[number]
        if sample.fault:
            raise UnusableError(*sample.fault)
        shard, path = self._shards[sample.shard]
        member = sample.image_member
        if member is None:
            raise UnusableError(DropReason.MISSING, f"{shard}/{sample.key} has no image")
        text = text_of(path, sample, self._encoding)
        try:
            values = values_of(path, sample, self._encoding)
        except UnusableError:
            if not (text or "").strip():
                raise
            values = {}
        limit = ImageLimits().max_bytes

        def data() -> bytes:
            if member.size > limit:
                detail = f"{as_text(member.name)} has {member.size:,} bytes; at most {limit:,} are allowed"
                raise UnusableError(DropReason.TOO_MANY_BYTES, detail)
            return bytes_of(path, member)

        name = as_text(member.name)
        cells = {**values, TEXT_MEMBER: text}
        return GivenRow(f"{shard}/{sample.key}", cells, (name,), data, f"{shard}/{name}", split_of_shard(shard))


class FolderRows(Rows):
    """Images of a folder with metadata or texts beside them, as ``datasetkit build folder`` finds them.

    Args:
        given: the place.
        wanted: names of metadata columns that are read, besides those of all formats.

    """

    def __init__(self, given: Given, wanted: frozenset[str]) -> None:
        options = FolderOptions(folder=given.place, encoding=given.encoding)
        self._source = FolderSource(options, kept=READ | wanted)
        self._entries = list(self._source.entries())
        self.indexes = [Whole(path, "") for path in self._source.index_files().values()]
        self.digest = self._source.fingerprint()
        given.passed_over.update(self._source.passed_over())

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._entries)

    def __getitem__(self, number: int) -> GivenRow:
        """Read the texts of an image."""
        entry = self._entries[number]
        cells = self._source.cells(entry)
        return GivenRow(entry.record_id, cells, (entry.handle.name,), split=entry.split)


class RowsReader(Reader):
    """A reader of rows, in any of the places that rows are in."""

    wanted: ClassVar[frozenset[str]] = frozenset()
    """Names of the columns that only this format has."""

    def __init__(self, given: Given) -> None:
        self._rows = _rows_in(given, self.wanted)
        self.indexes = self._rows.indexes

    def fingerprint(self) -> str:
        """Return a hex digest of what the rows are read from."""
        return self._rows.digest

    def handles(self) -> Iterator[int]:
        """Yield the numbers of the rows."""
        yield from range(len(self._rows))

    def read(self, handle: Any) -> GivenImage:
        """Read one row, without its image."""
        return self.given(self._rows[handle])

    def given(self, row: GivenRow) -> GivenImage:
        """Return what a row states, which is any text, box and mask unless overridden."""
        return given_image(row, texts=texts_of(row.cells), objects=objects_of_cells(row.cells, row.class_names))


def given_image(row: GivenRow, **known: Any) -> GivenImage:
    """Return the image of a row, with its place, split, license and address, and with what else is known."""
    values = {
        "id": row.id,
        "names": row.names,
        "data": row.data,
        "split": first_text(row.cells.get("split")) or row.split,
        "license": first_text(row.cells.get("license")),
        "uri": first_text(row.cells.get("url")) or row.uri,
    }
    return GivenImage(**{**values, **known})


def _rows_in(given: Given, wanted: frozenset[str]) -> Rows:
    place = rows_of(Look(given.place, given.encoding))
    if place is RowsIn.PARQUET:
        return ParquetRows(given, wanted)
    return TarRows(given) if place is RowsIn.TAR else FolderRows(given, wanted)

"""Metadata files of a folder. Owns which image each row refers to, and what happens to rows that refer to none."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from posixpath import splitext
from typing import Any

from datasetkit.core.errors import SourceError, UnusableError
from datasetkit.core.ledger import DropReason, NoticeKind, PassedOverKind
from datasetkit.core.paths import leads_out
from datasetkit.core.text import counted
from datasetkit.options import FolderOptions
from datasetkit.sources.exported import FILE_COLUMN, ExportedRows, is_exported
from datasetkit.sources.files import CAPTION_COLUMNS, IMAGE_SUFFIXES, as_text, split_of_value
from datasetkit.sources.names import FolderNames, FoundFile
from datasetkit.sources.rows import first_text, id_of_value, texts_in
from datasetkit.sources.tables import TableRow, table_kind, table_rows
from datasetkit.sources.unused import SPLIT_COLUMN, Leaf, Unused, leaves_of_value

_FILE_COLUMNS = (FILE_COLUMN, "file_names")
_ROWS_LOOKED_AT = 100
Fault = tuple[DropReason, str]


@dataclass(frozen=True, slots=True)
class ListedImage:
    """One image of a folder: what is known about it, and why it is not a record if that is already known.

    An image of a whole record has the record's id, the ids of its objects, and the location of its row. What its row
    says does not depend on whether its file exists, so that a retry recognises it once it does.
    """

    name: str
    description: object = None
    license: str | None = None
    split: str | None = None
    changes: tuple[NoticeKind, ...] = ()
    fault: Fault | None = field(default=None, compare=False)
    record_id: str | None = None
    object_ids: tuple[int, ...] = ()
    row: tuple[ExportedRows, int] | None = None
    cells: Mapping[str, Any] = field(default_factory=dict, compare=False)


class Metadata:
    """The rows of a folder's metadata files.

    Args:
        options: which columns hold what.
        names: the folder's files.
        unused: counts the columns that are not read.
        files: the metadata files, relative to the folder.
        kept: further columns whose cells are kept.

    Raises:
        SourceError: a file or most of its lines are broken, it lacks a column, or no row refers to an image of the
            folder.

    """

    def __init__(
        self,
        options: FolderOptions,
        names: FolderNames,
        unused: Unused,
        files: Sequence[str],
        kept: Collection[str] = (),
    ) -> None:
        self._kept = kept
        self.images: list[ListedImage] = []
        self.has_texts = options.caption_column is not None
        self._options, self._names, self._unused = options, names, unused
        self._lost: list[str] = []  # names that were not found
        self._missed: list[str] = []  # these, and the names of rows that may refer to several images
        self._seen: set[str] = set()
        self.exported: list[ExportedRows] = []
        self._record_ids: set[str] = set()
        for file in files:
            if table_kind(file) == ".parquet" and options.is_plain and ExportedRows.are_in(names.folder / file):
                self._read_records(ExportedRows(names.folder / file, file), file)
            else:
                self._read(file)
        if self.images and not self._seen:
            first = next(image.fault[1] for image in self.images if image.fault)
            advice = f"; {names.advice(self._lost)}" if self._lost else ""
            raise SourceError(f"{names.folder}: no row of {', '.join(files)} refers to an image in it: {first}{advice}")
        self._alike = names.alike(self._missed) if self._missed else {}

    def fault_of(self, name: str) -> Fault | None:
        """Return why an image that no row names is dropped: a row whose name was not found may refer to it."""
        if name not in self._alike:
            return None
        return (
            DropReason.NAMED_OTHERWISE,
            f"the row that names {as_text(self._alike[name])!r} may refer to {as_text(name)}",
        )

    def _read_records(self, exported: ExportedRows, file: str) -> None:
        self.exported.append(exported)
        self.has_texts = True
        for number, (object_ids, name, record_id) in enumerate(exported.ids()):
            known = id_of_value(record_id) or f"{file}/{number}"
            fault, found = None, FoundFile(name or known, self._names.folder)
            try:
                found = self._found(name or "", file.rpartition("/")[0])
                self._seen.add(found.name)
            except UnusableError as error:
                fault = error.reason, f"{file} row {number}: {error.detail}"
                self._lost.append(found.name)
                self._missed.append(found.name)
            if known in self._record_ids:
                fault = (DropReason.DUPLICATE_ID, f"id {known} was listed before")
            self._record_ids.add(known)
            self.images.append(
                ListedImage(
                    found.name,
                    split=exported.split,
                    changes=found.changes,
                    fault=fault,
                    record_id=known,
                    object_ids=tuple(object_ids),
                    row=(exported, number),
                )
            )

    def _read(self, file: str) -> None:
        path = self._names.folder / file
        known: dict[str, None] = {}
        leaves: dict[str, list[Leaf]] = {}
        count, broken = 0, list[str]()
        for row in table_rows(path, self._options.encoding):
            count += 1
            broken += [f"line {row.number} {row.fault}"] if row.text else []
            known.update(dict.fromkeys(map(str, row.cells)))
            self.images.append(self._image(row, file))
            used = self._used(row.cells) if row.number <= _ROWS_LOOKED_AT else row.cells
            for column, value in row.cells.items():
                if column not in used and column not in self._kept:
                    leaves.setdefault(column, []).extend(leaves_of_value(value, column))
        if 2 * len(broken) > count:
            raise SourceError(f"{path}: {len(broken)} of {counted(count, 'line')} cannot be read; {broken[0]}")
        wanted = self._options.caption_column
        if known and wanted is not None and wanted.partition(".")[0] not in known and wanted not in known:
            raise SourceError(f"{path} has no column {wanted!r}; it has {', '.join(known)}")
        names_images = self._options.file_column in known if self._options.file_column else {*_FILE_COLUMNS} & {*known}
        if known and not names_images:
            raise SourceError(
                f"{path} has a row without {self._options.file_column or _FILE_COLUMNS[0]}; it has {', '.join(known)}; "
                "--file-column says which column names the images"
            )
        for column, found in leaves.items():
            if is_exported(known):  # not Parquet, or to be read plainly: only images and descriptions are used
                self._unused.counts.add(PassedOverKind.OTHER_COLUMN, column)
            else:
                self._unused.column(column, found)

    def _used(self, cells: Mapping[str, Any]) -> dict[str, str]:
        """Return the columns of a row that are read, by their role."""
        captions = (name for name in CAPTION_COLUMNS if name in cells and name not in self._options.ignore)
        caption = self._options.caption_column or next(captions, None)
        file = self._options.file_column or next((name for name in _FILE_COLUMNS if name in cells), None)
        others = [name for name in ("license", SPLIT_COLUMN) if name not in self._options.ignore]
        found = {name: name for name in others}
        found |= {caption if caption in cells else caption.partition(".")[0]: "caption"} if caption else {}
        return found | ({file: "file"} if file else {})

    def _image(self, row: TableRow, file: str) -> ListedImage:
        used = {what: column for column, what in self._used(row.cells).items()}
        where = f"{file} line {row.number}"
        fault = None if row.fault is None else (DropReason.BAD_ROW, f"{where} {row.fault}")
        value = row.cells.get(used.get("file", ""))
        given = value if isinstance(value, list) else [value]
        spelt = (item if isinstance(item, str) else id_of_value(item) for item in given if not isinstance(item, dict))
        names = [name for item in spelt if (name := (item or "").strip())]
        self._missed += _names_in(row.text)
        if len(names) != 1:
            problem = f"{where} names {len(names)} images; a row must name one" if names else f"{where} names no image"
            self._missed += names
            return ListedImage(as_text(where), fault=fault or (DropReason.BAD_ROW, problem))
        folder = file.rpartition("/")[0]
        try:
            found = self._found(names[0], folder)
        except UnusableError as error:
            self._lost.append(names[0])
            self._missed.append(names[0])
            fault = fault or (error.reason, f"{where}: {error.detail}")
            found = FoundFile(_joined(names[0], folder), self._names.folder)
        else:
            if found.name in self._seen:
                fault = (DropReason.DUPLICATE_ID, f"{found.name} was listed before")
            self._seen.add(found.name)
        caption, path = used.get("caption"), (self._options.caption_column or "").split(".")[1:]
        self.has_texts = self.has_texts or caption is not None
        text = list(texts_in(row.cells.get(caption or ""), path if caption != self._options.caption_column else ()))
        description = text if any(item is not None and item != "" for item in text) else None
        changes = found.changes + ((NoticeKind.NAME_FROM_NUMBER,) if not isinstance(given[0], str) else ())
        split = split_of_value(row.cells.get(used.get(SPLIT_COLUMN, "")))
        license_name = first_text(row.cells.get("license"))
        cells = {column: value for column, value in row.cells.items() if column in self._kept}
        return ListedImage(found.name, description, license_name, split, changes, fault, cells=cells)

    def _found(self, name: str, prefix: str) -> FoundFile:
        """Find an image by a name relative to its metadata file, or otherwise relative to the folder."""
        joined = _joined(name, prefix)
        try:
            return self._names.find(joined)
        except UnusableError:
            if joined == name:
                raise
            try:
                found = self._names.find(name)
            except UnusableError:
                found = None
            if found is None:
                raise
            return FoundFile(found.name, found.folder, (*found.changes, NoticeKind.NAME_PREFIX))


def _joined(name: str, prefix: str) -> str:
    """Return a name relative to a folder's metadata file as one relative to the folder above."""
    return name if not prefix or (leads_out(name) and not name.startswith("..")) else f"{prefix}/{name}"


def _names_in(text: str) -> list[str]:
    """Return what looks like the name of an image in a row whose cells cannot be separated."""
    parts = (part.strip() for part in re.split(r"[\",;\t\r\n]", text))
    return [part for part in parts if splitext(part)[1].lower() in IMAGE_SUFFIXES]

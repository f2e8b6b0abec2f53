"""A folder of images, with metadata, with a text file per image, or with neither. Owns the imagefolder convention.

Metadata files (``metadata.jsonl``, ``.csv``, ``.tsv`` or ``.parquet``) may be in any folder; their ``file_name`` column
is relative to their location. Those of ``datasetkit export --to imagefolder`` hold whole records. An image that they do
not list is described by ``NAME.txt`` or ``NAME.jpg.txt`` next to it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import PurePosixPath
from posixpath import basename, splitext
from typing import Any

from datasetkit.core.errors import SourceError, UnusableError
from datasetkit.core.label_map import LabelMap
from datasetkit.core.ledger import PassedOver
from datasetkit.core.paths import Place, files_below, leads_out
from datasetkit.core.protocols import Entry, Reading, Source, SourceContext
from datasetkit.core.text import first_few
from datasetkit.options import FolderOptions
from datasetkit.runtime.threads import map_in_order
from datasetkit.sources.columns import TEXT_HINT, Columns
from datasetkit.sources.files import (
    IMAGE_SUFFIXES,
    NO_CAPTION_COLUMN,
    as_text,
    is_built_folder,
    read_image,
    split_of_folder,
)
from datasetkit.sources.metadata import ListedImage, Metadata
from datasetkit.sources.names import FolderNames
from datasetkit.sources.rows import RowReader
from datasetkit.sources.sidecars import FolderTexts
from datasetkit.sources.tables import table_kind
from datasetkit.sources.unused import Unused

_METADATA = [".jsonl", ".csv", ".tsv", ".parquet"]
_NO_METADATA = (
    "no metadata file, and no text next to an image",
    "--metadata names a table to read, texts are read as NAME.txt next to NAME.jpg, build coco reads COCO's JSON",
)
_READ_AT_ONCE = 16
_RECORD = Columns("image", is_record=True)


class FolderSource(Source):
    """Images below a folder, recursively, with descriptions from metadata files or text files.

    Args:
        options: the folder, and which of its files and columns are read.
        context: limits.
        kept: further columns of metadata files that :meth:`cells` returns.

    Raises:
        SourceError: the folder is missing, has no image or is a built dataset, a metadata file is broken, or the folder
            clearly has texts or masks that no record would get.

    """

    def __init__(
        self, options: FolderOptions, context: SourceContext = SourceContext(), kept: Collection[str] = ()
    ) -> None:
        folder = options.folder
        if not folder.is_dir():
            raise SourceError(f"{folder} is not a folder; give the folder of the images")
        if is_built_folder(folder):
            raise SourceError(f"{folder} is a built dataset; `datasetkit build parquet {folder}` reads its records")
        self._limits = context.limits
        self._reader = RowReader(context)
        self._unused = Unused(str(folder), options.ignore)
        files = [name for name, _ in files_below(folder, self._unused.counts) if not self._unused.ignores(name)]
        self._names = FolderNames(folder, files)
        metadata = [name for name in files if _is_metadata(name, options.metadata)]
        if options.metadata is not None and not metadata:
            raise SourceError(f"{folder} holds no file {options.metadata}; it holds {first_few(files)}")
        images = [name for name in files if splitext(name)[1].lower() in IMAGE_SUFFIXES]
        self._metadata = metadata
        described = Metadata(options, self._names, self._unused, metadata, kept)
        self._exported = described.exported
        listed = {image.name for image in described.images}
        self._images = described.images + [
            ListedImage(name, fault=described.fault_of(name)) for name in images if name not in listed
        ]
        if not self._images:
            held = f"; it holds {first_few(files)}" if files else ""
            endings = ", ".join(sorted(IMAGE_SUFFIXES))
            raise SourceError(f"{folder} holds no image ({endings}) and no metadata file{held}")
        known = {*images, *metadata}
        others = [name for name in files if name not in known]
        of_records = {image.name for image in self._images if image.row is not None}
        without = {image.name for image in self._images if image.description is None} - of_records
        images = [name for name in images if name not in of_records]
        self._texts = FolderTexts(self._names.folder, images, without, others, options.encoding, self._unused)
        no_texts, hint = _NO_METADATA
        if metadata:
            self._unused.where = ", ".join(str(folder / name) for name in metadata)
            no_texts, hint = NO_CAPTION_COLUMN, TEXT_HINT.replace("text", "caption", 1)
        has_texts = described.has_texts or bool(self._texts.names)
        self._unused.check(has_texts=has_texts, no_texts=no_texts, hint=hint)

    def fingerprint(self) -> str:
        """Return a hex digest of every name with its metadata and the bytes of its text file."""
        digest = hashlib.sha256()
        described = list(self._texts.names)
        texts = dict(zip(described, map_in_order(self._texts.digest, described, _READ_AT_ONCE), strict=True))
        for image in self._images:
            facts = [image.name, image.description, image.license, image.split, texts.get(image.name)]
            digest.update(json.dumps(facts, default=str).encode("utf-8", "surrogatepass"))
        for exported in self._exported:
            digest.update(exported.digest().encode())
        return digest.hexdigest()

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._images)

    def entries(self) -> Iterator[Entry]:
        """Yield an entry for each image: those of the metadata files in their order, then all others by name."""
        for image in self._images:
            record_id = image.record_id or as_text(image.name)
            objects = tuple(f"{record_id}/{object_id}" for object_id in image.object_ids)
            yield Entry(record_id, objects, image.split or split_of_folder(image.name), image)

    def passed_over(self) -> Iterator[PassedOver]:
        """Yield the files and columns that are not used."""
        return iter(self._unused.counts)

    def inputs(self, entry: Entry) -> Mapping[str, Place]:
        """Return the path of the image's file, whether it exists or not, and that of its text."""
        image: ListedImage = entry.handle
        names = (image.name, self._texts.names.get(image.name))
        return {name: self._names.folder / name for name in names if name and not leads_out(name)}

    def label_map(self) -> LabelMap:
        """Return the label map of the exported dataset, if the folder is such an export."""
        found = {exported.label_map: None for exported in self._exported}
        return next(iter(found)) if len(found) == 1 else ()

    def index_files(self) -> Mapping[str, Place]:
        """Return the paths of the metadata files."""
        return {name: self._names.folder / name for name in self._metadata}

    def cells(self, entry: Entry) -> Mapping[str, Any]:
        """Return all that is known about an image: its description, the columns that are kept, and the JSON beside it.

        Raises:
            UnusableError: the row, or the text, cannot be used.

        """
        image: ListedImage = entry.handle
        if image.fault is not None:
            raise UnusableError(*image.fault)
        description = self._texts.of(image.name) if image.description is None else image.description
        known = {"description": description, "license": image.license}
        return {**self._texts.values(image.name), **image.cells, **{key: one for key, one in known.items() if one}}

    def read(self, entry: Entry) -> Reading:
        """Load one image.

        Raises:
            UnusableError: the image, or its description, cannot be used.

        """
        image: ListedImage = entry.handle
        if image.fault is not None:
            raise UnusableError(*image.fault)
        data = read_image(self._names.folder / image.name, self._limits, self._names.folder)
        if image.row is not None:
            exported, number = image.row
            return self._reader.read(entry, exported.row(number, data), _RECORD, entry.record_id)
        description = self._texts.of(image.name) if image.description is None else image.description
        name = PurePosixPath(image.name).name
        changes = (*image.changes, *self._texts.changes.get(image.name, ()))
        reading = self._reader.reading(entry, data, name, description, image.license, entry.record_id, changes)
        return replace(reading, hashes={image.name: reading.record.source.sha256})


def _is_metadata(name: str, wanted: str | None) -> bool:
    last = basename(name)
    if wanted is not None:
        return wanted in (name, last) and table_kind(name) is not None
    return table_kind(last) in _METADATA and last.removesuffix(".gz") == f"metadata{table_kind(last)}"

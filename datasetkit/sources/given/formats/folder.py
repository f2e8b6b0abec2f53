"""Folders of images with metadata, or with a text beside each image.

Source: huggingface/datasets, guide "Create an image dataset" (``metadata.jsonl``, ``.csv``, ``.parquet``, with
``objects``); rom1504/img2dataset, ``README.md`` (``KEY.jpg``, ``.txt``, ``.json`` with ``url``); kohya-ss/sd-scripts,
``docs/train_README-en.md`` (``NAME.txt`` or ``NAME.caption``; the number before a folder's name counts repeats).
"""

from __future__ import annotations

from typing import ClassVar

from datasetkit.sources.exported import is_exported
from datasetkit.sources.files import CAPTION_COLUMNS
from datasetkit.sources.given.formats.grit import GritReader
from datasetkit.sources.given.formats.image_masks import MasksReader
from datasetkit.sources.given.look import Look
from datasetkit.sources.given.rows import RowsIn, RowsReader, rows_of
from datasetkit.sources.sidecars import YOLO_ROWS
from datasetkit.sources.tables import table_kind

_METADATA = frozenset({".jsonl", ".csv", ".tsv", ".parquet"})
_TEXTS = (".txt", ".caption")
_LOOKED_AT = 20


class FolderReader(RowsReader):
    """Reads an image per file, with what stands about it in metadata or beside it."""

    summary: ClassVar[str] = "folders of images: metadata with texts or objects, or a text beside each image"

    @staticmethod
    def recognise(look: Look) -> bool:
        """Return whether there are images with metadata, or with texts beside them."""
        if rows_of(look) is not RowsIn.FOLDER or GritReader.recognise(look) or MasksReader.recognise(look):
            return False
        tables = [name for name in look.metadata if table_kind(name) in _METADATA]
        if tables:
            return not any(is_exported(dict.fromkeys(look.at(name).columns)) for name in tables)
        return any(_is_text(look, name) for name in look.beside[:_LOOKED_AT])


def _is_text(look: Look, name: str) -> bool:
    if name.lower().endswith(_TEXTS):
        text = look.at(name).start.decode("utf-8", "replace")
        return bool(text.strip()) and not YOLO_ROWS.fullmatch(text)
    value = look.at(name).value if name.lower().endswith(".json") else None
    return isinstance(value, dict) and bool({*CAPTION_COLUMNS} & value.keys())

"""Parquet rows with an image and whatever belongs to it: texts, ``objects``, ``mask`` or ``masks``.

Source: huggingface/datasets, documentation of the features ``Image``, ``Sequence`` and ``ClassLabel``; cards of
nlphuji/flickr30k and cppe-5.
"""

from __future__ import annotations

from typing import ClassVar

from datasetkit.core.schema import version_of_columns
from datasetkit.sources.columns import is_image_column, only_item
from datasetkit.sources.given.formats.grit import GritReader
from datasetkit.sources.given.formats.pixmo_points import PixmoReader
from datasetkit.sources.given.look import Look
from datasetkit.sources.given.rows import RowsIn, RowsReader, rows_of

_CONVERSATIONS = frozenset({"conversations", "messages", "texts", "question"})


class ParquetReader(RowsReader):
    """Reads a row per image."""

    summary: ClassVar[str] = "Parquet rows with an image, texts, objects, a mask or masks (Hub, flickr30k, cppe-5)"

    @staticmethod
    def recognise(look: Look) -> bool:
        """Return whether a column has images, and none belongs to another format of rows."""
        if rows_of(look) is not RowsIn.PARQUET or look.schema is None:
            return False
        is_other = look.columns & _CONVERSATIONS or GritReader.recognise(look) or PixmoReader.recognise(look)
        has_images = any(is_image_column(only_item(column.type)) for column in look.schema)
        return has_images and not is_other and version_of_columns(look.schema) is None

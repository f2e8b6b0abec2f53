"""What datasetkit wrote: built folders, and exports to Parquet, WebDataset and imagefolder.

Their records are complete, so the sources that restore them are used instead of a reader.
"""

from __future__ import annotations

from typing import ClassVar

from datasetkit.core.protocols import Source, SourceContext
from datasetkit.core.schema import version_of_columns
from datasetkit.options.sources import FolderOptions, FromOptions, ParquetOptions, WebdatasetOptions
from datasetkit.sources.exported import is_exported
from datasetkit.sources.folder import FolderSource
from datasetkit.sources.given.look import Look
from datasetkit.sources.parquet import ParquetSource
from datasetkit.sources.tar_texts import is_record
from datasetkit.sources.webdataset import WebdatasetSource

BUILT = "built"


class BuiltData:
    """Recognises what datasetkit wrote."""

    summary: ClassVar[str] = "datasets and exports of datasetkit, whose records are restored"

    @staticmethod
    def recognise(look: Look) -> bool:
        """Return whether rows or samples are whole records."""
        if look.schema is not None:
            return version_of_columns(look.schema) is not None
        return any(is_record(values) for _, values in look.samples) or _is_folder(look)


def source_of_built(options: FromOptions, context: SourceContext) -> Source:
    """Open the source that restores the records.

    Raises:
        SourceError: the data cannot be read.

    """
    look = Look(options.place, options.encoding)
    if look.schema is not None:
        return ParquetSource(ParquetOptions(files=(options.place,)), context)
    if look.samples:
        return WebdatasetSource(WebdatasetOptions(shards=(options.place,)), context)
    return FolderSource(FolderOptions(folder=options.place), context)


def _is_folder(look: Look) -> bool:
    """Return whether a folder's metadata holds whole records."""
    return any(is_exported(dict.fromkeys(look.at(name).columns)) for name in look.named("metadata.parquet"))

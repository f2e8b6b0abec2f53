"""WebDataset shards: ``KEY.jpg`` with ``KEY.txt``, or with one or several captions in ``KEY.json``.

Source: webdataset/webdataset, ``README.md``; rom1504/img2dataset, ``README.md``; Karpathy's ``sentences[].raw``.
"""

from __future__ import annotations

from typing import ClassVar

from datasetkit.sources.given.cells import OBJECTS, TEXTS
from datasetkit.sources.given.formats.grit import GritReader
from datasetkit.sources.given.look import Look
from datasetkit.sources.given.rows import RowsIn, RowsReader, rows_of
from datasetkit.sources.tar_texts import is_record

_ENDINGS = frozenset({".txt", ".caption"})


class WebdatasetReader(RowsReader):
    """Reads a sample per image."""

    summary: ClassVar[str] = "WebDataset shards: KEY.jpg with KEY.txt, or captions in KEY.json"

    @staticmethod
    def recognise(look: Look) -> bool:
        """Return whether the first samples of a tar have texts or objects."""
        if rows_of(look) is not RowsIn.TAR or GritReader.recognise(look):
            return False
        return any(
            (endings & _ENDINGS or {"", *TEXTS, *OBJECTS} & values.keys()) and not is_record(values)
            for endings, values in look.samples
        )

"""GRIT: image-text pairs whose noun chunks and referring expressions a model linked to boxes.

Source: microsoft/unilm, ``kosmos-2/README.md``; zzliang/GRIT, dataset card. ``noun_chunks`` and ``ref_exps`` are lists
of [start, end, x1, y1, x2, y2, score]: characters of the caption, the end exclusive, and shares of the image's sides. A
span comes once for each of its boxes. ``ref_exps`` are longer spans of the same boxes. Shares fit any size of the
image, but not one that was padded, as img2dataset does by default; images of another ratio are refused.
"""

from __future__ import annotations

from typing import Any, ClassVar

from datasetkit.core.given import GivenImage, GivenObject, GivenPhrase, GivenText
from datasetkit.core.record import Linker, Maker, Scores
from datasetkit.sources.coco_values import whole
from datasetkit.sources.given.collected import Collected, corners
from datasetkit.sources.given.look import Look
from datasetkit.sources.given.rows import GivenRow, RowsIn, RowsReader, given_image, rows_of

_LISTS = ("noun_chunks", "ref_exps")
_SIZES = (("original_width", "original_height"), ("width", "height"))


class GritReader(RowsReader):
    """Reads a caption per image, with machine-made boxes."""

    summary: ClassVar[str] = "GRIT: shards, Parquet rows or files of img2dataset with noun_chunks and ref_exps"
    wanted: ClassVar[frozenset[str]] = frozenset({*_LISTS, *_SIZES[0], *_SIZES[1], "id", "key"})

    @staticmethod
    def recognise(look: Look) -> bool:
        """Return whether the columns, or the keys of JSON members or files, have noun chunks."""
        place = rows_of(look)
        if place is not RowsIn.FOLDER:
            values = (values for _, values in look.samples) if place is RowsIn.TAR else (look.columns,)
            return any(_LISTS[0] in one for one in values)
        files = [name for name in look.beside if name.endswith(".json")][:1]
        return any(isinstance(line, dict) and _LISTS[0] in line for line in (look.at(name).value for name in files))

    def given(self, row: GivenRow) -> GivenImage:
        """Return the caption, the boxes, and the spans that name them."""
        objects = Collected()
        phrases: dict[tuple[int, int], list[str]] = {}
        for name in _LISTS:
            for start, end, left, top, right, bottom, score in row.cells.get(name) or ():
                item = GivenObject(
                    "",
                    box_xywh=corners(left, top, right, bottom),
                    scores=Scores(detection=float(score)),
                    maker=Maker.MODEL,
                )
                phrases.setdefault((int(start), int(end)), []).append(objects.add(item))
        links = tuple(GivenPhrase(tuple(dict.fromkeys(keys)), *span) for span, keys in phrases.items())
        return given_image(
            row,
            names=row.names or _names(row.cells),
            size_wh=_size(row.cells),
            are_shares=True,
            texts=(GivenText(row.cells["caption"], phrases=links),),
            objects=objects.found,
            links=Linker.MODEL,
        )


def _size(cells: Any) -> tuple[int | None, int | None]:
    """Return the size before img2dataset resized the image."""
    for width, height in _SIZES:
        if cells.get(width) and cells.get(height):
            return whole(cells[width]), whole(cells[height])
    return None, None


def _names(cells: Any) -> tuple[str, ...]:
    """Return the names that an image file may have beside rows without images: its key, and its id."""
    keys = [cells.get("key"), cells.get("id")]
    return tuple(f"{key}.jpg" for key in keys if key is not None)

"""PixMo-Points: a label per row, and the points of all that it names, pointed at by people.

Source: allenai/pixmo-points, dataset card. Points are px of the original image. ``count`` 0 states that it was looked
for and is not there. The rows have an address and the SHA-256 of the image's file instead of the image, by which local
files are found; some copies have a column of images.
"""

from __future__ import annotations

from typing import ClassVar

from datasetkit.core.given import GivenImage, GivenObject, GivenPhrase, GivenText, NoLink
from datasetkit.core.record import Linker
from datasetkit.sources.coco_values import whole
from datasetkit.sources.given.look import Look
from datasetkit.sources.given.rows import GivenRow, RowsIn, RowsReader, given_image, rows_of
from datasetkit.sources.rows import first_text

_NEEDED = frozenset({"points", "count", "label"})


class PixmoReader(RowsReader):
    """Reads a label with its points per row."""

    summary: ClassVar[str] = "PixMo-Points rows: image or image_sha256, points, count, label"
    wanted: ClassVar[frozenset[str]] = _NEEDED | {"image_url", "image_sha256", "collection_method"}

    @staticmethod
    def recognise(look: Look) -> bool:
        """Return whether the columns are points with their count and label."""
        return look.columns >= _NEEDED and rows_of(look) is RowsIn.PARQUET

    def given(self, row: GivenRow) -> GivenImage:
        """Return the label as the text and its only phrase."""
        label, points = row.cells["label"], row.cells["points"] or ()
        objects = tuple(
            GivenObject(str(number), points_xy=((float(point["x"]), float(point["y"])),))
            for number, point in enumerate(points)
        )
        is_absent = not objects and whole(row.cells["count"]) == 0
        reason = None if objects else NoLink.CHECKED_ABSENT if is_absent else NoLink.NO_BOX
        phrase = GivenPhrase(tuple(item.key for item in objects), 0, len(label), reason=reason)
        sha256 = first_text(row.cells.get("image_sha256"))
        return given_image(
            row,
            id=sha256 or row.id,
            entry=row.id,
            uri=first_text(row.cells.get("image_url")) or row.uri,
            texts=(GivenText(label, phrases=(phrase,)),),
            objects=objects,
            links=Linker.HUMAN,
            sha256=sha256,
        )

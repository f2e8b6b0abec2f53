"""COCO: instances with masks, or captions. The source of COCO files reads them, exports of datasetkit included.

Source: cocodataset.org, format-data. CVAT's COCO export is read as well; see ``crowds`` of that source.
"""

from __future__ import annotations

from typing import ClassVar

from datasetkit.core.protocols import Source, SourceContext
from datasetkit.options.sources import CocoOptions, FromOptions
from datasetkit.sources.coco import CocoSource
from datasetkit.sources.given.coco_layout import own_annotation
from datasetkit.sources.given.look import Look, folder_of

COCO = "coco"


class CocoData:
    """Recognises COCO's instances and captions."""

    summary: ClassVar[str] = "COCO JSON: instances with masks, or captions (more by --captions)"

    @staticmethod
    def recognise(look: Look) -> bool:
        """Return whether there are images, and annotations with masks or captions."""
        found = own_annotation(look)
        return found is not None and bool(found.get("segmentation") or "caption" in found)


def source_of_coco(options: FromOptions, context: SourceContext) -> Source:
    """Open the source of COCO files.

    Raises:
        SourceError: the data cannot be read.

    """
    place, captions = options.place, options.captions
    annotation = Look(place, options.encoding).first.get("annotations")
    if captions is None and isinstance(annotation, dict) and "caption" in annotation:
        files = {"captions": place}
    else:
        files = {"instances": place} if captions is None else {"instances": place, "captions": captions}
    images = options.images or folder_of(place)
    shared = {"images": images, "caption": options.caption, "encoding": options.encoding}
    return CocoSource(CocoOptions.checked({**files, **shared}), context)

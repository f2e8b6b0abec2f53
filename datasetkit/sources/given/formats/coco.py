"""COCO: instances with masks, or captions. The source of COCO files reads them, exports of datasetkit included.

Source: cocodataset.org, format-data. CVAT's COCO export is read as well; see ``crowds`` of that source.
"""

from __future__ import annotations

from typing import ClassVar

from datasetkit.core.protocols import Source, SourceContext
from datasetkit.options.sources import CocoOptions, FromOptions
from datasetkit.sources.coco import CocoSource
from datasetkit.sources.given.look import Look, folder_of

COCO = "coco"
# Keys of images and annotations in COCO's layout that other formats add.
_OTHERS_IMAGE = frozenset({"caption", "sentences", "neg_category_ids", "not_exhaustive_category_ids"})
_OTHERS_ANNOTATION = frozenset({"tokens_positive", "segments_info", "predicted_iou"})


class CocoData:
    """Recognises COCO's instances and captions."""

    summary: ClassVar[str] = "COCO JSON: instances with masks, or captions (more by --captions)"

    @staticmethod
    def recognise(look: Look) -> bool:
        """Return whether there are images, and annotations with masks or captions."""
        image, annotation = look.first.get("images"), look.first.get("annotations")
        if not isinstance(image, dict) or not isinstance(annotation, dict):
            return False
        is_other = bool(_OTHERS_IMAGE & image.keys() or _OTHERS_ANNOTATION & annotation.keys())
        return not is_other and bool(annotation.get("segmentation") or "caption" in annotation)


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

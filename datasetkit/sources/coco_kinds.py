"""Files of other formats that were passed as COCO files. Owns how they are recognised and the advice about them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from datasetkit.core.errors import SourceError
from datasetkit.core.paths import Place

_OWN_CAPTIONS = "`build coco` reads captions only from a COCO captions file"
_WRITE_THEM = "write its captions to such a file, and skip the rest with --ignore caption --ignore tokens_positive"
# List, keys of its first element, what the file is, what to do. The list "" is a file that is itself a list.
_KINDS: tuple[tuple[str, frozenset[str], str, str], ...] = (
    (
        "annotations",
        frozenset({"segments_info"}),
        "COCO panoptic, whose segments are in PNG files that `build coco` does not read",
        "convert it to instances, as panopticapi's panoptic2detection_coco_format.py does",
    ),
    (
        "annotations",
        frozenset({"tokens_positive"}),
        f"MDETR (or GoldG) data, with phrase links in tokens_positive; {_OWN_CAPTIONS}",
        _WRITE_THEM,
    ),
    (
        "images",
        frozenset({"sentences"}),
        f"Karpathy's caption splits (captions in the images' sentences); {_OWN_CAPTIONS}",
        "write them to such a file, or use COCO's captions, and skip these with --ignore sentences",
    ),
    (
        "images",
        frozenset({"caption"}),
        f"MDETR (or GoldG) data, with captions in the images; {_OWN_CAPTIONS}",
        _WRITE_THEM,
    ),
    (
        "",
        frozenset({"groundings"}),
        "GranD-f data (a list with captions and groundings), which `build coco` does not read",
        "write its rle_masks as COCO instances and its captions as COCO captions",
    ),
    (
        "",
        frozenset({"image_id", "caption"}),
        "a list of captions without images, as models write their results",
        'wrap it as {"images": [...], "annotations": [...]}',
    ),
    (
        "",
        frozenset({"image_id", "category_id"}),
        "a list of detections without images and categories, as models write their results",
        'wrap it as {"images": [...], "annotations": [...], "categories": [...]}',
    ),
    (
        "",
        frozenset(),
        "a list; COCO is an object with images and annotations",
        "give a COCO instances or captions file",
    ),
)
CHECKED_LISTS = frozenset(kind for kind, *_ in _KINDS)


def check_kind(path: Place, key: str, element: Any, ignore: Collection[str]) -> None:
    """Refuse a file of another format, recognised by the first element of one of its lists.

    Args:
        path: the file.
        key: the list.
        element: its first element.
        ignore: keys of elements that are skipped on purpose.

    Raises:
        SourceError: the file has a known other format.

    """
    keys = element.keys() - frozenset(ignore) if isinstance(element, Mapping) else frozenset()
    for of_list, needed, what, advice in _KINDS:
        if key == of_list and needed <= keys:
            raise SourceError(f"{path} is {what}; {advice}")


def check_lists(path: Place, lists: Mapping[str, bool]) -> None:
    """Refuse a file without COCO's lists.

    Args:
        path: the file.
        lists: its keys at the top level, and whether each holds a list.

    Raises:
        SourceError: it has neither images nor annotations, or one of them is not a list.

    """
    for key in ("images", "annotations"):
        if lists.get(key) is False:
            raise SourceError(f"{path} has {key} that are not a list; COCO requires a list")
    if not lists.keys() & {"images", "annotations"}:
        raise SourceError(f"{path} has neither images nor annotations; {_held(lists)}")


def _held(keys: Collection[str]) -> str:
    return f"it has {', '.join(map(repr, list(keys)[:5]))}" if keys else "it is empty"

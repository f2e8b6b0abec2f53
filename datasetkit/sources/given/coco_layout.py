"""Objects and captions in COCO's layout, which several formats share. Owns how one annotation becomes an object."""

from __future__ import annotations

from datasetkit.core.errors import SourceError
from datasetkit.core.given import GivenObject, GivenText
from datasetkit.core.label_map import Category, LabelMap
from datasetkit.core.paths import Place
from datasetkit.core.record import Maker, Scores
from datasetkit.sources.coco_values import identity, is_crowd, read_box, spelled, whole
from datasetkit.sources.columns import license_identifier
from datasetkit.sources.given.indexed import CocoLists, Json
from datasetkit.sources.given.look import Look

# Keys that other formats in COCO's layout add.
_OF_OTHERS = {
    "images": frozenset({"caption", "sentences", "neg_category_ids", "not_exhaustive_category_ids"}),
    "annotations": frozenset({"tokens_positive", "segments_info", "predicted_iou"}),
}


def own_annotation(look: Look) -> Json | None:
    """Return the first annotation of a COCO file; None without one, and for a format that adds keys of its own."""
    first = {key: look.first.get(key) for key in _OF_OTHERS}
    is_own = all(isinstance(one, dict) and not _OF_OTHERS[key] & one.keys() for key, one in first.items())
    return first["annotations"] if is_own else None


class Captions:
    """The captions of COCO captions files, by the ids of images.

    Args:
        path: the file, or a folder of such files; None without captions.
        encoding: of the files; None for UTF-8.

    Attributes:
        indexes: the files.

    Raises:
        SourceError: it is not such a file, or there is none in the folder.

    """

    def __init__(self, path: Place | None, encoding: str | None = None) -> None:
        paths = [] if path is None else [look.place for look in Look(path, encoding).files() if _has_captions(look)]
        self.indexes = [CocoLists(one, encoding) for one in paths]
        if path is not None and not paths:
            raise SourceError(f"{path} has no captions; give a COCO captions file, or a folder of them, as --captions")

    def of(self, image_id: object) -> tuple[GivenText, ...]:
        """Return the captions of an image; what is no text is left out."""
        numbers = [(lists, lists.number(image_id)) for lists in self.indexes]
        found = [one for lists, number in numbers if number is not None for one in lists.annotations(number)]
        return tuple(
            GivenText(one["caption"], spelled(one.get("id"))) for one in found if isinstance(one.get("caption"), str)
        )


def _has_captions(look: Look) -> bool:
    annotation = look.first.get("annotations")
    return isinstance(annotation, dict) and "caption" in annotation


def id_of(entry: Json) -> str:
    """Return the id of an image.

    Raises:
        ValueError: it has none.

    """
    found = spelled(entry["id"])
    if found is None:
        raise ValueError("the image has no id")
    return found


def size_of(entry: Json) -> tuple[int | None, int | None]:
    """Return width and height of an image, px; a side that is not stated is None."""
    return whole(entry.get("width")), whole(entry.get("height"))


def object_of(annotation: Json, category: str | None) -> GivenObject:
    """Return an annotation as an object of a category; one with a score was found by a model."""
    number, score = spelled(annotation["id"]) or "", annotation.get("score")
    return GivenObject(
        number,
        category,
        read_box(annotation.get("bbox")),
        annotation.get("segmentation") or None,
        is_crowd=is_crowd(annotation.get("iscrowd")),
        scores=Scores(detection=score),
        maker=Maker.HUMAN if score is None else Maker.MODEL,
        source_id=number,
    )


def category_name(lists: CocoLists, category_id: object) -> str | None:
    """Return the name of a category; None if it has none."""
    found = lists.categories.get(identity(category_id), {}).get("name")
    return found if isinstance(found, str) and found.strip() else None


def license_of(lists: CocoLists, license_id: object) -> str | None:
    """Return the license with an id, by its identifier on the Hub or its name; None if there is none."""
    found = lists.licenses.get(identity(license_id))
    return license_identifier(found) if found else None


def label_map_of(lists: CocoLists) -> LabelMap:
    """Return the categories of a file that have an id and a name."""
    found = ((one.get("id"), one.get("name"), one.get("supercategory")) for one in lists.categories.values())
    return tuple(Category(number, name, above) for number, name, above in found if number is not None and name)

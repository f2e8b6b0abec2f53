"""Objects and captions in COCO's layout, which several formats share. Owns how one annotation becomes an object."""

from __future__ import annotations

from datasetkit.core.errors import SourceError
from datasetkit.core.given import GivenObject, GivenText
from datasetkit.core.label_map import Category, LabelMap
from datasetkit.core.paths import Place
from datasetkit.sources.coco_values import identity, is_crowd, read_box, spelled
from datasetkit.sources.columns import license_identifier
from datasetkit.sources.given.indexed import CocoLists, Json
from datasetkit.sources.given.look import Look


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


def object_of(annotation: Json, category: str | None) -> GivenObject:
    """Return an annotation with a segmentation as an object of a category."""
    number = spelled(annotation["id"]) or ""
    return GivenObject(
        number,
        category,
        read_box(annotation.get("bbox")),
        annotation.get("segmentation") or None,
        is_crowd=is_crowd(annotation.get("iscrowd")),
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

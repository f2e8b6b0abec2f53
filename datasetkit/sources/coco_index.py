"""COCO's two annotation files, indexed. Owns to which image each annotation belongs, and where it is in the file."""

from __future__ import annotations

import logging
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from datasetkit.core.errors import SourceError
from datasetkit.core.label_map import Category
from datasetkit.core.ledger import Drop, DropReason, PassedOver, PassedOverCounts, PassedOverKind
from datasetkit.core.paths import Place
from datasetkit.sources.coco_kinds import CHECKED_LISTS, check_kind, check_lists
from datasetkit.sources.coco_records import is_own_annotation, is_own_caption, own_keys
from datasetkit.sources.coco_values import identity, is_crowd, spelled
from datasetkit.sources.columns import license_identifier
from datasetkit.sources.json_index import JsonFile, Postings

logger = logging.getLogger(__name__)

_LONGEST_QUOTE = 60
UNCAPTIONED = "uncaptioned"  # list of datasetkit's export with the records that have no description
# Keys of COCO's elements that are used, or ignored without a notice.
_READ_KEYS: dict[str, frozenset[str]] = {
    "images": frozenset(
        [
            "id",
            "file_name",
            "height",
            "width",
            "license",
            "flickr_url",
            "coco_url",
            "date_captured",
            "neg_category_ids",
            "not_exhaustive_category_ids",
        ]
    ),
    "annotations": frozenset(
        ["id", "image_id", "category_id", "segmentation", "bbox", "area", "iscrowd", "caption", "score"]
    ),
    "categories": frozenset({"id", "name", "supercategory"}),
}
_READ_KEYS[UNCAPTIONED] = _READ_KEYS["annotations"]


@dataclass(slots=True)
class _Element:
    """An element of one of a file's lists."""

    file: JsonFile
    key: str
    number: int
    value: Any
    start: int
    length: int

    def get(self, key: str) -> Any:
        """Return the value of a key; None if the element is not an object or lacks the key."""
        return self.value.get(key) if isinstance(self.value, dict) else None

    @property
    def id(self) -> int | str | None:
        """The value that its id is compared by."""
        return identity(self.get("id"))

    def drop(self, key: str, wanted: str) -> Drop:
        """Return the drop of an element whose value of a key is unusable."""
        name = f"{self.key}[{self.number}]"
        came = f"{key} is {repr(self.get(key))[:_LONGEST_QUOTE]}"
        if not isinstance(self.value, dict):
            came = f"value is {repr(self.value)[:_LONGEST_QUOTE]}"
        return Drop(
            "record" if self.key == "images" else "annotation",
            spelled(self.get("id")) or name,
            DropReason.BAD_ENTRY,
            f"{name} of {self.file.path.name} (byte {self.start}): its {came}; COCO requires {wanted}",
        )


class Annotations:
    """The annotations of one file by image: their ids and offsets."""

    def __init__(self, file: JsonFile | None) -> None:
        self.file = file
        self._found = array("q")
        self._names: dict[int, str] = {}
        self._unnumbered: list[int] = []
        self._largest = 0
        self._postings = Postings()

    def __len__(self) -> int:
        """Return the number of annotations whose image is known."""
        return len(self._postings)

    def add(self, image_key: int, annotation_id: Any, start: int, length: int) -> None:
        """Add an annotation of the image with that key."""
        number = identity(annotation_id)
        if number is None:
            self._unnumbered.append(len(self._found) + 1)
        elif not isinstance(annotation_id, int) or abs(annotation_id) >= 2**63:
            self._names[start] = spelled(annotation_id) or ""
        if isinstance(number, int) and abs(number) < 2**63:
            self._largest = max(self._largest, number)
        else:
            number = 0
        self._found.extend((image_key, number, start, length))

    def assign(self, numbers: Mapping[int, int], images: int) -> Iterator[tuple[int, str]]:
        """Group by image, after the last :meth:`add`; annotations without an id are numbered after the largest id.

        Yields:
            the image key and annotation id of each annotation whose image is unknown.

        """
        for number, place in enumerate(self._unnumbered, self._largest + 1):
            self._found[place] = number
        for at in range(0, len(self._found), 4):
            key, annotation_id, start, length = self._found[at : at + 4]
            if key in numbers:
                self._postings.add(numbers[key], annotation_id, start, length)
            else:
                yield key, self._names.get(start) or str(annotation_id)
        self._found = array("q")
        self._postings.group(images)

    def of(self, number: int) -> list[tuple[str, int, int]]:
        """Return id, first byte and length of every annotation of one image."""
        return [(self._names.get(start) or str(key), start, length) for key, start, length in self._postings.of(number)]

    def read(self, start: int, length: int) -> dict[str, Any]:
        """Read an annotation at an offset."""
        return self.file.element(start, length) if self.file else {}


class CocoIndex:
    """Where everything is in the two files: ids and offsets, without pixels and polygons.

    Args:
        instances: the file with masks.
        captions: the file with captions.
        encoding: of both files.
        ignore: keys of elements that are not refused.

    """

    def __init__(
        self, instances: Place | None, captions: Place | None, encoding: str | None = None, ignore: tuple[str, ...] = ()
    ) -> None:
        self.image_ids: list[str] = []
        self.categories: dict[int | str | None, Category] = {}
        self.licenses: dict[int | str | None, str] = {}
        self.drops: list[Drop] = []
        self.respelled: set[int] = set()
        self.all_crowds = False
        self.has_records = False
        self.files: list[JsonFile] = []
        self._ignore = ignore
        self._has_instances = instances is not None
        # Number of the file, first byte and length of each image's entry; 0, 0, 0 if the other file lacks the image.
        self._images = array("q")
        self._again = array("q")
        self._image_keys = array("q")
        # By the value that ids are compared by: a key, in order of appearance. By key: the number of the image.
        self._keys: dict[int | str, int] = {}
        self._numbers: dict[int, int] = {}
        self._unread: set[str] = set()
        self._named_twice: dict[int | str, tuple[str, str]] = {}
        self.instances = Annotations(self._open(instances, encoding))
        self.captions = Annotations(self._open(captions, encoding))
        files = (self.instances, self.captions)
        for file in files:
            self._scan(file)
        for category_id, (name, other) in self._named_twice.items():
            logger.warning("category %s is both %r and %r: its objects have no category", category_id, name, other)
            del self.categories[category_id]
        ids = list(self._keys)
        for file in files:
            for key, annotation_id in file.assign(self._numbers, len(self.image_ids)):
                detail = f"no image has id {ids[key]}; its entry is missing"
                self.drops.append(Drop("annotation", annotation_id, DropReason.UNKNOWN_IMAGE, detail))
        self.respelled = {self._numbers[key] for key in self.respelled if key in self._numbers}

    def is_duplicate(self, number: int) -> bool:
        """Return whether an earlier image has the same id."""
        return self._numbers[self._image_keys[number]] != number

    def image_entries(self, number: int) -> list[dict[str, Any]]:
        """Read an image's entry, and its entry in the other file if there is one."""
        places = (entries[3 * number : 3 * number + 3] for entries in (self._images, self._again))
        return [self.files[file].element(start, length) for file, start, length in places if length]

    def passed_over(self) -> Iterator[PassedOver]:
        """Yield the keys of elements that are not read."""
        counts = PassedOverCounts()
        for name in sorted(self._unread):
            ignored = name.partition(".")[2] in self._ignore
            counts.add(PassedOverKind.IGNORED if ignored else PassedOverKind.OTHER_COLUMN, name)
        return iter(counts)

    def _open(self, path: Place | None, encoding: str | None) -> JsonFile | None:
        if path is None:
            return None
        self.files.append(JsonFile(path, encoding))
        return self.files[-1]

    def _scan(self, found: Annotations) -> None:
        file = found.file
        if file is None:
            return
        known = frozenset(self._numbers)
        counts: Counter[str] = Counter()
        crowds = 0

        def take(key: str, value: Any, start: int, length: int) -> None:
            nonlocal crowds
            element = _Element(file, key, counts[key], value, start, length)
            counts[key] += 1
            if element.number == 0 and key in CHECKED_LISTS:
                check_kind(file.path, key, value, self._ignore)
            if key in _READ_KEYS and isinstance(value, dict):
                self._note_keys(key, value)
            if key == "images":
                self._take_image(element, known)
            elif key == "annotations" or (key == UNCAPTIONED and found is self.captions):
                crowds += is_crowd(element.get("iscrowd")) and not is_own_annotation(value)
                self._take_annotation(element, found)
            elif key == "categories":
                self._take_category(element)
            elif key == "licenses" and element.id is not None:
                self.licenses[element.id] = license_identifier(value)

        check_lists(file.path, file.scan(take))
        self.all_crowds = self.all_crowds or 0 < crowds == counts["annotations"]

    def _note_keys(self, key: str, value: dict[str, Any]) -> None:
        if value.keys() <= _READ_KEYS[key]:
            return
        self.has_records = self.has_records or is_own_caption(value)
        own = own_keys(key, value, links=self._has_instances)
        self._unread.update(f"{key}.{name}" for name in value.keys() - _READ_KEYS[key] - own)

    def _take_category(self, element: _Element) -> None:
        name, above = element.get("name"), element.get("supercategory")
        if element.id is not None and isinstance(name, str) and name.strip():
            above = _sound(above) if isinstance(above, str) else None
            number = element.get("id")
            number = _sound(number) if isinstance(number, str) else number
            known = self.categories.setdefault(element.id, Category(number, _sound(name), above))
            if known.name != _sound(name):
                self._named_twice[element.id] = (known.name, _sound(name))

    def _take_image(self, element: _Element, known: frozenset[int]) -> None:
        value = element.get("id")
        image_id, name = identity(value), spelled(value)
        if image_id is None or name is None:
            self.drops.append(element.drop("id", "a number or a string"))
            return
        key = self._key(image_id, value)
        place = array("q", (self.files.index(element.file), element.start, element.length))
        if key in known:
            number = 3 * self._numbers[key]
            self._again[number : number + 3] = place
        else:
            self._numbers.setdefault(key, len(self.image_ids))
            self.image_ids.append(name)
            self._image_keys.append(key)
            self._images.extend(place)
            self._again.extend((0, 0, 0))

    def _take_annotation(self, element: _Element, found: Annotations) -> None:
        is_caption = found is self.captions
        if element.number == 0:
            self._check_swapped(element, is_caption)
        value, text = element.get("image_id"), element.get("caption")
        image_id = identity(value)
        if image_id is None:
            self.drops.append(element.drop("image_id", "the id of an image"))
        elif is_caption and text is not None and not isinstance(text, str) and text == text:  # but NaN
            self.drops.append(element.drop("caption", "a string"))
        else:
            key, annotation_id = self._key(image_id, value), element.get("id")
            if isinstance(annotation_id, float) or element.id is None:
                self.respelled.add(key)
            found.add(key, annotation_id, element.start, element.length)

    def _key(self, image_id: int | str, value: object) -> int:
        key = self._keys.setdefault(image_id, len(self._keys))
        if isinstance(value, float):
            self.respelled.add(key)
        return key

    def _check_swapped(self, element: _Element, is_caption: bool) -> None:
        """Refuse a file whose first annotation shows that instances and captions were swapped."""
        wanted, other = ("caption", "segmentation") if is_caption else ("segmentation", "caption")
        if isinstance(element.value, dict) and wanted not in element.value and other in element.value:
            raise SourceError(
                f"{element.file.path}: annotations have a {other} and no {wanted}; are instances and captions swapped?"
            )


def _sound(text: str) -> str:
    """Return a text with a question mark for each lone surrogate, which JSON can encode and UTF-8 cannot."""
    return text.encode("utf-8", "replace").decode("utf-8")

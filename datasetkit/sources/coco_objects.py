"""Objects of COCO's images. Owns the conversion of annotations to objects, and the frame that masks were drawn in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from datasetkit.core.errors import UnusableError
from datasetkit.core.image import LoadedImage
from datasetkit.core.ledger import Drop, Notice, NoticeKind
from datasetkit.core.mask import oriented_box
from datasetkit.core.record import KeyObject, Maker, ObjectProvenance
from datasetkit.core.text import one_line
from datasetkit.sources.coco_index import CocoIndex
from datasetkit.sources.coco_records import UNFIT, Json, is_own_annotation, object_of
from datasetkit.sources.coco_values import identity, is_crowd, read_box, read_shape, whole
from datasetkit.sources.frames import frame_of


@dataclass(frozen=True, slots=True)
class FoundObjects:
    """The objects of one record, their ids by annotation id, and what was dropped or is worth a notice."""

    objects: tuple[KeyObject, ...]
    ids: Mapping[str, int]
    drops: tuple[Drop, ...]
    notices: tuple[Notice, ...]


class ObjectReader:
    """Reads objects.

    Args:
        index: where the annotations are.
        crowds: the value of the option: how annotations with iscrowd are read.
        are_things: whether they are single objects.

    """

    def __init__(self, index: CocoIndex, crowds: str, *, are_things: bool) -> None:
        self._index = index
        self._crowds = crowds
        self._are_things = are_things

    def read(
        self, record_id: str, number: int, image: Json, loaded: LoadedImage, listed: Mapping[str, Json] | None
    ) -> FoundObjects:
        """Read the objects of a record.

        Args:
            record_id: id of the record.
            number: number of the image.
            image: the image's entry.
            loaded: the image's file.
            listed: the record's annotations, in order, with what its caption says about each; None for all.

        Raises:
            UnusableError: the masks are for an image of another size.

        """
        places = self._index.instances.of(number)
        if listed is not None:
            order = {one: place for place, one in enumerate(listed)}
            places = sorted((place for place in places if place[0] in order), key=lambda place: order[place[0]])
        if not places:
            return FoundObjects((), {}, (), ())
        frame, kinds = frame_of((whole(image.get("width")), whole(image.get("height"))), loaded)
        if self._are_things and self._crowds == "auto":
            kinds.append(NoticeKind.ALL_CROWDS)
        notices = [Notice(record_id, kind) for kind in kinds]
        found: list[tuple[str, KeyObject]] = []
        drops: list[Drop] = []
        numbers = _object_ids([place[0] for place in places], listed)
        for (annotation_id, start, length), object_id in zip(places, numbers, strict=True):
            annotation = self._index.instances.read(start, length)
            try:
                item, odd = self._object(annotation, annotation_id, frame.size_hw, frame.turn)
            except UnusableError as error:
                drops.append(Drop("annotation", annotation_id, error.reason, error.detail))
                continue
            item = _as_said(item, annotation, (listed or {}).get(annotation_id, {}), odd)
            for kind, detail in odd.items():
                where = f"annotation {annotation_id}"
                notices.append(Notice(record_id, kind, f"{where}: {detail}" if detail else where))
            found.append((annotation_id, replace(item, id=len(found) if listed is None else object_id)))
        ids = {one: item.id for one, item in reversed(found)}
        return FoundObjects(tuple(item for _, item in found), ids, tuple(drops), tuple(notices))

    def _object(
        self, annotation: Json, annotation_id: str, frame_hw: tuple[int, int], turn: int
    ) -> tuple[KeyObject, dict[NoticeKind, str]]:
        """Read one annotation; return the object and its notices with their details.

        Raises:
            UnusableError: no part of it is inside the image.

        """
        crowd = not self._are_things and is_crowd(annotation.get("iscrowd"))
        mask, around, odd = read_shape(annotation, frame_hw, ignored=crowd and self._crowds == "ignore")
        category = self._index.categories.get(identity(annotation.get("category_id")))
        if category is None:
            odd[NoticeKind.UNKNOWN_CATEGORY] = f"category_id is {one_line(annotation.get('category_id'))[:20]}"
        stated = read_box(annotation.get("bbox"))
        maker = Maker.HUMAN if annotation.get("score") is None else Maker.MODEL
        item = KeyObject(
            id=0,
            mask=mask and mask.oriented(turn),
            category=None if category is None else category.name,
            is_crowd=crowd,
            source_bbox=stated and oriented_box(stated, frame_hw, turn),
            box=around and oriented_box(around, frame_hw, turn),
            provenance=ObjectProvenance(stated and maker, None if mask is None else maker),
            source_id=annotation_id,
        )
        return item, odd


def _as_said(item: KeyObject, annotation: Json, said: Json, odd: dict[NoticeKind, str]) -> KeyObject:
    """Add, as far as it is valid, what an export of datasetkit says about an object in annotation and caption."""
    try:
        if is_own_annotation(annotation):
            item = object_of(item, annotation)
        return object_of(item, said)
    except UNFIT as error:
        odd[NoticeKind.DETAILS_UNUSABLE] = one_line(error)
        return item


def _object_ids(annotation_ids: list[str], listed: Mapping[str, Json] | None) -> list[int]:
    """Return the ids that a caption lists for its objects; invalid or repeated ids are replaced by new numbers."""
    wanted = [(listed or {}).get(one, {}).get("id") for one in annotation_ids]
    taken: set[int] = set()
    free = max([one for one in wanted if type(one) is int and 0 <= one < 2**31 - len(wanted)], default=-1) + 1
    numbers = []
    for one in wanted:
        if type(one) is int and 0 <= one < free and one not in taken:
            number = one
        else:
            number, free = free, free + 1
        taken.add(number)
        numbers.append(number)
    return numbers

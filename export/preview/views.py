"""What a card of the preview page holds. Owns its parts: objects, phrases, questions, records, the card itself."""

from __future__ import annotations

from dataclasses import dataclass

from datasetkit.core.record import KeyObject, ObjectStatus, Phrase, Record
from datasetkit.export.preview.outlines import UNITS_PER_PX


@dataclass(frozen=True, slots=True)
class ObjectView:
    """One object of a card.

    Args:
        key: its number in the card.
        item: the object, as the first record has it.
        name: its category, numbered where the card has several of it.
        status: the strongest in which a description has it: mentioned, candidate, unmentioned.
        is_key: whether it is a key object of some description.
        flag: status in words, with the number of records where they differ ("key in 2 of 5"); blank for unmentioned
            objects.
        salience: lowest and highest of the records; None where it was not measured.
        colour: as CSS spells it.
        path: ``d`` of its outline, or of its box where it has no mask; "" where neither is known.
        share: its part of the image, range [0, 1]; None without a mask.
        label_xy: where a label goes, percent of width and height; only for an ambiguous phrase's candidates.
        scores: what the models said, name and value.

    """

    key: int
    item: KeyObject
    name: str
    status: ObjectStatus
    is_key: bool
    flag: str
    salience: tuple[float, float] | None
    colour: str
    path: str
    share: float | None
    label_xy: tuple[float, float] | None
    scores: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class PhraseView:
    """One phrase as the page shows it.

    Args:
        objects: those that it names or, where it is ambiguous, may name, each with its score as a candidate; only
            objects that are drawn.
        object_count: how many there are in all.
        stripes: CSS gradient of their colours; "" where there are none.

    """

    phrase: Phrase
    objects: tuple[tuple[ObjectView, float | None], ...]
    object_count: int
    stripes: str


@dataclass(frozen=True, slots=True)
class QuestionView:
    """A question's place in its record, and the objects of the card that its answer rests on."""

    place: int
    objects: tuple[ObjectView, ...]


@dataclass(frozen=True, slots=True)
class RecordView:
    """One record of a card.

    Args:
        number: its place on the page, from 1.
        phrases: every phrase, in order of their start.
        pieces: the description in order: plain text, or the number of the phrase at this place.
        is_long: whether the description needs smaller type.

    """

    number: int
    record: Record
    phrases: tuple[PhraseView, ...]
    questions: tuple[QuestionView, ...]
    pieces: tuple[str | int, ...]
    is_long: bool


@dataclass(frozen=True, slots=True)
class CardView:
    """One image with its descriptions.

    Args:
        image: data URI of the image, small.
        size_wh: width and height at which the page shows it at most, px.
        is_pixelated: whether it is so small that its pixels should stay squares.
        records: one for each description.
        objects: the most prominent objects, key ones first, by salience and area.
        object_count: how many objects there are in all.
        key_count: how many of them are key objects of some description.

    """

    image: str
    size_wh: tuple[int, int]
    is_pixelated: bool
    records: tuple[RecordView, ...]
    objects: tuple[ObjectView, ...]
    object_count: int
    key_count: int

    @property
    def masks(self) -> list[ObjectView]:
        """The objects in the order in which their masks are painted: large ones first, so that small ones show."""
        return sorted(self.objects, key=lambda view: (-(view.item.area or 0), view.key))

    @property
    def not_drawn(self) -> int:
        """How many objects are neither drawn nor listed."""
        return self.object_count - len(self.objects)

    @property
    def unmentioned(self) -> int:
        """How many of the objects shown are not named by any description and are hidden at first."""
        return sum(not view.is_key and view.status is not ObjectStatus.CANDIDATE for view in self.objects)

    @property
    def file_name(self) -> str:
        """The last part of the image's path or URI; "" where the image's id ends with it, with or without extension."""
        first = self.records[0].record
        name = first.source.uri.rpartition("/")[2]
        return "" if first.image_id.rpartition("/")[2] in (name, name.rpartition(".")[0]) else name

    @property
    def view_box(self) -> str:
        """The coordinates of the masks' outlines."""
        return f"0 0 {self.size_wh[0] * UNITS_PER_PX} {self.size_wh[1] * UNITS_PER_PX}"

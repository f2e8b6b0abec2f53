"""What the preview page shows of records: one card per image. Owns how records of an image are joined into a card.

Descriptions of one image mostly share its objects. An object that looks the same in several records (mask, category,
scores) is one object of the card; how each description speaks of it is counted.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields

from PIL import Image

from datasetkit.core.drawing import encode_jpeg, object_colour
from datasetkit.core.errors import RecordError
from datasetkit.core.image import published_pixels
from datasetkit.core.record import KeyObject, ObjectStatus, Phrase, Record
from datasetkit.export.preview.outlines import UNITS_PER_PX, inner_point, mask_coverage, svg_path
from datasetkit.export.preview.views import CardView, ObjectView, PhraseView, QuestionView, RecordView

# Outlines of more make the page heavy and show nothing: the most prominent are drawn, the others are counted.
DRAWN_MAX = 150
_IMAGE_MAX_SIDE_PX = 640
_SHOWN_MIN_SIDE_PX = 512
_PIXELATED_BELOW_PX = 96
_JPEG_QUALITY = 76
_LONG_CHARACTERS = 320
_STATUSES = (ObjectStatus.MENTIONED, ObjectStatus.CANDIDATE, ObjectStatus.UNMENTIONED)


@dataclass(slots=True)
class _Gathered:
    """An image, and its records so far with the key of each of their objects in the card, by the object's id."""

    image: str
    size_wh: tuple[int, int]
    records: list[tuple[Record, dict[int, int]]] = field(default_factory=list)
    found: dict[int, list[KeyObject]] = field(default_factory=dict)
    keys: dict[object, list[int]] = field(default_factory=dict)

    def add(self, record: Record) -> None:
        """Take in a record, whose objects become those of the card that look the same, or new ones."""
        own: dict[int, int] = {}
        taken: set[int] = set()
        for item in record.objects:
            looks = (item.mask, item.box, item.category, item.is_crowd, item.scores)
            known = self.keys.setdefault(looks, [])
            key = next((key for key in known if key not in taken), None)
            if key is None:
                key = item.id if item.id not in self.found else max(self.found) + 1
                known.append(key)
            taken.add(key)
            own[item.id] = key
            self.found.setdefault(key, []).append(item)
        self.records.append((record, own))


class PreviewCards:
    """Records gathered by their image. The page shows them all; take a few hundred records at most."""

    def __init__(self) -> None:
        self._gathered: dict[tuple[str, bytes], _Gathered] = {}

    def add(self, record: Record) -> None:
        """Take in a record, into the card of its image if there is one.

        Raises:
            UnusableError: its image cannot be decoded.
            RecordError: its image has another size than the record says.

        """
        place = (record.image_id, hashlib.sha256(record.image.data).digest())
        if (gathered := self._gathered.get(place)) is None:
            gathered = self._gathered[place] = _Gathered(*_shrink(record))
        elif (known := gathered.records[0][0].image.size_hw) != record.image.size_hw:
            raise RecordError(f"the image has {known[1]}x{known[0]} px; another record of it says otherwise")
        gathered.add(record)

    def views(self) -> list[CardView]:
        """Return the cards in the order in which their images came."""
        numbers = itertools.count(1)
        return [_view_card(gathered, numbers) for gathered in self._gathered.values()]


def _shrink(record: Record) -> tuple[str, tuple[int, int]]:
    """Return a record's image as a small data URI, and the width and height at which the page shows it at most."""
    pixels = published_pixels(record.image.data, record.image.name)
    if (pixels.height, pixels.width) != record.image.size_hw:
        raise RecordError(
            f"the image has {pixels.width}x{pixels.height} px; width and height are {record.image.width}x"
            f"{record.image.height}"
        )
    longer = max(pixels.size)
    scale = min(_IMAGE_MAX_SIDE_PX, max(_SHOWN_MIN_SIDE_PX, longer)) / longer
    size_wh = (max(1, round(pixels.width * scale)), max(1, round(pixels.height * scale)))
    small = pixels.resize(size_wh, Image.Resampling.LANCZOS, reducing_gap=2.0) if longer > max(size_wh) else pixels
    return "data:image/jpeg;base64," + base64.b64encode(encode_jpeg(small, _JPEG_QUALITY)).decode("ascii"), size_wh


def _view_card(gathered: _Gathered, numbers: Iterator[int]) -> CardView:
    record = gathered.records[0][0]
    objects = tuple(_view_objects(gathered))
    by_key = {view.key: view for view in objects}
    return CardView(
        image=gathered.image,
        size_wh=gathered.size_wh,
        is_pixelated=max(record.image.size_hw) < _PIXELATED_BELOW_PX,
        records=tuple(_view_record(next(numbers), one, own, by_key) for one, own in gathered.records),
        objects=objects,
        object_count=len(gathered.found),
        key_count=sum(any(item.is_key for item in items) for items in gathered.found.values()),
    )


def _view_objects(gathered: _Gathered) -> Iterator[ObjectView]:
    record = gathered.records[0][0]
    names = _object_names({key: items[0] for key, items in gathered.found.items()})
    candidates = {
        own[candidate.object_id]
        for one, own in gathered.records
        for phrase in one.phrases
        for candidate in phrase.candidates
    }
    pixel_count = record.image.width * record.image.height
    ranked = sorted(gathered.found.items(), key=lambda found: _prominence(*found))
    for key, items in ranked[:DRAWN_MAX]:
        item = items[0]
        path, (x, y) = _outline(item, record.image.size_hw, gathered.size_wh)
        salience = [one.salience for one in items if one.salience is not None]
        yield ObjectView(
            key=key,
            item=item,
            name=names[key],
            status=_status(items),
            is_key=any(one.is_key for one in items),
            flag=_flag(items, len(gathered.records)),
            salience=(min(salience), max(salience)) if salience else None,
            colour="#{:02x}{:02x}{:02x}".format(*object_colour(key)),
            path=path,
            share=None if item.area is None else item.area / pixel_count,
            label_xy=(round(100 * x, 1), round(100 * y, 1)) if path and key in candidates else None,
            scores=tuple(
                (field.name, value)
                for field in fields(item.scores)
                if (value := getattr(item.scores, field.name)) is not None
            ),
        )


def _status(items: Sequence[KeyObject]) -> ObjectStatus:
    return next(status for status in _STATUSES if any(item.status is status for item in items))


def _flag(items: Sequence[KeyObject], records: int) -> str:
    """Name the strongest status, with the number of descriptions where not all have it: ``key in 3 of 5``."""
    status, word = _status(items), "key"
    count = sum(item.is_key for item in items)
    if not count and status is ObjectStatus.UNMENTIONED:
        return ""
    if not count:
        word, count = status.value, sum(item.status is status for item in items)
    return word if count == records else f"{word} in {count} of {records}"


def _outline(item: KeyObject, size_hw: tuple[int, int], size_wh: tuple[int, int]) -> tuple[str, tuple[float, float]]:
    """Return an object's outline on an image shown in another size, and where a label goes, as shares of the sides."""
    if item.mask is not None:
        coverage = mask_coverage(item.mask, size_wh)
        return svg_path(coverage), inner_point(coverage)
    if item.box is None:
        return "", (0.0, 0.0)
    left, top, width, height = item.box
    across, down = UNITS_PER_PX * size_wh[0] / size_hw[1], UNITS_PER_PX * size_wh[1] / size_hw[0]
    corners = (round(left * across), round(top * down), round(width * across), round(height * down))
    path = "M{0} {1}h{2}v{3}h-{2}z".format(*corners)
    return path, ((left + width / 2) / size_hw[1], (top + height / 2) / size_hw[0])


def _prominence(key: int, items: Sequence[KeyObject]) -> tuple[bool, bool, float, int, int]:
    """Sort key: key objects, then candidates, then the rest; by salience, area and number among each."""
    return (
        not any(item.is_key for item in items),
        _status(items) is ObjectStatus.UNMENTIONED,
        -max(item.salience or 0.0 for item in items),
        -(items[0].area or 0),
        key,
    )


def _object_names(objects: Mapping[int, KeyObject]) -> dict[int, str]:
    totals = Counter(item.category for item in objects.values())
    seen: Counter[str | None] = Counter()
    names = {}
    for key, item in objects.items():
        seen[item.category] += 1
        name = item.category or "object"
        names[key] = name if totals[item.category] == 1 else f"{name} {seen[item.category]}"
    return names


def _view_record(number: int, record: Record, own: Mapping[int, int], by_key: Mapping[int, ObjectView]) -> RecordView:
    phrases = tuple(sorted(record.phrases, key=lambda phrase: (phrase.start, -phrase.end)))
    description = record.description or ""
    return RecordView(
        number=number,
        record=record,
        phrases=tuple(_view_phrase(phrase, own, by_key) for phrase in phrases),
        questions=tuple(
            QuestionView(place, tuple(by_key[own[one]] for one in question.object_ids if own[one] in by_key))
            for place, question in enumerate(record.questions)
        ),
        pieces=_split_description(description, phrases),
        is_long=len(description) > _LONG_CHARACTERS,
    )


def _view_phrase(phrase: Phrase, own: Mapping[int, int], by_key: Mapping[int, ObjectView]) -> PhraseView:
    named: list[tuple[int, float | None]] = [(own[object_id], None) for object_id in phrase.object_ids]
    named += [(own[candidate.object_id], candidate.score) for candidate in phrase.candidates]
    shown = tuple((by_key[key], score) for key, score in named if key in by_key)
    return PhraseView(phrase, shown, len(named), _stripes([view.colour for view, _ in shown]))


def _split_description(text: str, phrases: Sequence[Phrase]) -> tuple[str | int, ...]:
    """Cut a text at its phrases, which come in order; one that overlaps an earlier one is left to the list below."""
    pieces: list[str | int] = []
    place = 0
    for index, phrase in enumerate(phrases):
        if phrase.start < place:
            continue
        if phrase.start > place:
            pieces.append(text[place : phrase.start])
        pieces.append(index)
        place = phrase.end
    if place < len(text):
        pieces.append(text[place:])
    return tuple(pieces)


def _stripes(colours: Sequence[str]) -> str:
    """Return a CSS gradient of equally wide stripes with hard edges."""
    if not colours:
        return ""
    stops = [
        f"{colour} {100 * index / len(colours):.3g}% {100 * (index + 1) / len(colours):.3g}%"
        for index, colour in enumerate(colours)
    ]
    return f"linear-gradient(90deg,{','.join(stops)})"

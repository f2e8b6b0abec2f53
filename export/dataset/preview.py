"""The preview page: records as one self-contained HTML file to look at. Owns what the page shows of a record.

The page runs from ``file://`` without a network. Its markup is complete before any script runs; the script only links
phrases with masks and filters. Everything that comes from a record reaches the page through the template's escaping,
and a content security policy admits no script but the page's own.
"""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from importlib import resources
from pathlib import Path

from jinja2 import Template
from markupsafe import Markup
from PIL import Image

from datasetkit.core.drawing import encode_jpeg, object_colour
from datasetkit.core.errors import RecordError
from datasetkit.core.files import replace_file
from datasetkit.core.image import published_pixels
from datasetkit.core.record import KeyObject, ObjectStatus, Phrase, PhraseStatus, Record
from datasetkit.core.templates import template_environment
from datasetkit.export.dataset.outlines import UNITS_PER_PX, inner_point, mask_coverage, svg_path

_IMAGE_MAX_SIDE_PX = 640
_SHOWN_MIN_SIDE_PX = 512
_PIXELATED_BELOW_PX = 96
_JPEG_QUALITY = 76
_LONG_CHARACTERS = 320


@dataclass(frozen=True, slots=True)
class ObjectView:
    """One object as the page shows it.

    Args:
        name: its category, numbered where the record has several of it.
        colour: as CSS spells it.
        path: ``d`` of its outline, or of its box where it has no mask; "" where neither is known.
        share: its part of the image, range [0, 1]; None without a mask.
        label_xy: where a label goes, percent of width and height; only for an ambiguous phrase's candidates.
        scores: what the models said, name and value.

    """

    item: KeyObject
    name: str
    colour: str
    path: str
    share: float | None
    label_xy: tuple[float, float] | None
    scores: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class PhraseView:
    """One phrase as the page shows it.

    Args:
        objects: those that it names or, where it is ambiguous, may name, each with its score as a candidate.
        stripes: CSS gradient of their colours; "" where there are none.

    """

    phrase: Phrase
    objects: tuple[tuple[ObjectView, float | None], ...]
    stripes: str


@dataclass(frozen=True, slots=True)
class RecordView:
    """One record as the page shows it.

    Args:
        image: data URI of the image, small.
        size_wh: width and height at which the page shows it at most, px.
        pixelated: whether it is so small that its pixels should stay squares.
        objects: key ones first, by salience and area.
        phrases: every phrase, in order of their start.
        pieces: the description in order: plain text, or the number of the phrase that stands there.
        is_long: whether the description needs smaller type.

    """

    record: Record
    image: str
    size_wh: tuple[int, int]
    pixelated: bool
    objects: tuple[ObjectView, ...]
    phrases: tuple[PhraseView, ...]
    pieces: tuple[str | int, ...]
    is_long: bool

    @property
    def masks(self) -> list[ObjectView]:
        """The objects in the order in which their masks are painted: large ones first, so that small ones show."""
        return sorted(self.objects, key=lambda view: (-(view.item.area or 0), view.item.id))

    @property
    def unmentioned(self) -> int:
        """How many objects the description does not speak of and are hidden at first."""
        return sum(not view.item.is_key and view.item.status is not ObjectStatus.CANDIDATE for view in self.objects)

    @property
    def view_box(self) -> str:
        """The coordinates of the masks' outlines."""
        return f"0 0 {self.size_wh[0] * UNITS_PER_PX} {self.size_wh[1] * UNITS_PER_PX}"


def write_preview(found: Iterable[RecordView], destination: Path, title: str, total: int | None = None) -> int:
    """Write the preview page of records that :func:`view_record` prepared.

    Equal records give equal bytes. The page holds every record that it is given; take a few hundred at most. A file
    that is there is replaced. Give the ``total`` of the dataset's records where the page shows only some of them.

    Returns:
        how many records the page shows.

    """
    views = list(found)
    statuses = Counter(phrase.status for view in views for phrase in view.record.phrases)
    script = _template("preview.js")
    html = _page().render(
        title=title,
        total=len(views) if total is None else total,
        views=views,
        object_count=sum(len(view.objects) for view in views),
        key_count=sum(len(view.record.key_objects) for view in views),
        statuses=[(status.value, statuses[status]) for status in PhraseStatus],
        style=Markup(_template("preview.css")),  # noqa: S704 - a file of this package
        script=Markup(script),  # noqa: S704 - a file of this package
        script_sha256=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii"),
    )
    destination.parent.mkdir(parents=True, exist_ok=True)
    replace_file(destination, html.encode())
    return len(views)


def view_record(record: Record) -> RecordView:
    """Prepare one record for the page.

    Raises:
        UnusableError: its image cannot be decoded.
        RecordError: its image has another size than the record says.

    """
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
    phrases = tuple(sorted(record.phrases, key=lambda phrase: (phrase.start, -phrase.end)))
    objects = _view_objects(record, size_wh)
    by_id = {view.item.id: view for view in objects}
    return RecordView(
        record=record,
        image="data:image/jpeg;base64," + base64.b64encode(encode_jpeg(small, _JPEG_QUALITY)).decode("ascii"),
        size_wh=size_wh,
        pixelated=longer < _PIXELATED_BELOW_PX,
        objects=objects,
        phrases=tuple(_view_phrase(phrase, by_id) for phrase in phrases),
        pieces=_split_description(record.description or "", phrases),
        is_long=len(record.description or "") > _LONG_CHARACTERS,
    )


def _view_objects(record: Record, size_wh: tuple[int, int]) -> tuple[ObjectView, ...]:
    names = _object_names(record.objects)
    candidates = {candidate.object_id for phrase in record.phrases for candidate in phrase.candidates}
    pixel_count = record.image.width * record.image.height
    views = []
    for item in sorted(record.objects, key=_prominence):
        path, (x, y) = _outline(item, record.image.size_hw, size_wh)
        views.append(
            ObjectView(
                item=item,
                name=names[item.id],
                colour="#{:02x}{:02x}{:02x}".format(*object_colour(item.id)),
                path=path,
                share=None if item.area is None else item.area / pixel_count,
                label_xy=(round(100 * x, 1), round(100 * y, 1)) if path and item.id in candidates else None,
                scores=tuple(
                    (field.name, value)
                    for field in fields(item.scores)
                    if (value := getattr(item.scores, field.name)) is not None
                ),
            )
        )
    return tuple(views)


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


def _prominence(item: KeyObject) -> tuple[bool, bool, float, int, int]:
    """Sort key: key objects, then candidates, then the rest; by salience, area and id among each."""
    return (
        not item.is_key,
        item.status is ObjectStatus.UNMENTIONED,
        -(item.salience or 0.0),
        -(item.area or 0),
        item.id,
    )


def _object_names(objects: Sequence[KeyObject]) -> dict[int, str]:
    totals = Counter(item.category for item in objects)
    seen: Counter[str | None] = Counter()
    names = {}
    for item in objects:
        seen[item.category] += 1
        name = item.category or "object"
        names[item.id] = name if totals[item.category] == 1 else f"{name} {seen[item.category]}"
    return names


def _view_phrase(phrase: Phrase, by_id: Mapping[int, ObjectView]) -> PhraseView:
    named: list[tuple[ObjectView, float | None]] = [(by_id[object_id], None) for object_id in phrase.object_ids]
    named += [(by_id[candidate.object_id], candidate.score) for candidate in phrase.candidates]
    return PhraseView(phrase, tuple(named), _stripes([view.colour for view, _ in named]))


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
    """Give a CSS gradient of equally wide stripes with hard edges."""
    if not colours:
        return ""
    stops = [
        f"{colour} {100 * index / len(colours):.3g}% {100 * (index + 1) / len(colours):.3g}%"
        for index, colour in enumerate(colours)
    ]
    return f"linear-gradient(90deg,{','.join(stops)})"


def _percent(share: float) -> str:
    if share < 0.001:
        return "< 0.1 %"
    return f"{100 * share:.1f} %" if share < 0.1 else f"{100 * share:.0f} %"


@cache
def _page() -> Template:
    environment = template_environment(html=True)
    environment.filters |= {"words": lambda constant: constant.replace("_", " "), "percent": _percent}
    return environment.from_string(_template("preview.html.j2"))


def _template(name: str) -> str:
    return resources.files("datasetkit.export.cards").joinpath(name).read_text(encoding="utf-8")

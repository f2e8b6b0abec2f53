"""The preview page: records as one self-contained HTML file to look at. Owns how it is written and its opening lines.

The page runs from ``file://`` without a network. Its markup is complete before any script runs; the script only links
phrases with masks and filters. Everything that comes from a record reaches the page through the template's escaping,
and a content security policy admits no script but the page's own.
"""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Template
from markupsafe import Markup

from datasetkit.core.files import replace_file
from datasetkit.core.record import Linker, Maker, PhraseStatus, Record
from datasetkit.core.templates import template_environment
from datasetkit.core.text import counted
from datasetkit.export.card.quality import BY_WORDS
from datasetkit.export.preview.cards import PreviewCards
from datasetkit.export.preview.views import CardView

_NAMED_MAX = 24
_MEANINGS = {
    PhraseStatus.MATCHED: "the objects that it names are known",
    PhraseStatus.AMBIGUOUS: "it may name any of its candidates; the words do not say for sure",
    PhraseStatus.ABSENT: "it names something that has no mask in this record",
    PhraseStatus.NOT_AN_OBJECT: 'it names nothing that could have a mask, such as "the top" or "a view"',
}
_OTHERS = {
    PhraseStatus.AMBIGUOUS: "ambiguous",
    PhraseStatus.ABSENT: "without an object that has a mask",
    PhraseStatus.NOT_AN_OBJECT: "not about an object",
}
_MAKERS = {
    Maker.HUMAN: "those that came with the images",
    Maker.MODEL: "made by models and checked by nobody",
    Maker.REVIEWED: "reviewed by people",
    None: "as the source has them",
}
_LINKERS = {
    Linker.HUMAN: "made by people",
    Linker.WORDS: "found by words and categories, without looking at the image",
    Linker.IMAGE: "chosen by comparing image and text",
    Linker.MODEL: "made by a detector, whose scores say how sure it was, not how often it is right",
    Linker.REVIEWED: "reviewed by people",
    None: "as the source has them",
}


def write_preview(gathered: PreviewCards, destination: Path, title: str, total: int | None = None) -> int:
    """Write the preview page of the records that were gathered, one card per image.

    Equal records give equal bytes. A file that is there is replaced. Pass the ``total`` of the dataset's records where
    the page shows only some of them.

    Returns:
        how many records the page shows.

    """
    cards = gathered.views()
    records = [view.record for card in cards for view in card.records]
    statuses = Counter(phrase.status for record in records for phrase in record.phrases)
    script = _template("preview.js")
    html = _page().render(
        named_max=_NAMED_MAX,
        title=title,
        cards=cards,
        found=_found(cards, records, statuses),
        masks="key" if any(card.key_count for card in cards) else "all",
        extent=_extent(cards, records, len(records) if total is None else total),
        sure=list(_sure(records)),
        statuses=[(status.value, statuses[status], _MEANINGS[status]) for status in PhraseStatus],
        style=Markup(_template("preview.css")),  # noqa: S704 - a file of this package
        script=Markup(script),  # noqa: S704 - a file of this package
        script_sha256=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii"),
    )
    destination.parent.mkdir(parents=True, exist_ok=True)
    replace_file(destination, html.encode())
    return len(records)


def _found(cards: Sequence[CardView], records: Sequence[Record], statuses: Counter[PhraseStatus]) -> str:
    """Summarize the phrases by status; without phrases, count objects and descriptions."""
    if not (total := statuses.total()):
        objects = sum(card.object_count for card in cards)
        described = sum(record.description is not None for record in records)
        return f"No phrases: {counted(objects, 'object')} and {counted(described, 'description')}, not linked."
    matched = statuses[PhraseStatus.MATCHED]
    others = ", ".join(f"{statuses[status]:,} {word}" for status, word in _OTHERS.items() if statuses[status])
    return (
        f"{matched:,} of {counted(total, 'phrase')} ({_percent(matched / total)}) matched with objects"
        f"{'; ' if others else ''}{others}."
    )


def _extent(cards: Sequence[CardView], records: Sequence[Record], total: int) -> str:
    """Count what the page shows, and the records of the dataset if the page shows only some."""
    shown = f"{len(records):,} of {counted(total, 'record')}" if total > len(records) else counted(total, "record")
    return ", ".join(
        [
            shown,
            counted(len(cards), "image"),
            counted(sum(card.object_count for card in cards), "object"),
            counted(sum(card.key_count for card in cards), "key object"),
        ]
    )


def _sure(records: Sequence[Record]) -> Iterator[str]:
    """Yield who made the masks and links and, where it was measured, how often such links are right."""
    masks = Counter(item.provenance.mask for record in records for item in record.objects if item.mask is not None)
    links = Counter(
        phrase.provenance
        for record in records
        for phrase in record.phrases
        if phrase.status in (PhraseStatus.MATCHED, PhraseStatus.AMBIGUOUS)
    )
    if masks:
        yield f"Masks are {_shares(masks, _MAKERS)}."
    if links:
        yield f"Links are {_shares(links, _LINKERS)}."
    if links[Linker.WORDS]:
        low, high = BY_WORDS.precision_95
        yield (
            f"On {BY_WORDS.captions} COCO captions labelled by hand, {BY_WORDS.right} of {BY_WORDS.predicted} links by "
            f"words were right: {_percent(BY_WORDS.precision)} (95 % interval {_percent(low)} to {_percent(high)})."
        )
    if missing := [f"no {name}" for name, some in (("masks", masks), ("links", links)) if not some]:
        yield f"There are {' and '.join(missing)}."


def _shares(counts: Counter[Any], words: Mapping[Any, str]) -> str:
    """Write who made what; with more than one maker, each with its share."""
    total = counts.total()
    if len(counts) == 1:
        return words[next(iter(counts))]
    return "; ".join(f"{100 * count / total:.0f} % {words[who]}" for who, count in counts.most_common())


def _percent(share: float) -> str:
    if 0 < share < 0.001:
        return "< 0.1 %"
    return f"{100 * share:.1f} %" if 0 < share < 0.1 else f"{100 * share:.0f} %"


@cache
def _page() -> Template:
    environment = template_environment(html=True)
    environment.filters |= {"words": lambda constant: constant.replace("_", " "), "percent": _percent}
    return environment.from_string(_template("preview.html.j2"))


def _template(name: str) -> str:
    return resources.files("datasetkit.export.cards").joinpath(name).read_text(encoding="utf-8")

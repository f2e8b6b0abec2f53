"""A dry run of a build: its first entries, without models and without output. Owns what is shown of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from datasetkit.core.errors import UnusableError
from datasetkit.core.ledger import Drop
from datasetkit.core.record import KeyObject, Phrase, Record
from datasetkit.core.results import Result
from datasetkit.core.schema import record_to_row
from datasetkit.core.text import counted, one_line
from datasetkit.options.recipe import Recipe
from datasetkit.pipeline.finishing import Words
from datasetkit.pipeline.opening import open_source

ENTRIES = 100
_MOST_SHOWN = 20
_LONGEST_LINE = 300


@dataclass(frozen=True, slots=True)
class DryRun(Result):
    """What the first entries of a source become.

    Args:
        source: name of the source.
        entries: number of all entries.
        read: number of entries that were read.
        drops: what was dropped of these, and why.
        record: the record with most links among those that were read; None if none was kept.

    """

    source: str
    entries: int
    read: int
    drops: tuple[Drop, ...]
    record: Record | None

    def report(self) -> Iterator[str]:
        """Yield the counts, the reasons of drops, and the record."""
        dropped = sum(drop.scope == "record" for drop in self.drops)
        yield f"read         {self.read:,} of {self.entries:,} entries, kept {self.read - dropped:,}"
        for (scope, reason), count in Counter((drop.scope, drop.reason) for drop in self.drops).most_common():
            first = next(drop for drop in self.drops if (drop.scope, drop.reason) == (scope, reason))
            example = f"{first.item_id} ({one_line(first.detail)})"
            yield f"dropped      {counted(count, scope)}: {reason}, such as {example}"
        if self.record is not None:
            yield from _lines(self.record)
        yield "wrote        nothing; leave out --dry-run to build"

    def as_json(self) -> dict[str, Any]:
        """Return the counts, the drops, and the record as a row, with the name of its image in place of the image."""
        from pydantic_core import to_jsonable_python

        shown = None if self.record is None else {**record_to_row(self.record), "image": self.record.image.name}
        return {
            "source": self.source,
            "entries": self.entries,
            "read": self.read,
            "drops": to_jsonable_python(self.drops),
            "record": to_jsonable_python(shown),
        }


def try_recipe(recipe: Recipe) -> DryRun:
    """Read the first entries of a recipe's source, without its models.

    Raises:
        SourceError: the source cannot be read at all.

    """
    opened = open_source(recipe)
    words = Words(opened.aligner, recipe.key_max)
    drops: list[Drop] = []
    best: Record | None = None
    read = 0
    for entry in islice(opened.source.entries(), min(ENTRIES, recipe.limit or ENTRIES)):
        read += 1
        try:
            reading = opened.source.read(entry)
        except UnusableError as error:
            drops.append(Drop("record", entry.record_id, error.reason, error.detail))
            continue
        drops += reading.drops
        record = words(reading)
        if best is None or _links(record) > _links(best):
            best = record
    return DryRun(recipe.source.name, len(opened.source), read, tuple(drops), best)


def _links(record: Record) -> tuple[int, int]:
    return sum(bool(phrase.object_ids) for phrase in record.phrases), len(record.objects)


def _lines(record: Record) -> Iterator[str]:
    image = record.image
    size, license_name = f"{image.width}x{image.height} px", record.source.license
    yield f"record       {record.record_id}: {image.name}, {size}, license {license_name}"
    yield f"description  {one_line(record.description or 'none')[:_LONGEST_LINE]}"
    for item in record.objects[:_MOST_SHOWN]:
        yield f"object       {_object_line(item)}"
    for phrase in record.phrases[:_MOST_SHOWN]:
        yield f"phrase       {_phrase_line(phrase)}"
    for question in record.questions[:_MOST_SHOWN]:
        yield f"question     {one_line(question.question)} {one_line(question.answer)}"
    for name, categories in (("absent", record.absent_categories), ("partial", record.partial_categories)):
        if categories:
            yield f"{name:13}{', '.join(categories[:_MOST_SHOWN])}"


def _object_line(item: KeyObject) -> str:
    shape = "no box" if item.box_xywh is None else "box " + " ".join(f"{side:g}" for side in item.box_xywh)
    mask = "no mask" if item.area is None else f"mask of {item.area:,} px"
    maker = item.provenance.mask or item.provenance.box
    crowd = ", crowd" if item.is_crowd else ""
    return f"{item.id} {item.category or 'of no category'}, {shape}, {mask}, {maker or 'of unknown origin'}{crowd}"


def _phrase_line(phrase: Phrase) -> str:
    why = "" if phrase.reason is None else f" ({phrase.reason})"
    named = "".join(f" {number}" for number in phrase.object_ids)
    linker = "" if phrase.provenance is None else f", {phrase.provenance}"
    words = f"[{phrase.start}, {phrase.end}) {one_line(phrase.text)!r}"
    return f"{words}: {phrase.status}{named}{linker}{why}"

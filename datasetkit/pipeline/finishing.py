"""From a reading to an outcome: words, filters, overlay, row, and the account of what was dropped.

Owns what follows the reading and the models of a record; other processes can have copies of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from datasetkit.annotation.salience import with_phrases
from datasetkit.core.drawing import draw_overlay, encode_jpeg
from datasetkit.core.ledger import Drop, DropReason, Notice, NoticeKind
from datasetkit.core.protocols import Aligner, Entry, Filter, Reading
from datasetkit.core.record import Record
from datasetkit.core.schema import record_to_row
from datasetkit.core.text import one_line
from datasetkit.export.output.part import Outcome
from datasetkit.pipeline.inputs import FileState


@dataclass(frozen=True, slots=True)
class Item:
    """An entry, what has become of it so far, and the state of its files before it was read."""

    entry: Entry
    state: Reading | Drop | Outcome
    is_unreachable: bool = False
    inputs: Mapping[str, FileState] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Words:
    """Links the words of a reading with its objects, unless it comes with links.

    Args:
        aligner: aligns by words.
        key_max: how many of the mentioned objects become key objects; None for all.

    """

    aligner: Aligner
    key_max: int | None

    def __call__(self, reading: Reading) -> Record:
        """Return the record with its links."""
        record = reading.record
        if reading.is_annotated and not reading.is_edited and self.key_max is None:
            return record
        if reading.has_given_links:
            return self.aligner.complete(record, reading.synonyms, is_searched=reading.is_searched)
        if reading.is_annotated or record.phrases or record.description is None:
            return with_phrases(record, record.phrases, self.key_max)
        return self.aligner.align(record, reading.synonyms, is_searched=reading.is_searched)


@dataclass(frozen=True, slots=True)
class Finisher:
    """Turns readings into outcomes, without their split.

    Args:
        filters: decide which records stay, in order, each with its name.
        overlay: whether rows have an image with the masks drawn on it.
        finds_objects: whether models found the objects, which replace those of the source.

    """

    filters: Sequence[tuple[str, Filter]]
    overlay: bool
    finds_objects: bool

    def __call__(self, finished: tuple[Entry, Reading]) -> Outcome:
        """Return the outcome of an entry; its handle is not used."""
        entry, reading = finished
        record = reading.record
        for name, one in self.filters:
            if (why := one.refusal(record)) is not None:
                shown = one_line(why).encode("utf-8", "backslashreplace").decode()
                return dropped(entry, Drop("record", entry.record_id, DropReason.FILTERED, f"{name}: {shown}"))
        overlay = encode_jpeg(draw_overlay(reading.pixels, record.key_objects)) if self.overlay else None
        replaced = _replaced(entry, reading.drops) if self.finds_objects else ()
        notices = reading.notices
        if record.description is None:
            notices += (Notice(record.record_id, NoticeKind.NO_DESCRIPTION),)
        return Outcome(
            row=record_to_row(record, overlay),
            split="",
            annotations_read=len(entry.annotation_ids),
            detections=reading.detections,
            drops=(*reading.drops, *replaced),
            notices=notices,
        )


def _replaced(entry: Entry, drops: Iterable[Drop]) -> tuple[Drop, ...]:
    """Return a drop for each of the source's annotations that were replaced by those of models."""
    lost = {drop.item_id for drop in drops if drop.scope == "annotation"}
    replaced = partial(Drop, "annotation", reason=DropReason.RELABELLED, detail=f"record {entry.record_id}")
    return tuple(replaced(item_id=item) for item in entry.annotation_ids if item not in lost)


def dropped(entry: Entry, record: Drop) -> Outcome:
    """Return the outcome of an entry whose record is dropped."""
    annotations = [
        Drop("annotation", annotation_id, DropReason.RECORD_DROPPED, f"record {entry.record_id}: {record.reason}")
        for annotation_id in entry.annotation_ids
    ]
    return Outcome(None, "", len(entry.annotation_ids), (record, *annotations), ())

"""A record's steps in a build: read, annotated, drawn, converted to a row. Owns which step runs in which thread.

Threads read images ahead and finish rows afterwards; models run in between, in the calling thread, on as many images at
once as fit.
"""

from __future__ import annotations

import itertools
from collections.abc import Container, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from datasetkit.annotation.alignment import AlignmentReason
from datasetkit.annotation.salience import with_phrases
from datasetkit.core.drawing import draw_overlay, encode_jpeg
from datasetkit.core.errors import SourceError, SourceFailedError, UnreachableError, UnusableError, is_out_of_memory
from datasetkit.core.ledger import Drop, DropReason, Notice, NoticeKind
from datasetkit.core.protocols import Aligner, Annotator, Entry, Filter, Reading, Source
from datasetkit.core.record import Record
from datasetkit.core.schema import record_to_row
from datasetkit.core.text import is_split_name, one_line
from datasetkit.export.dataset.part import Outcome
from datasetkit.options.recipe import Recipe
from datasetkit.pipeline.inputs import FileState, Inputs
from datasetkit.pipeline.splits import Cut, split_by_hash
from datasetkit.runtime.threads import map_in_order
from datasetkit.runtime.timers import Stages
from datasetkit.sources.toyworld import PRONOUN

DEFAULT_SPLIT = "train"
REASON_MEANINGS = {reason.value: reason.explanation for reason in AlignmentReason} | {
    PRONOUN: "a pronoun; it refers to what was named before"
}


@dataclass(frozen=True, slots=True)
class _Item:
    """An entry, and its current state."""

    entry: Entry
    result: Reading | Drop
    is_unreachable: bool = False
    inputs: Mapping[str, FileState] = field(default_factory=dict)


class Pipeline:
    """Turns entries into outcomes.

    Args:
        recipe: what to build.
        source: reads the entries.
        aligner: aligns by words, if models find no objects.
        annotator: describes images and finds objects by models, as the recipe says; None if it names no models.
        filters: decide which records stay, in order, each with its name.
        inputs: records the state of each entry's files.
        window: number of images per call of the annotator.
        workers: number of threads.
        stages: timers.

    Attributes:
        cut: of all images, if shares are to be exact; otherwise None.

    """

    def __init__(
        self,
        recipe: Recipe,
        source: Source,
        aligner: Aligner,
        annotator: Annotator | None,
        filters: Sequence[tuple[str, Filter]],
        inputs: Inputs,
        *,
        window: int,
        workers: int,
        stages: Stages,
    ) -> None:
        self._recipe = recipe
        self._source = source
        self._aligner = aligner
        self._annotator = annotator
        self._finds_objects = annotator is not None and (recipe.grounding is None or recipe.grounding.finds_objects)
        self._filters = filters
        self._inputs = inputs
        self._window = window
        self._workers = workers
        self._stages = stages
        self.cut: Cut | None = None

    def hashes(self, entries: Iterable[Entry]) -> Generator[str | None]:
        """Yield the SHA-256 of each entry's image, as it was read; None if the entry does not become a record.

        Raises:
            SourceFailedError: an image cannot be read now but perhaps later; without it, shares are not exact.

        """
        for item in map_in_order(self._reading, entries, self._workers):
            if item.is_unreachable and isinstance(item.result, Drop):
                raise SourceFailedError(
                    f"{item.entry.record_id} cannot be read, and exact shares need every image ({item.result.detail})"
                )
            yield None if isinstance(item.result, Drop) else item.result.record.source.sha256

    def run(self, entries: Iterable[Entry], fatal: Container[str] = ()) -> Generator[Outcome]:
        """Yield one outcome per entry, in order.

        Args:
            entries: of a part.
            fatal: ids of records that are dropped without being read, as workers died on them.

        """

        def read_one(entry: Entry) -> _Item:
            return _Item(entry, _died_on(entry)) if entry.record_id in fatal else self._read(entry)

        if self._annotator is None:
            return map_in_order(lambda entry: self._finish(read_one(entry)), entries, self._workers)
        self._annotator.begin_part()
        read = map_in_order(read_one, entries, self._workers)
        return map_in_order(self._finish, self._annotated(read, self._annotator), self._workers)

    def _read(self, entry: Entry) -> _Item:
        inputs = self._inputs.of(entry)
        item = self._reading(entry)
        hashes = item.result.hashes if isinstance(item.result, Reading) else {}
        states = {name: replace(state, sha256=hashes.get(name)) for name, state in inputs.items()}
        return replace(item, inputs=states)

    def _reading(self, entry: Entry) -> _Item:
        try:
            with self._stages.timed("read"):
                reading = self._source.read(entry)
        except UnusableError as error:
            drop = Drop("record", entry.record_id, error.reason, error.detail)
            return _Item(entry, drop, is_unreachable=isinstance(error, UnreachableError))
        except (MemoryError, RuntimeError) as error:
            return _Item(entry, _without_memory(entry.record_id, error))
        if reading.record.record_id != entry.record_id or not is_split_name(entry.split or DEFAULT_SPLIT):
            raise SourceError(
                f"source {self._recipe.source.name}: entry {entry.record_id!r} of split {entry.split!r} became record "
                f"{reading.record.record_id!r}; a record must have its entry's id, a split only letters, digits and _"
            )
        if reading.record.description is None and not self._recipe.source.may_lack_descriptions:
            return _Item(
                entry, Drop("record", entry.record_id, DropReason.NO_DESCRIPTION, "nothing describes the image")
            )
        return _Item(entry, reading)

    def _annotated(self, items: Iterator[_Item], annotator: Annotator) -> Iterator[_Item]:
        while batch := tuple(itertools.islice(items, self._window)):
            answers = iter(_annotate([item.result for item in batch if isinstance(item.result, Reading)], annotator))
            for item in batch:
                yield replace(item, result=next(answers)) if isinstance(item.result, Reading) else item

    def _finish(self, item: _Item) -> Outcome:
        entry, result = item.entry, item.result
        try:
            outcome = _dropped(entry, result) if isinstance(result, Drop) else self._finished(entry, result)
        except (MemoryError, RuntimeError) as error:
            outcome = _dropped(entry, _without_memory(entry.record_id, error))
        is_retried = outcome.row is None and outcome.drops[0].reason.may_pass_later
        return replace(outcome, is_unreachable=item.is_unreachable, inputs={} if is_retried else item.inputs)

    def _finished(self, entry: Entry, result: Reading) -> Outcome:
        record = result.record if self._finds_objects else self._with_words(result)
        for name, one in self._filters:
            if (why := one.refusal(record)) is not None:
                shown = one_line(why).encode("utf-8", "backslashreplace").decode()
                return _dropped(entry, Drop("record", entry.record_id, DropReason.FILTERED, f"{name}: {shown}"))
        with self._stages.timed("draw"):
            overlay = encode_jpeg(draw_overlay(result.pixels, record.key_objects)) if self._recipe.overlay else None
            row = record_to_row(record, overlay)
        replaced = _replaced(entry, result.drops) if self._finds_objects else ()
        notices = result.notices
        if record.description is None:
            notices += (Notice(record.record_id, NoticeKind.NO_DESCRIPTION),)
        return Outcome(
            row=row,
            split=self._split(entry, record.source.sha256),
            annotations_read=len(entry.annotation_ids),
            detections=result.detections,
            drops=(*result.drops, *replaced),
            notices=notices,
        )

    def _split(self, entry: Entry, sha256: str) -> str:
        if self.cut is not None:
            return self.cut.split(sha256)
        splits = self._recipe.splits
        return entry.split or DEFAULT_SPLIT if splits is None else split_by_hash(sha256, splits)

    def _with_words(self, reading: Reading) -> Record:
        record = reading.record
        if reading.is_annotated and not reading.is_edited and self._recipe.key_max is None:
            return record
        if reading.is_annotated or record.phrases or record.description is None:
            return with_phrases(record, record.phrases, self._recipe.key_max)
        with self._stages.timed("align"):
            return self._aligner.align(record)


def _died_on(entry: Entry) -> Drop:
    return Drop("record", entry.record_id, DropReason.WORKER_DIED, "every worker that processed it died")


def _annotate(readings: list[Reading], annotator: Annotator) -> list[Reading | Drop]:
    """Annotate images, one by one if memory runs out."""
    try:
        return annotator.annotate(readings)
    except (MemoryError, RuntimeError) as error:
        drop = _without_memory(readings[0].record.record_id, error)
    if len(readings) == 1:
        return [drop]
    return [answer for reading in readings for answer in _annotate([reading], annotator)]


def _without_memory(record_id: str, error: Exception) -> Drop:
    """Return the drop of a record for which memory ran out; raise any other error again."""
    if not is_out_of_memory(error):
        raise error
    return Drop("record", record_id, DropReason.OUT_OF_MEMORY, "memory ran out with only this image")


def _replaced(entry: Entry, drops: Iterable[Drop]) -> tuple[Drop, ...]:
    """Return a drop for each of the source's annotations that were replaced by those of models."""
    dropped = {drop.item_id for drop in drops if drop.scope == "annotation"}
    replaced = partial(Drop, "annotation", reason=DropReason.RELABELLED, detail=f"record {entry.record_id}")
    return tuple(replaced(item_id=item) for item in entry.annotation_ids if item not in dropped)


def _dropped(entry: Entry, record: Drop) -> Outcome:
    annotations = [
        Drop("annotation", annotation_id, DropReason.RECORD_DROPPED, f"record {entry.record_id}: {record.reason}")
        for annotation_id in entry.annotation_ids
    ]
    return Outcome(None, "", len(entry.annotation_ids), (record, *annotations), ())

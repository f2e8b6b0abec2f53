"""A record's steps in a build: read, annotated, drawn, converted to a row. Owns which step runs where.

Threads read images ahead. Without models, they finish the rows, too. With models, each step is a stage of a chain
(:mod:`datasetkit.runtime.stages.chain`): those of models run on their device, all others in processes, or in a few
threads where the device is the CPU itself.
"""

from __future__ import annotations

from collections.abc import Container, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

from datasetkit.annotation.alignment import AlignmentReason
from datasetkit.core.errors import SourceError, SourceFailedError, UnreachableError, UnusableError, is_out_of_memory
from datasetkit.core.ledger import Drop, DropReason
from datasetkit.core.protocols import Aligner, Entry, Filter, Reading, Source
from datasetkit.core.text import is_split_name
from datasetkit.export.output.part import Outcome
from datasetkit.options.recipe import Recipe
from datasetkit.pipeline.finishing import Finisher, Item, Words, dropped
from datasetkit.pipeline.inputs import Inputs
from datasetkit.pipeline.splits import Cut, split_by_hash
from datasetkit.runtime.stages.timers import Stages
from datasetkit.runtime.threads import map_in_order
from datasetkit.sources.toyworld import PRONOUN

if TYPE_CHECKING:
    from datasetkit.annotation.tasks import Annotator

DEFAULT_SPLIT = "train"
REASON_MEANINGS = {reason.value: reason.explanation for reason in AlignmentReason} | {
    PRONOUN: "a pronoun; it refers to what was named before"
}


class Pipeline:
    """Turns entries into outcomes.

    Args:
        recipe: what to build.
        source: reads the entries.
        aligner: aligns by words, if models find no objects.
        annotator: describes images and finds objects by models, as the recipe says; None if it names no models.
        filters: decide which records stay, in order, each with its name.
        inputs: records the state of each entry's files.
        window: the most images from the first of an incomplete batch to the latest one.
        workers: number of threads that read, and of lanes for all work beside the models.
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
        finds_objects = annotator is not None and (recipe.grounding is None or recipe.grounding.finds_objects)
        self._words = Words(aligner, recipe.key_max)
        self._finisher = Finisher(tuple(filters), recipe.overlay, finds_objects)
        self._inputs = inputs
        self._workers = workers
        self._stages = stages
        self._staged = None
        if annotator is not None:
            from datasetkit.pipeline.staged import Staged  # late, as it imports torch

            words = None if finds_objects else self._words
            self._staged = Staged(annotator, words, self._finisher, window=window, workers=workers, stages=stages)
        for stage in ("read",) if annotator is not None else ("read", "align", "draw"):
            stages.declare(stage, workers)
        self.cut: Cut | None = None

    def close(self) -> None:
        """End the processes that models were given."""
        if self._staged is not None:
            self._staged.close()

    def hashes(self, entries: Iterable[Entry]) -> Generator[str | None]:
        """Yield the SHA-256 of each entry's image, as it was read; None if the entry does not become a record.

        Raises:
            SourceFailedError: an image cannot be read now but perhaps later; without it, shares are not exact.

        """
        for item in map_in_order(self._reading, entries, self._workers):
            if item.is_unreachable and isinstance(item.state, Drop):
                raise SourceFailedError(
                    f"{item.entry.record_id} cannot be read, and exact shares need every image ({item.state.detail})"
                )
            yield item.state.record.source.sha256 if isinstance(item.state, Reading) else None

    def run(self, entries: Iterable[Entry], fatal: Container[str] = ()) -> Generator[Outcome]:
        """Yield one outcome per entry, in order.

        Args:
            entries: of a part.
            fatal: ids of records that are dropped without being read, as workers died on them.

        """

        def read_one(entry: Entry) -> Item:
            return Item(entry, _died_on(entry)) if entry.record_id in fatal else self._read(entry)

        if self._staged is None:
            yield from map_in_order(lambda entry: self._outcome(self._finish(read_one(entry))), entries, self._workers)
            return
        with closing(map_in_order(read_one, entries, self._workers)) as items:
            yield from map(self._outcome, self._staged.run(items))

    def _read(self, entry: Entry) -> Item:
        inputs = self._inputs.of(entry)
        item = self._reading(entry)
        hashes = item.state.hashes if isinstance(item.state, Reading) else {}
        states = {name: replace(state, sha256=hashes.get(name)) for name, state in inputs.items()}
        return replace(item, inputs=states)

    def _reading(self, entry: Entry) -> Item:
        try:
            with self._stages.timed("read"):
                reading = self._source.read(entry)
        except UnusableError as error:
            drop = Drop("record", entry.record_id, error.reason, error.detail)
            return Item(entry, drop, is_unreachable=isinstance(error, UnreachableError))
        except (MemoryError, RuntimeError) as error:
            return Item(entry, _without_memory(entry.record_id, error))
        if reading.record.record_id != entry.record_id or not is_split_name(entry.split or DEFAULT_SPLIT):
            raise SourceError(
                f"source {self._recipe.source.name}: entry {entry.record_id!r} of split {entry.split!r} became record "
                f"{reading.record.record_id!r}; a record must have its entry's id, a split only letters, digits and _"
            )
        if reading.record.description is None and not self._recipe.source.may_lack_descriptions:
            return Item(
                entry, Drop("record", entry.record_id, DropReason.NO_DESCRIPTION, "nothing describes the image")
            )
        return Item(entry, reading)

    def _finish(self, item: Item) -> Item:
        """Finish a reading without models."""
        reading = item.state
        if not isinstance(reading, Reading):
            return item
        try:
            with self._stages.timed("align"):
                record = self._words(reading)
            with self._stages.timed("draw"):
                return replace(item, state=self._finisher((item.entry, replace(reading, record=record))))
        except (MemoryError, RuntimeError) as error:
            return replace(item, state=_without_memory(item.entry.record_id, error))

    def _outcome(self, item: Item) -> Outcome:
        """Return the outcome of a finished or dropped entry, with its split and its files."""
        state = item.state
        if isinstance(state, Reading):
            raise TypeError(f"{item.entry.record_id} was not finished")
        outcome = dropped(item.entry, state) if isinstance(state, Drop) else state
        if outcome.row is None:
            inputs = {} if outcome.drops[0].reason.may_pass_later else item.inputs
            return replace(outcome, is_unreachable=item.is_unreachable, inputs=inputs)
        split = self._split(item.entry, outcome.row["source"]["sha256"])
        return replace(outcome, split=split, inputs=item.inputs)

    def _split(self, entry: Entry, sha256: str) -> str:
        if self.cut is not None:
            return self.cut.split(sha256)
        splits = self._recipe.splits
        return entry.split or DEFAULT_SPLIT if splits is None else split_by_hash(sha256, splits)


def _died_on(entry: Entry) -> Drop:
    return Drop("record", entry.record_id, DropReason.WORKER_DIED, "every worker that processed it died")


def _without_memory(record_id: str, error: Exception) -> Drop:
    """Return the drop of a record for which memory ran out; raise any other error again."""
    if not is_out_of_memory(error):
        raise error
    return Drop("record", record_id, DropReason.OUT_OF_MEMORY, "memory ran out with only this image")

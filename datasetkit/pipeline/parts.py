"""The parts of a build, one after the other. Owns which of them are built, and what may replace a published one."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from datasetkit.core.errors import SourceError, SourceFailedError
from datasetkit.core.ledger import DropReason
from datasetkit.core.protocols import Entry, Source
from datasetkit.core.text import counted
from datasetkit.export.dataset.describe import describe
from datasetkit.export.dataset.folder import BuildFolder
from datasetkit.export.dataset.manifest import Part
from datasetkit.export.dataset.part import PartWriter
from datasetkit.options.recipe import Recipe
from datasetkit.pipeline.records import REASON_MEANINGS, Pipeline
from datasetkit.runtime.timers import Stages

logger = logging.getLogger(__name__)

# Slower stages are worth a look: those that do more images a second hold nothing up.
_FAST = 1000
_NAMED = 3


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a build is.

    Args:
        stage: "loading" models, or "building".
        done: models loaded, or entries done.
        total: of so many.
        detail: what more there is to say: the models' names; drops, and the rate of each slow stage, slowest first.

    """

    stage: str
    done: int
    total: int
    detail: str = ""


OnProgress = Callable[[Progress], None]


def is_failed(part: Part) -> bool:
    """Whether records of a part were dropped that may pass later."""
    return any(reason.may_pass_later for reason in part.tally.dropped["record"])


class Job:
    """What is to be done in a folder, part by part.

    Args:
        folder: where to.
        recipe: what to build.
        source: of the entries.
        pipeline: makes outcomes of them.
        stages: its clocks.
        on_progress: called at the start and after every entry.

    """

    def __init__(
        self,
        folder: BuildFolder,
        recipe: Recipe,
        source: Source,
        pipeline: Pipeline,
        stages: Stages,
        on_progress: OnProgress,
    ) -> None:
        self._folder = folder
        self._store = folder.parts
        self._recipe = recipe
        self._source = source
        self._pipeline = pipeline
        self._stages = stages
        self._on_progress = on_progress
        self._total = len(source) if recipe.limit is None else min(len(source), recipe.limit)
        self._done = self._dropped = 0

    def carry_out(self) -> None:
        """Build the parts that are not there yet, and publish; on a retry, only what is gained by it.

        Raises:
            SourceFailedError: records that the published dataset has could not be read.

        """
        folder, store = self._folder, self._store
        folder.resume()
        self._done = self._dropped = 0
        former = {part.index: part for part in folder.published.parts} if folder.published else {}
        self._advance(0, 0)
        for index, entries in enumerate(self._parts()):
            if index not in store.whole and folder.task == "retry" and not is_failed(former[index]):
                store.carry_over(former[index])
            if index in store.whole:
                self._advance(len(entries), store.whole[index].tally.dropped["record"].total())
            else:
                self._build(index, entries)
        if folder.task == "retry":
            self._keep_fuller(former)
            if store.whole == former:
                folder.discard()
                return
        else:
            self._check_losses()
        source = self._source
        manifest = folder.publish(source.stray_drops() if hasattr(source, "stray_drops") else ())
        describe(store.new, manifest, REASON_MEANINGS, folder.former_card)
        folder.close()

    def _build(self, index: int, entries: tuple[Entry, ...]) -> None:
        with PartWriter(self._store, index, overlay=self._recipe.overlay) as writer:
            for outcome in self._pipeline.run(entries):
                writer.add(outcome)
                self._advance(1, outcome.row is None)

    def _keep_fuller(self, former: dict[int, Part]) -> None:
        """Leave a published part where its new one would lack one of its records, or is the same."""
        store = self._store
        for index, part in former.items():
            new = store.whole[index]
            if new == part:
                continue
            lost = sorted({*store.kept_ids(part)} - {*store.kept_ids(new)})
            if lost:
                why = store.dropped_records(index)
                told = [f"{name} ({why[name]['detail'] if name in why else 'it is gone'})" for name in lost]
                logger.warning("part %d stays as it was: built again, it would lack %s", index, _named(told))
            if lost or _digests(new) == _digests(part):
                store.forget([index])
                store.carry_over(part)

    def _check_losses(self) -> None:
        """Refuse to replace a dataset of the same source by one that lacks what could not be read this time."""
        published, store = self._folder.published, self._store
        if published is None or published.recipe["source"]["name"] != self._recipe.source.name:
            return
        failed = {
            name: (index, event["reason"])
            for index, part in store.whole.items()
            if part not in published.parts and is_failed(part)
            for name, event in store.dropped_records(index).items()
            if DropReason(event["reason"]).may_pass_later
        }
        if lost := [name for part in published.parts if failed for name in store.kept_ids(part) if name in failed]:
            store.forget({failed[name][0] for name in lost})
            raise SourceFailedError(
                f"{counted(len(lost), 'record')} that {self._folder.folder} holds could not be read this time: "
                f"{_named([f'{name} ({failed[name][1]})' for name in lost])}; the dataset there stays as it is (to do "
                "without them, give another --out, or delete it)"
            )

    def _parts(self) -> Iterator[tuple[Entry, ...]]:
        entries = itertools.islice(self._source.entries(), self._recipe.limit)
        while part := tuple(itertools.islice(entries, self._recipe.part_size)):
            if wrong := [entry for entry in part if not isinstance(entry, Entry)]:
                name = self._recipe.source.name
                raise SourceError(f"source {name}: an entry is a {type(wrong[0]).__name__}, not an Entry")
            yield part

    def _advance(self, entries: int, dropped: int) -> None:
        self._done += entries
        self._dropped += dropped
        slowest_first = sorted(self._stages.rates.items(), key=lambda stage: stage[1])
        slow = (f"{name} {pace:.2g}/s" for name, pace in slowest_first if pace < _FAST)
        detail = " ".join((f"{self._dropped} dropped", *slow))
        self._on_progress(Progress("building", self._done, self._total, detail))


def _digests(part: Part) -> tuple[object, ...]:
    return (part.tally, *(shard.sha256 for shard in part.shards))


def _named(names: list[str]) -> str:
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")

"""The plan of a build: its parts. Owns which of them are built, and what may replace a published one."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing

from datasetkit.core.detections import ModelIdentity
from datasetkit.core.errors import OutputError, RecordError, SourceError, SourceFailedError
from datasetkit.core.label_map import Category, LabelMap, check_label_map
from datasetkit.core.ledger import DropReason, PassedOver
from datasetkit.core.paths import Place
from datasetkit.core.protocols import Entry, Source
from datasetkit.core.text import counted, listed
from datasetkit.export.card.describe import describe
from datasetkit.export.dataset.manifest import Manifest, Part
from datasetkit.export.output.accounts import Account, read_accounts
from datasetkit.export.output.output import Output
from datasetkit.export.output.work_log import write_work_log
from datasetkit.options.build import RunOptions
from datasetkit.options.recipe import Recipe
from datasetkit.pipeline.failures import Failures
from datasetkit.pipeline.inputs import INDEX, Inputs
from datasetkit.pipeline.opening import Opened
from datasetkit.pipeline.progress import OnProgress, PartsProgress, Progress
from datasetkit.pipeline.records import REASON_MEANINGS, Pipeline
from datasetkit.pipeline.schedule import Schedule
from datasetkit.pipeline.splits import Cut
from datasetkit.pipeline.work import BuildWork, PartResult, PartTask, Terms, as_failure
from datasetkit.runtime.engines.protocol import Died, Engine, Task
from datasetkit.runtime.stages.timers import Stages

logger = logging.getLogger(__name__)


def is_failed(part: Part) -> bool:
    """Return whether a part has dropped records that may succeed later."""
    return any(reason.may_pass_later for reason in part.tally.dropped["record"])


def parts_of(source: Source, recipe: Recipe) -> Iterator[tuple[Entry, ...]]:
    """Split a source's entries into parts."""
    entries = itertools.islice(source.entries(), recipe.limit)
    while part := tuple(itertools.islice(entries, recipe.part_size)):
        if wrong := [entry for entry in part if not isinstance(entry, Entry)]:
            raise SourceError(f"source {recipe.source.name}: an entry is a {type(wrong[0]).__name__}, not an Entry")
        yield part


def total_entries(source: Source, recipe: Recipe) -> int:
    """Return the number of entries that a build reads."""
    return len(source) if recipe.limit is None else min(len(source), recipe.limit)


def changes_since(
    place: Place, published: Manifest, recipe: Recipe, source: Source, inputs: Inputs, *, is_update: bool
) -> list[str]:
    """Compare the files of a source with those that a dataset was built from; return the changes in words.

    Files about which nothing was recorded count as changed for an update, and as unchanged otherwise.
    """
    accounts = read_accounts(place, published)
    other = [] if published.source_fingerprint == inputs.fingerprint else [f"{INDEX} differs"]
    if not accounts:
        if other or not inputs.places(next(parts_of(source, recipe), ())):
            return other
        unknown = "the files that it was built from were not recorded"
        if not is_update:
            logger.info("%s: %s; --update rebuilds it and records them", place, unknown)
        return [unknown] if is_update else []
    changes: dict[str, str] = {}
    count = 0
    for index, entries in enumerate(parts_of(source, recipe)):
        count, account = index + 1, accounts.get(index)
        _merge(changes, inputs.changes(entries, account) if account else _all(inputs.places(entries), "is new"))
    for index in sorted({*accounts} - {*range(count)}):
        _merge(changes, _all(accounts[index]["files"], "is gone"))
    if inputs.absent:
        logger.warning("source files that can no longer be read: %s", listed(sorted({*inputs.absent})))
    if len(changes) > 1:
        changes.pop(INDEX, None)
    return [f"{name} {what}" for name, what in changes.items()] or other


def _all(names: Iterable[str], what: str) -> dict[str, str]:
    return dict.fromkeys(names, what)


def _merge(changes: dict[str, str], found: Mapping[str, str]) -> None:
    """Add the changes of one more part, except files that moved from one part to the other."""
    for name, what in found.items():
        if {what, changes.get(name)} == {"is new", "is gone"}:
            del changes[name]
        else:
            changes[name] = what


class Job:
    """The work to do in a folder, part by part.

    Args:
        output: OUT, open for this build.
        recipe: what to build.
        run: how to build.
        opened: the source and its helpers.
        inputs: the files of the source.
        engine: does the parts.
        work: what its workers do.
        models: weights in use; None if the engine has not been started.
        on_progress: called at the start and as entries are done.

    """

    def __init__(
        self,
        output: Output,
        recipe: Recipe,
        run: RunOptions,
        opened: Opened,
        inputs: Inputs,
        engine: Engine,
        work: BuildWork,
        models: tuple[ModelIdentity, ...] | None,
        on_progress: OnProgress,
    ) -> None:
        self._output = output
        self._store = output.parts
        self._recipe = recipe
        self._run = run
        self._opened = opened
        self._source = opened.source
        self._inputs = inputs
        self._engine = engine
        self._work = work
        self._models = models
        self._on_progress = on_progress
        self._shard = run.own_shard
        self._accounts: Mapping[int, Account] = {}
        self._failures = Failures(run.max_failures)
        self._cut: Cut | None = None
        self._count = 0

    def carry_out(self) -> bool:
        """Build the parts that are missing, and publish; on a retry, only improvements.

        Returns:
            whether the dataset is complete; of the jobs of an array, only the last one completes it.

        Raises:
            SourceFailedError: the source failed, or records of the published dataset could not be read.

        """
        try:
            return self._build_all()
        except SourceError as error:
            failed = as_failure(error)
            if failed is None:
                raise
            self._store.forget(self._failures.parts)  # they contain images that could not be read
            if failed is error:
                raise
            raise failed from error

    def _build_all(self) -> bool:
        output, store = self._output, self._store
        output.resume()
        former = {part.index: part for part in output.published.parts} if output.published else {}
        self._accounts = read_accounts(output.place, output.published) if output.published else {}
        self._cut = self._find_cut()
        self._build_missing(former)
        if self._shard is not None and not (output.rejoin() and self._is_whole()):
            return False
        store.forget([index for index in store.whole if index >= self._count])
        if output.task == "retry":
            self._keep_fuller(former)
            if store.whole == former:
                output.discard()
                return True
        else:
            self._check_losses()
        stray = self._source.stray_drops() if hasattr(self._source, "stray_drops") else ()
        manifest = output.publish(
            stray, _passed_over(self._source, self._recipe), _label_map(self._source, self._recipe)
        )
        describe(output.papers, manifest, store.statistics(), REASON_MEANINGS, output.former_card, output.shard)
        output.close()
        return True

    def _build_missing(self, former: Mapping[int, Part]) -> None:
        """Have the engine build the parts that are missing."""
        progress = PartsProgress(self._total(), self._on_progress)
        missing = self._missing(former, progress)
        first = next(missing, None)
        if first is None:
            return
        if self._run.finish:
            count = 1 + sum(1 for _ in missing)
            raise OutputError(
                f"{self._output.place}: {counted(count, 'part')} of {self._count} {'is' if count == 1 else 'are'} not "
                f"built, the first is {first.index}; run the jobs of the array again, or this command without "
                "--finish, to build them here"
            )
        if self._models is None:
            self._models = self._engine.start(self._work)
        schedule = Schedule(itertools.chain([first], missing))
        for event in self._engine.run(schedule.next_task, progress.tell):
            if isinstance(event, Died):
                progress.died(event.task)
                schedule.died(event.task, event.how)
                continue
            schedule.done(event.task)
            if isinstance(event.task.payload, PartTask):
                self._finish(event.task, event.result, progress)
        write_work_log(self._output.place, progress.work.as_json())

    def _finish(self, task: Task, result: PartResult, progress: PartsProgress) -> None:
        index = task.payload.index
        if result.error is not None:
            raise result.error
        self._output.check_turn()
        if self._store.load(index) is None:
            raise OutputError(
                f"{self._output.place}: a worker has finished part {index}, but it is not there; all workers must see "
                "the same place"
            )
        self._failures.add(index, result.failures)
        progress.done(task, result.progress)

    def _missing(self, former: Mapping[int, Part], progress: PartsProgress) -> Iterator[PartTask]:
        """Yield the parts to build, and carry over those that may stay."""
        store = self._store
        terms: Terms | None = None
        kept = [index for index in sorted(store.whole) if self._shard is None or self._shard.has(index)]
        accounts = store.accounts(kept)
        for index, entries in enumerate(parts_of(self._source, self._recipe)):
            self._count = index + 1
            if self._shard is not None and not self._shard.has(index):
                continue
            if index in store.whole and (changes := self._inputs.changes(entries, next(accounts))):
                texts = [f"{name} {what}" for name, what in changes.items()]
                logger.info("part %d is rebuilt: %s", index, listed(texts))
                store.forget([index])
            if index in store.whole and not self._fits(store.whole[index]):
                store.forget([index])
            if index not in store.whole and index in former and self._may_stay(former[index], entries):
                store.carry_over(former[index], self._accounts.get(index))
            if index in store.whole:
                progress.skip(len(entries), store.whole[index].tally.dropped["record"].total())
            else:
                terms = terms or Terms(store.build, self._models or (), self._cut)
                yield PartTask(index, entries, terms)

    def _total(self) -> int:
        """Return the number of entries that this process has to do."""
        total = total_entries(self._source, self._recipe)
        if self._shard is None:
            return total
        size = self._recipe.part_size
        starts = range(self._shard.index * size, total, self._shard.count * size)
        return sum(min(size, total - start) for start in starts)

    def _is_whole(self) -> bool:
        """Return whether all shards are built."""
        missing = self._count - sum(index < self._count for index in self._store.whole)
        if missing:
            logger.info("%d of %s of the dataset are missing", missing, counted(self._count, "part"))
        return not missing

    def _may_stay(self, part: Part, entries: Sequence[Entry]) -> bool:
        """Return whether a published part is kept without reading anything."""
        if not self._fits(part):
            return False
        if self._output.task == "retry":
            return not is_failed(part)
        account = self._accounts.get(part.index)
        return self._output.task == "update" and account is not None and not self._inputs.changes(entries, account)

    def _find_cut(self) -> Cut | None:
        """Hash all images and divide them by exact shares, if these are requested."""
        if not self._recipe.splits_exact or self._recipe.splits is None:
            return None
        found: set[str] = set()
        opened = self._opened
        reader = Pipeline(
            self._recipe,
            opened.source,
            opened.aligner,
            None,
            opened.filters,
            self._inputs,
            window=self._run.window,
            workers=self._run.workers,
            stages=Stages(),
        )
        total = total_entries(self._source, self._recipe)
        entries = itertools.chain.from_iterable(parts_of(self._source, self._recipe))
        with closing(reader.hashes(entries)) as hashes:
            for done, sha256 in enumerate(hashes, 1):
                found.update(() if sha256 is None else (sha256,))
                self._on_progress(Progress("hashing", done, total))
        return Cut.of(found, self._recipe.splits)

    def _fits(self, part: Part) -> bool:
        """Return whether all records of a part are in the splits of the exact shares; otherwise it is rebuilt."""
        cut = self._cut
        return cut is None or all(cut.split(sha256) == split for split, sha256 in self._store.image_splits(part))

    def _keep_fuller(self, former: dict[int, Part]) -> None:
        """Keep a published part if the new one would lack one of its records, or is equal."""
        store = self._store
        for index, part in former.items():
            new = store.whole[index]
            if new == part:
                continue
            lost = sorted({*store.kept_ids(part)} - {*store.kept_ids(new)})
            if lost:
                why = store.dropped_records(index)
                texts = [f"{name} ({why[name]['detail'] if name in why else 'it is gone'})" for name in lost]
                logger.warning("part %d is kept as it was: rebuilt, it would lack %s", index, listed(texts))
            if lost or _digests(new) == _digests(part):
                store.forget([index])
                store.carry_over(part, self._accounts.get(index))
        if not all(map(self._fits, store.whole.values())):
            logger.warning("all parts are kept as they were: the split borders move, and not all parts can be rebuilt")
            store.forget([*store.whole])
            for part in former.values():
                store.carry_over(part, self._accounts.get(part.index))

    def _check_losses(self) -> None:
        """Refuse to replace a dataset by a build of its source without the records that could not be read this time."""
        published, store = self._output.published, self._store
        if published is None or published.recipe["source"]["name"] != self._recipe.source.name:
            return
        former = {part.index: part for part in published.parts}
        failed = {
            name: (index, event["reason"])
            for index, part in store.whole.items()
            if part != former.get(index) and is_failed(part)
            for name, event in store.dropped_records(index).items()
            if DropReason(event["reason"]).may_pass_later
        }
        if lost := [name for part in published.parts if failed for name in store.kept_ids(part) if name in failed]:
            store.forget({failed[name][0] for name in lost})
            raise SourceFailedError(
                f"{counted(len(lost), 'record')} of the dataset in {self._output.place} could not be read this time: "
                f"{listed([f'{name} ({failed[name][1]})' for name in lost])}; the dataset is kept as it is (to build "
                "without them, give another --out, or delete it)"
            )
        before, now = (
            sum(part.tally.kept["record"] for part in parts) for parts in (published.parts, store.whole.values())
        )
        if now < before:
            logger.warning("%s held %s before, and now holds %d", self._output.place, counted(before, "record"), now)


def _passed_over(source: Source, recipe: Recipe) -> tuple[PassedOver, ...]:
    found = tuple(source.passed_over()) if hasattr(source, "passed_over") else ()
    if wrong := [item for item in found if not isinstance(item, PassedOver)]:
        raise SourceError(
            f"source {recipe.source.name}: what was passed over is a {type(wrong[0]).__name__}, not a PassedOver"
        )
    return found


def _label_map(source: Source, recipe: Recipe) -> LabelMap:
    found = tuple(source.label_map()) if hasattr(source, "label_map") else ()
    if wrong := [item for item in found if not isinstance(item, Category)]:
        raise SourceError(f"source {recipe.source.name}: its label map has a {type(wrong[0]).__name__}, not a Category")
    try:
        check_label_map(found)
    except RecordError as error:
        raise SourceError(f"source {recipe.source.name}: {error}") from error
    return found


def _digests(part: Part) -> tuple[object, ...]:
    return (part.tally, *(shard.sha256 for shard in part.shards))

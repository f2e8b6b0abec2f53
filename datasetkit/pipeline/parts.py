"""The parts of a build, one after the other. Owns which of them are built, and what may replace a published one."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from pyarrow import ArrowException

from datasetkit.core.errors import RecordError, SourceError, SourceFailedError
from datasetkit.core.label_map import Category, LabelMap, check_label_map
from datasetkit.core.ledger import DropReason, PassedOver
from datasetkit.core.protocols import Entry, Source
from datasetkit.core.text import counted, listed
from datasetkit.export.dataset.accounts import Account, read_accounts
from datasetkit.export.dataset.describe import describe
from datasetkit.export.dataset.folder import BuildFolder
from datasetkit.export.dataset.manifest import Manifest, Part
from datasetkit.export.dataset.part import PartWriter
from datasetkit.options.recipe import Recipe
from datasetkit.pipeline.failures import Failures
from datasetkit.pipeline.inputs import INDEX, FileState, Inputs
from datasetkit.pipeline.records import REASON_MEANINGS, Pipeline
from datasetkit.pipeline.splits import Cut
from datasetkit.runtime.timers import Stages

logger = logging.getLogger(__name__)

# Only slower stages are reported: one that handles more images per second is not a bottleneck.
_FAST = 1000


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a build.

    Args:
        stage: "loading" models, "hashing" images, or "building".
        done: models loaded, or entries done.
        total: how many there are.
        detail: further information: the models' names; drops, and the rate of each slow stage, slowest first.

    """

    stage: str
    done: int
    total: int
    detail: str = ""


OnProgress = Callable[[Progress], None]


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


def changes_since(
    folder: Path, published: Manifest, recipe: Recipe, source: Source, inputs: Inputs, *, is_update: bool
) -> list[str]:
    """Compare the files of a source with those that a dataset was built from; return the changes in words.

    Files about which nothing was recorded count as changed for an update, and as unchanged otherwise.
    """
    accounts = read_accounts(folder, published)
    other = [] if published.source_fingerprint == inputs.fingerprint else [f"{INDEX} differs"]
    if not accounts:
        if other or not inputs.places(next(parts_of(source, recipe), ())):
            return other
        unknown = "the files that it was built from were not recorded"
        if not is_update:
            logger.info("%s: %s; --update rebuilds it and records them", folder, unknown)
        return [unknown] if is_update else []
    changes: dict[str, str] = {}
    for index, entries in enumerate(parts_of(source, recipe)):
        account = accounts.pop(index, None)
        _merge(changes, inputs.changes(entries, account) if account else _all(inputs.places(entries), "is new"))
    for account in accounts.values():
        _merge(changes, _all(account["files"], "is gone"))
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
        folder: the output folder.
        recipe: what to build.
        source: has the entries.
        pipeline: turns them into outcomes.
        inputs: the files of the source.
        stages: timers of the pipeline.
        failures: stops the build if the source fails.
        on_progress: called at the start and after every entry.

    """

    def __init__(
        self,
        folder: BuildFolder,
        recipe: Recipe,
        source: Source,
        pipeline: Pipeline,
        inputs: Inputs,
        stages: Stages,
        failures: Failures,
        on_progress: OnProgress,
    ) -> None:
        self._folder = folder
        self._store = folder.parts
        self._recipe = recipe
        self._source = source
        self._pipeline = pipeline
        self._inputs = inputs
        self._accounts: dict[int, Account] = {}
        self._stages = stages
        self._failures = failures
        self._on_progress = on_progress
        self._total = len(source) if recipe.limit is None else min(len(source), recipe.limit)
        self._done = self._dropped = 0

    def carry_out(self) -> None:
        """Build the parts that are missing, and publish; on a retry, only improvements.

        Raises:
            SourceFailedError: the source failed, or records of the published dataset could not be read.

        """
        try:
            self._build_all()
        except SourceError as error:
            self._store.forget(self._failures.parts)  # they contain the first images that could not be read
            if isinstance(error, SourceFailedError) or not _is_failure(error.__cause__):
                raise
            raise SourceFailedError(str(error)) from error

    def _build_all(self) -> None:
        folder, store = self._folder, self._store
        folder.resume()
        self._done = self._dropped = 0
        former = {part.index: part for part in folder.published.parts} if folder.published else {}
        self._accounts = read_accounts(folder.folder, folder.published) if folder.published else {}
        self._pipeline.cut = self._cut()
        self._advance(0, 0)
        count = 0
        for index, entries in enumerate(parts_of(self._source, self._recipe)):
            count = index + 1
            if index in store.whole and (changes := self._inputs.changes(entries, store.account(index))):
                texts = [f"{name} {what}" for name, what in changes.items()]
                logger.info("part %d is rebuilt: %s", index, listed(texts))
                store.forget([index])
            if index in store.whole and not self._fits(store.whole[index]):
                store.forget([index])
            if index not in store.whole and index in former and self._may_stay(former[index], entries):
                store.carry_over(former[index], self._accounts.get(index))
            if index in store.whole:
                self._advance(len(entries), store.whole[index].tally.dropped["record"].total())
            else:
                self._build(index, entries)
        store.forget([index for index in store.whole if index >= count])
        if folder.task == "retry":
            self._keep_fuller(former)
            if store.whole == former:
                folder.discard()
                return
        else:
            self._check_losses()
        stray = self._source.stray_drops() if hasattr(self._source, "stray_drops") else ()
        manifest = folder.publish(
            stray, _passed_over(self._source, self._recipe), _label_map(self._source, self._recipe)
        )
        describe(store.new, manifest, REASON_MEANINGS, folder.former_card)
        folder.close()

    def _may_stay(self, part: Part, entries: Sequence[Entry]) -> bool:
        """Return whether a published part is kept without reading anything."""
        if not self._fits(part):
            return False
        if self._folder.task == "retry":
            return not is_failed(part)
        account = self._accounts.get(part.index)
        return self._folder.task == "update" and account is not None and not self._inputs.changes(entries, account)

    def _cut(self) -> Cut | None:
        """Hash all images and divide them by exact shares, if these are requested."""
        if not self._recipe.splits_exact or self._recipe.splits is None:
            return None
        found: set[str] = set()
        entries = itertools.chain.from_iterable(parts_of(self._source, self._recipe))
        with closing(self._pipeline.hashes(entries)) as hashes:
            for done, sha256 in enumerate(hashes, 1):
                found.update(() if sha256 is None else (sha256,))
                self._on_progress(Progress("hashing", done, self._total))
        return Cut.of(found, self._recipe.splits)

    def _fits(self, part: Part) -> bool:
        """Return whether all records of a part are in the splits of the exact shares; otherwise it is rebuilt."""
        cut = self._pipeline.cut
        return cut is None or all(cut.split(sha256) == split for split, sha256 in self._store.image_splits(part))

    def _build(self, index: int, entries: tuple[Entry, ...]) -> None:
        self._failures.begin_part(index)
        with (
            PartWriter(self._store, index, overlay=self._recipe.overlay) as writer,
            closing(self._pipeline.run(entries)) as outcomes,
        ):
            states: dict[str, FileState] = {}
            for outcome in outcomes:
                self._failures.add(outcome)
                writer.add(outcome)
                for name, state in outcome.inputs.items():
                    states.setdefault(name, state)
                self._advance(1, outcome.row is None)
            writer.account = self._inputs.account(entries, states)

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
                f"{counted(len(lost), 'record')} of the dataset in {self._folder.folder} could not be read this time: "
                f"{listed([f'{name} ({failed[name][1]})' for name in lost])}; the dataset is kept as it is (to build "
                "without them, give another --out, or delete it)"
            )
        before, now = (
            sum(part.tally.kept["record"] for part in parts) for parts in (published.parts, store.whole.values())
        )
        if now < before:
            logger.warning("%s held %s before, and now holds %d", self._folder.folder, counted(before, "record"), now)

    def _advance(self, entries: int, dropped: int) -> None:
        self._done += entries
        self._dropped += dropped
        slowest_first = sorted(self._stages.rates.items(), key=lambda stage: stage[1])
        slow = (f"{name} {pace:.2g}/s" for name, pace in slowest_first if pace < _FAST)
        detail = " ".join((f"{self._dropped} dropped", *slow))
        self._on_progress(Progress("building", self._done, self._total, detail))


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


def _is_failure(cause: BaseException | None) -> bool:
    """Return whether a source failed, rather than its data being broken: readers raise bare errors for broken data."""
    is_bare = type(cause) is OSError and cause.errno is None
    return cause is not None and not is_bare and not isinstance(cause, ValueError | ArrowException)


def _digests(part: Part) -> tuple[object, ...]:
    return (part.tally, *(shard.sha256 for shard in part.shards))

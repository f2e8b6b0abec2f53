"""A build: recipe in, published folder out. Owns the way of a record through source, annotation and export."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from annotation.alignment import AlignmentReason, KnownObjectAligner
from annotation.salience import with_phrases
from datasetkit import __version__
from datasetkit.drawing import draw_overlay, encode_jpeg
from datasetkit.engines.local import map_in_order
from datasetkit.errors import OutputError, UnusableError
from datasetkit.ledger import Drop, DropReason, Notice, NoticeKind
from datasetkit.protocols import Annotator, Entry, Source
from datasetkit.recipe import FolderOptions, Recipe
from datasetkit.record import Record
from datasetkit.schema import SCHEMA_VERSION, record_to_row
from datasetkit.sources import SOURCES
from datasetkit.sources.toyworld import PRONOUN
from datasetkit.splits import split_by_hash
from export.describe import describe
from export.folder import BuildFolder
from export.identity import BuildIdentity
from export.manifest import Manifest
from export.part import Outcome, PartWriter

DEFAULT_SPLIT = "train"
_REASON_MEANINGS = {reason.value: reason.explanation for reason in AlignmentReason} | {
    PRONOUN: "a pronoun; it names what was named before"
}


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a build is: entries done of all entries, and how many of them were dropped."""

    done: int
    total: int
    dropped: int


def build(
    recipe: Recipe,
    out: Path,
    *,
    workers: int,
    overwrite: bool = False,
    retry_failed: bool = False,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> Manifest:
    """Build a dataset, or go on with one that was interrupted.

    Args:
        recipe: what to build. Equal recipes and equal input give equal bytes.
        out: the folder to write.
        workers: threads that read and annotate.
        overwrite: whether another build in ``out`` is replaced.
        retry_failed: whether parts with records that could not be read are built again.
        on_progress: called after every entry.

    Returns:
        the manifest of the finished build.

    Raises:
        SourceError: the source cannot be read at all.
        OutputError: ``out`` holds something else.

    """
    _check_place(recipe, out)
    annotator = _annotator(recipe)
    source = SOURCES.load(recipe.source.name).from_recipe(recipe, annotator)
    identity = BuildIdentity(recipe.published(), source.fingerprint(), SCHEMA_VERSION, __version__)
    with BuildFolder(out, identity, overwrite=overwrite) as folder:
        if retry_failed:
            folder.reopen(reason for reason in DropReason if reason.may_pass_later)
        if folder.is_complete:
            return Manifest.read(out)
        _write_parts(folder, recipe, source, annotator, workers, on_progress)
        manifest = folder.publish(source.stray_drops())
        describe(out, manifest, _REASON_MEANINGS)
        folder.close()
    return manifest


def _check_place(recipe: Recipe, out: Path) -> None:
    if isinstance(recipe.source, FolderOptions) and out.resolve().is_relative_to(recipe.source.folder.resolve()):
        raise OutputError(
            f"{out} lies inside the source's folder, where its own pictures would be read next time; give another --out"
        )


def _write_parts(
    folder: BuildFolder,
    recipe: Recipe,
    source: Source,
    annotator: Annotator,
    workers: int,
    on_progress: Callable[[Progress], None],
) -> None:
    whole = folder.resume()
    pipeline = _Pipeline(recipe, source, annotator)
    total = len(source) if recipe.limit is None else min(len(source), recipe.limit)
    done = dropped = 0
    for index, entries in enumerate(_parts(source, recipe)):
        if index in whole:
            done += len(entries)
            on_progress(Progress(done, total, dropped))
            continue
        with PartWriter(folder, index, overlay=recipe.overlay) as writer:
            for outcome in map_in_order(pipeline.process, entries, workers):
                writer.add(outcome)
                done += 1
                dropped += outcome.row is None
                on_progress(Progress(done, total, dropped))


def _annotator(recipe: Recipe) -> Annotator:
    return KnownObjectAligner(key_max=recipe.key_max, objects_known=recipe.source.has_objects)


def _parts(source: Source, recipe: Recipe) -> Iterator[tuple[Entry, ...]]:
    entries = itertools.islice(source.entries(), recipe.limit)
    while part := tuple(itertools.islice(entries, recipe.part_size)):
        yield part


class _Pipeline:
    """What happens to one entry, in any thread: read, annotate, draw, spell as a row."""

    def __init__(self, recipe: Recipe, source: Source, annotator: Annotator) -> None:
        self._recipe = recipe
        self._source = source
        self._annotator = annotator

    def process(self, entry: Entry) -> Outcome:
        try:
            reading = self._source.read(entry)
        except UnusableError as error:
            return _dropped(entry, error)
        record = self._annotated(reading.record)
        overlay = encode_jpeg(draw_overlay(reading.pixels, record.key_objects)) if self._recipe.overlay else None
        return Outcome(
            row=record_to_row(record, overlay),
            split=self._split(entry, record),
            annotations_read=len(entry.annotation_ids),
            drops=reading.drops,
            notices=(*reading.notices, *_missing_description(record)),
        )

    def _annotated(self, record: Record) -> Record:
        if record.phrases or record.description is None:
            return with_phrases(record, record.phrases, self._recipe.key_max)
        return self._annotator.annotate(record)

    def _split(self, entry: Entry, record: Record) -> str:
        if self._recipe.splits is not None:
            return split_by_hash(record.source.sha256, self._recipe.splits)
        return entry.split or DEFAULT_SPLIT


def _missing_description(record: Record) -> tuple[Notice, ...]:
    return (Notice(record.record_id, NoticeKind.NO_DESCRIPTION),) if record.description is None else ()


def _dropped(entry: Entry, error: UnusableError) -> Outcome:
    record = Drop("record", entry.record_id, error.reason, error.detail)
    annotations = [
        Drop("annotation", annotation_id, DropReason.RECORD_DROPPED, f"record {entry.record_id}: {error.reason}")
        for annotation_id in entry.annotation_ids
    ]
    return Outcome(None, "", len(entry.annotation_ids), (record, *annotations), ())

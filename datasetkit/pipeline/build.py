"""A build: recipe in, published folder out. Owns how source, annotation and export are put together."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from datasetkit import __version__
from datasetkit.annotation.alignment import AlignmentReason, KnownObjectAligner
from datasetkit.core.errors import OutputError
from datasetkit.core.ledger import DropReason
from datasetkit.core.paths import Place
from datasetkit.core.protocols import Entry, Source
from datasetkit.core.schema import SCHEMA_VERSION
from datasetkit.export.dataset.describe import describe
from datasetkit.export.dataset.folder import BuildFolder, check_free
from datasetkit.export.dataset.identity import BuildIdentity
from datasetkit.export.dataset.manifest import Manifest
from datasetkit.export.dataset.part import PartWriter
from datasetkit.options import FolderOptions, GroundingOptions, ParquetOptions, Recipe
from datasetkit.pipeline.records import Pipeline
from datasetkit.runtime.devices import Placement
from datasetkit.runtime.timers import Stages
from datasetkit.sources import SOURCES
from datasetkit.sources.toyworld import PRONOUN

if TYPE_CHECKING:
    from datasetkit.annotation.grounded import GroundedAnnotator

REASON_MEANINGS = {reason.value: reason.explanation for reason in AlignmentReason} | {
    PRONOUN: "a pronoun; it names what was named before"
}


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a build is.

    Args:
        done: entries done.
        total: of so many.
        resumed: how many of those done were there before this run.
        dropped: how many of those done were dropped.
        rates: records a second of work, by stage.

    """

    done: int
    total: int
    resumed: int
    dropped: int
    rates: Mapping[str, float]


def build(
    recipe: Recipe,
    out: Path,
    *,
    workers: int,
    placement: Placement | None = None,
    overwrite: bool = False,
    retry_failed: bool = False,
    on_loading: Callable[[tuple[str, ...]], None] = lambda _: None,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> Manifest:
    """Build a dataset, or go on with one that was interrupted.

    Args:
        recipe: what to build. Equal recipes and equal input give equal bytes, up to the rounding of models on other
            devices or in other batches.
        out: the folder to write.
        workers: threads that read and annotate.
        placement: where models run; None chooses.
        overwrite: whether another build in ``out`` is replaced.
        retry_failed: whether parts with records that could not be read are built again.
        on_loading: called with the names of the models before they are loaded; not at all where there are none.
        on_progress: called at the start and after every entry.

    Returns:
        the manifest of the finished build.

    Raises:
        SourceError: the source cannot be read at all.
        ModelError: a model cannot be loaded.
        OutputError: ``out`` holds something else.

    """
    _check_place(recipe, out)
    stages = Stages()
    placement = placement or Placement()
    aligner = KnownObjectAligner(key_max=recipe.key_max, objects_known=recipe.source.has_objects)
    source = SOURCES.load(recipe.source.name).from_recipe(recipe, aligner)
    identity = BuildIdentity(recipe.published(), source.fingerprint(), SCHEMA_VERSION, __version__)
    if not overwrite:
        check_free(out, identity)
    annotator = _annotator(recipe, placement, stages, on_loading)
    if annotator is not None:
        identity = replace(identity, models=annotator.identities)
    pipeline = Pipeline(recipe, source, aligner, annotator, window=placement.window, workers=workers, stages=stages)
    with BuildFolder(out, identity, overwrite=overwrite) as folder:
        if retry_failed:
            folder.reopen(reason for reason in DropReason if reason.may_pass_later)
        if folder.is_complete:
            return Manifest.read(out)
        _write_parts(folder, recipe, source, pipeline, stages, on_progress)
        manifest = folder.publish(source.stray_drops())
        manifest = describe(out, manifest, REASON_MEANINGS, folder.former_card)
        folder.close()
    return manifest


def _check_place(recipe: Recipe, out: Path) -> None:
    folders: tuple[Place, ...] = ()
    if isinstance(recipe.source, FolderOptions):
        folders = (recipe.source.folder,)
    elif isinstance(recipe.source, ParquetOptions):
        folders = recipe.source.files
    if any(isinstance(folder, Path) and out.resolve().is_relative_to(folder.resolve()) for folder in folders):
        raise OutputError(
            f"{out} lies inside the source's folder, where its own pictures would be read next time; give another --out"
        )


def _write_parts(
    folder: BuildFolder,
    recipe: Recipe,
    source: Source,
    pipeline: Pipeline,
    stages: Stages,
    on_progress: Callable[[Progress], None],
) -> None:
    whole = folder.resume()
    total = len(source) if recipe.limit is None else min(len(source), recipe.limit)
    done = resumed = dropped = 0
    on_progress(Progress(done, total, resumed, dropped, stages.rates))
    for index, entries in enumerate(_parts(source, recipe)):
        if index in whole:
            done += len(entries)
            resumed += len(entries)
            on_progress(Progress(done, total, resumed, dropped, stages.rates))
            continue
        with PartWriter(folder, index, overlay=recipe.overlay) as writer:
            for outcome in pipeline.run(entries):
                writer.add(outcome)
                done += 1
                dropped += outcome.row is None
                on_progress(Progress(done, total, resumed, dropped, stages.rates))


def _annotator(
    recipe: Recipe, placement: Placement, stages: Stages, on_loading: Callable[[tuple[str, ...]], None]
) -> GroundedAnnotator | None:
    if recipe.grounding is None:
        return None
    describes = recipe.grounding.recaption or recipe.source.may_lack_descriptions
    on_loading(_model_names(recipe.grounding, describes=describes))
    # Loads torch and transformers, which other builds do without.
    from datasetkit.pipeline.models import grounded_annotator

    return grounded_annotator(recipe.grounding, placement, describes=describes, key_max=recipe.key_max, stages=stages)


def _model_names(options: GroundingOptions, *, describes: bool) -> tuple[str, ...]:
    parts = (options.captioner if describes else None, options.detector, options.segmenter, options.similarity)
    names = (getattr(part, "model", None) or getattr(part, "weights", None) for part in parts)
    return tuple(str(name) for name in names if name is not None)


def _parts(source: Source, recipe: Recipe) -> Iterator[tuple[Entry, ...]]:
    entries = itertools.islice(source.entries(), recipe.limit)
    while part := tuple(itertools.islice(entries, recipe.part_size)):
        yield part

"""A build: recipe in, published folder out. Owns how source, annotation and export are combined."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from datasetkit import __version__
from datasetkit.annotation.alignment import KnownObjectAligner
from datasetkit.annotation.phrases import NounPhraseFinder
from datasetkit.core.errors import OutputError, RecipeError, SourceError
from datasetkit.core.files import real_path
from datasetkit.core.paths import Place
from datasetkit.core.protocols import Aligner, PhraseFinder, Source, SourceContext
from datasetkit.core.schema import SCHEMA_VERSION
from datasetkit.core.text import listed
from datasetkit.export.dataset.folder import BuildFolder, Found, check_free
from datasetkit.export.dataset.identity import BuildIdentity
from datasetkit.export.dataset.manifest import Manifest
from datasetkit.options.base import PartOptions, is_data
from datasetkit.options.build import ModelOptions, Placement, RunOptions
from datasetkit.options.grounding import GroundingOptions
from datasetkit.options.models import (
    CAPTIONERS,
    DETECTORS,
    FILTERS,
    GROUNDERS,
    PHRASE_FINDERS,
    SEGMENTERS,
    NounPhraseOptions,
)
from datasetkit.options.recipe import Recipe
from datasetkit.options.sources import SOURCES, FolderOptions, HubOptions, ParquetOptions, RowsOptions, TableOptions
from datasetkit.pipeline.failures import Failures
from datasetkit.pipeline.inputs import Inputs
from datasetkit.pipeline.parts import Job, OnProgress, Progress, changes_since, is_failed
from datasetkit.pipeline.promises import FILES, FIND, READ, REFUSAL
from datasetkit.pipeline.records import Pipeline
from datasetkit.runtime.parts import make_part, origin_of_options
from datasetkit.runtime.registry import Origin, Registry
from datasetkit.runtime.timers import Stages
from datasetkit.sources.in_memory import InMemorySource

if TYPE_CHECKING:
    from datasetkit.annotation.describing import Describer
    from datasetkit.annotation.grounded import GroundedAnnotator

logger = logging.getLogger(__name__)
_FETCH_OF_RECIPE = "datasetkit models fetch --preset RECIPE.yaml"


def build(recipe: Recipe, run: RunOptions, on_progress: OnProgress = lambda _: None) -> Manifest:
    """Build a dataset, or continue an interrupted build.

    Args:
        recipe: what to build. Equal recipes and equal input yield equal bytes, except for the rounding of models on
            other devices or in other batches.
        run: the output folder, and how to build.
        on_progress: called before and after models are loaded, at the start and after every entry.

    Returns:
        the manifest of the finished build.

    Raises:
        SourceError: the source cannot be read at all.
        SourceFailedError: the source failed while it was read; what is finished is kept.
        RecipeError: models would replace the source's objects, or have nothing to do.
        ModelError: a model cannot be loaded.
        OutputError: the folder contains something else.
        PluginError: a plug-in cannot be created, or fails.

    """
    recipe = _pinned(recipe)
    _check_place(recipe, run.out)
    stages = Stages()
    # The default finder knows more nouns if objects of known categories are looked up, so each user creates its own.
    finder: PhraseFinder | None = None
    if not isinstance(recipe.phrases, NounPhraseOptions):
        finder = make_part(PHRASE_FINDERS, recipe.phrases, FIND)
    filters = [(one.name, make_part(FILTERS, one, REFUSAL)) for one in recipe.filters]
    aligner = KnownObjectAligner(finder, key_max=recipe.key_max, objects_known=recipe.source.has_objects)
    source = _source(recipe, aligner)
    plugins = _plugins(recipe)
    identity = BuildIdentity(recipe.published(), source.fingerprint(), SCHEMA_VERSION, __version__, plugins=plugins)
    _check_names(identity, run.out)
    _check_relabel(recipe, source)
    if getattr(recipe.source, "require_description", False) and recipe.source.may_lack_descriptions:
        logger.warning("the source has no descriptions at all, so --require-description drops nothing")
    inputs = Inputs(source, identity.source_fingerprint)
    is_stale = not run.overwrite and _is_stale(check_free(run.out, identity), identity, recipe, source, inputs, run)
    annotator = _annotator(recipe, finder, run, stages, on_progress)
    if annotator is not None:
        identity = replace(identity, models=annotator.identities)
    pipeline = Pipeline(
        recipe, source, aligner, annotator, filters, inputs, window=run.window, workers=run.workers, stages=stages
    )
    with BuildFolder(run.out, identity, overwrite=run.overwrite) as folder:
        job = Job(folder, recipe, source, pipeline, inputs, stages, Failures(run.max_failures), on_progress)
        if folder.is_blocked:
            logger.warning("the build that is to replace the dataset in %s is unfinished", run.out)
        if is_stale:
            folder.begin("update")
        is_complete = folder.is_complete and not folder.is_blocked
        if folder.task in {"build", "update"}:
            job.carry_out()
        if run.retry_failed and folder.published is not None and any(map(is_failed, folder.published.parts)):
            folder.begin("retry")
        if folder.task == "retry":
            job.carry_out()
        elif is_complete:
            logger.info("%s is complete already; nothing to do", run.out)
    return Manifest.read(run.out)


def _is_stale(
    found: Found, identity: BuildIdentity, recipe: Recipe, source: Source, inputs: Inputs, run: RunOptions
) -> bool:
    """Return whether parts of the published dataset have to be rebuilt because the source has changed.

    Raises:
        OutputError: it has changed, and no update was requested.

    """
    is_under_way = found.pending is not None and found.pending.is_same_but_source(identity) and found.task != "retry"
    if found.published is None or is_under_way or not found.holds(identity):
        return False
    changes = changes_since(run.out, found.published, recipe, source, inputs, is_update=run.update)
    if not changes:
        if run.update:
            logger.info("no input file has changed")
        return False
    if not run.update:
        raise OutputError(
            f"{run.out}: the source has changed since ({listed(changes)}); --update rebuilds the affected parts"
        )
    return True


def _pinned(recipe: Recipe) -> Recipe:
    """Pin a dataset on the Hub to a commit, since a branch or a tag may move."""
    source = recipe.source
    if not isinstance(source, HubOptions):
        return recipe
    from datasetkit.sources.hub_loading import resolve_commit

    commit = resolve_commit(source.repo, source.revision)
    return recipe.model_copy(update={"source": source.model_copy(update={"revision": commit})})


def _source(recipe: Recipe, aligner: Aligner) -> Source:
    """Open the source; a plug-in that is a sequence of rows is read as rows."""
    options = recipe.source
    context = SourceContext(recipe.image_limits, recipe.license, aligner, recipe.limit)
    if isinstance(options, RowsOptions) and is_data(options.instance):
        return InMemorySource(options.instance, options, context)
    made = make_part(SOURCES, options, {**READ, **FILES}, needs=(), context=context)
    if hasattr(made, "entries"):
        if lacking := [name for name in (*READ, "__len__") if not hasattr(made, name)]:
            raise SourceError(
                f"source {options.name} has entries, but no method {lacking[0]}; see docs/how-to/plugins.md"
            )
        source: Source = made
        return source
    table = options if isinstance(options, TableOptions) else RowsOptions(name=options.name)
    return InMemorySource(made, table, context)


def _check_place(recipe: Recipe, out: Path) -> None:
    folders: tuple[Place, ...] = ()
    if isinstance(recipe.source, FolderOptions):
        folders = (recipe.source.folder,)
    elif isinstance(recipe.source, ParquetOptions):
        folders = recipe.source.files
    if any(isinstance(folder, Path) and real_path(out).is_relative_to(real_path(folder)) for folder in folders):
        raise OutputError(
            f"{out} is inside the source's folder, so the next build would read its images; give another --out"
        )


def _check_names(identity: BuildIdentity, out: Path) -> None:
    """Refuse names that cannot be written in UTF-8 before anything is built."""
    try:
        json.dumps([identity.to_json(), str(out)], ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        name = str(error.object)[max(error.start - 20, 0) : error.end + 20]
        raise OutputError(f"the name {name!r} is not UTF-8 and cannot be published; rename it") from None


def _check_relabel(recipe: Recipe, source: Source) -> None:
    """Refuse to drop the source's objects by accident, or to replace them by nothing."""
    relabel = getattr(recipe.source, "relabel", None)
    finds_objects = recipe.grounding is not None and recipe.grounding.finds_objects
    if relabel and not finds_objects:
        raise RecipeError(
            "--relabel replaces the source's objects by those that models find; choose models with --preset"
        )
    if relabel is False and finds_objects and any(entry.annotation_ids for entry in source.entries()):
        raise RecipeError(
            "the models would replace the objects of this dataset; add --relabel if that is intended, or keep the "
            "objects and only describe the images: --caption-with in place of --preset"
        )


def _annotator(
    recipe: Recipe, finder: PhraseFinder | None, run: RunOptions, stages: Stages, on_progress: OnProgress
) -> GroundedAnnotator | Describer | None:
    if recipe.grounding is None:
        for name, field in Placement.model_fields.items():
            if (value := getattr(run, name)) != field.default:
                raise RecipeError(
                    f"--{name.replace('_', '-')} {value} is an option of models, but there are none; leave it out, "
                    "or choose models: --preset, or `grounding` in a recipe"
                )
        return None
    describes = recipe.grounding.recaption or recipe.source.may_lack_descriptions
    if not (describes or recipe.grounding.finds_objects):
        raise RecipeError(
            "every image of this source has a description, so --caption-with writes none; leave it out, or replace "
            "the descriptions: --set recaption=true"
        )
    names = tuple(_model_names(recipe.grounding, describes=describes))
    on_progress(Progress("loading", 0, len(names), ", ".join(names)))
    # Loads torch and transformers, which other builds do not need.
    from datasetkit.pipeline.models import found_models, model_annotator

    options = recipe.grounding
    command = run.fetch_command(recipe.source.preset) if isinstance(run, ModelOptions) else _FETCH_OF_RECIPE
    annotator = model_annotator(
        found_models(options, run.models, describes=describes, fetch_command=command),
        run,
        NounPhraseFinder() if finder is None else finder,
        describes=describes,
        key_max=recipe.key_max,
        stages=stages,
    )
    on_progress(Progress("loading", len(names), len(names), ", ".join(names)))
    return annotator


def _model_names(options: GroundingOptions, *, describes: bool) -> Iterator[str]:
    for part in (options.captioner if describes else None, options.detector, options.segmenter, options.similarity):
        name = getattr(part, "model", None) or getattr(part, "weights", None) or getattr(part, "name", None)
        if name is not None and name != "given":
            yield str(name)


def _plugins(recipe: Recipe) -> tuple[Origin, ...]:
    """Return the plug-ins in use; rows that are data are not plug-ins."""
    grounding = recipe.grounding
    parts: list[tuple[Registry, PartOptions | None]] = [(PHRASE_FINDERS, recipe.phrases)]
    if not (isinstance(recipe.source, RowsOptions) and is_data(recipe.source.instance)):
        parts.append((SOURCES, recipe.source))
    if grounding is not None:
        parts += [(CAPTIONERS, grounding.captioner), (SEGMENTERS, grounding.segmenter)]
        parts.append((GROUNDERS if grounding.is_grounder else DETECTORS, grounding.detector))
    parts += [(FILTERS, one) for one in recipe.filters]
    found = (origin_of_options(registry, part) for registry, part in parts if part is not None)
    return tuple(origin for origin in found if origin is not None)

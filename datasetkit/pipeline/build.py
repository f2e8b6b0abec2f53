"""A build: recipe in, published folder out. Owns how source, annotation and export are combined."""

from __future__ import annotations

import json
import logging
from dataclasses import replace

from datasetkit import __version__
from datasetkit.core.detections import ModelIdentity
from datasetkit.core.errors import OutputError, RecipeError
from datasetkit.core.paths import Place, is_inside
from datasetkit.core.protocols import Source
from datasetkit.core.schema import SCHEMA_VERSION
from datasetkit.core.text import listed
from datasetkit.export.dataset.manifest import Manifest
from datasetkit.export.output.found import JOURNAL, Found
from datasetkit.export.output.identity import BuildIdentity
from datasetkit.export.output.opening import check_free, open_output, wait_for_turn
from datasetkit.export.output.output import Output
from datasetkit.options.build import RunOptions
from datasetkit.options.recipe import Recipe
from datasetkit.options.sources import FolderOptions, HubOptions, ParquetOptions
from datasetkit.pipeline.annotators import check_models, model_names
from datasetkit.pipeline.inputs import Inputs
from datasetkit.pipeline.opening import object_in_use, open_source, parts_in_use
from datasetkit.pipeline.parts import Job, changes_since, is_failed, total_entries
from datasetkit.pipeline.progress import OnProgress, Progress
from datasetkit.pipeline.work import BuildWork
from datasetkit.runtime.engines.protocol import Engine, Seat
from datasetkit.runtime.parts import origin_of_options
from datasetkit.sources.given.source import GivenSource

logger = logging.getLogger(__name__)

# Threads of a worker that read from a network, which answers one request after a while and many at the same time.
_REMOTE_THREADS = 16


def build(recipe: Recipe, run: RunOptions, on_progress: OnProgress = lambda _: None) -> Manifest | None:
    """Build a dataset, or continue an interrupted build.

    Args:
        recipe: what to build. Equal recipes and equal input yield equal bytes, except for the rounding of models on
            other devices or in other batches.
        run: where and how to build.
        on_progress: called before and after models are loaded, at the start and after every entry.

    Returns:
        the manifest of the finished build; None for a job of an array, unless it is the last one.

    Raises:
        SourceError: the source cannot be read at all.
        SourceFailedError: the source failed while it was read; what is finished is kept.
        RecipeError: models would replace the source's objects, or have nothing to do.
        ModelError: a model cannot be loaded.
        OutputError: OUT contains something else, or another process is building there.
        PluginError: a plug-in cannot be created, or fails.
        EngineError: no worker can be kept alive.

    """
    recipe = _pinned(recipe)
    _check_place(recipe, run.out)
    _check_shard(run)
    opened = open_source(recipe)
    source = opened.source
    origins = [origin_of_options(registry, part) for registry, part in parts_in_use(recipe)]
    if isinstance(source, GivenSource):
        origins.append(source.origin)
    plugins = tuple(origin for origin in origins if origin is not None)
    identity = BuildIdentity(recipe.published(), source.fingerprint(), SCHEMA_VERSION, __version__, plugins=plugins)
    _check_names(identity, run.out)
    _check_relabel(recipe, source)
    if getattr(recipe.source, "require_description", False) and recipe.source.may_lack_descriptions:
        logger.warning("the source has no descriptions at all, so --require-description drops nothing")
    inputs = Inputs(source, identity.source_fingerprint)
    check_models(recipe, run)
    is_stale = not run.overwrite and _is_stale(_found(run, identity), identity, recipe, source, inputs, run)
    work = BuildWork(recipe, run, identity.source_fingerprint, opened)
    models: tuple[ModelIdentity, ...] | None = None
    with run.open(_seats(recipe, run, source)) as engine:
        if recipe.grounding is not None:
            models = _load(engine, work, recipe, on_progress)
            identity = replace(identity, models=models)
        with _open_output(run, identity) as output:
            job = Job(output, recipe, run, opened, inputs, engine, work, models, on_progress)
            is_complete = _carry_out(job, output, run, is_stale=is_stale)
    return Manifest.read(run.out) if is_complete else None


def _found(run: RunOptions, identity: BuildIdentity) -> Found:
    """Return what is in OUT.

    Raises:
        OutputError: another build is there, or none that could be finished.

    """
    found = check_free(run.out, identity)
    if run.finish and found.published is None and found.pending is None:
        raise OutputError(f"{run.out} has no unfinished build; run the jobs of the array first, or leave out --finish")
    return found


def _carry_out(job: Job, output: Output, run: RunOptions, *, is_stale: bool) -> bool:
    """Do what there is to do in OUT; return whether the dataset is complete."""
    if output.is_blocked:
        logger.warning("the build that is to replace the dataset in %s is unfinished", run.out)
    if is_stale:
        output.begin("update")
    if output.task == "retry" and run.own_shard is not None:
        raise RecipeError(f"{run.out}: an unfinished --retry-failed is not for the jobs of an array; leave out --shard")
    is_done = output.is_complete and not output.is_blocked
    if output.task in {"build", "update"} and not job.carry_out():
        return False
    if run.retry_failed and output.published is not None and any(map(is_failed, output.published.parts)):
        output.begin("retry")
    if output.task == "retry":
        job.carry_out()
    elif is_done:
        logger.info("%s is complete already; nothing to do", run.out)
    return True


def _open_output(run: RunOptions, identity: BuildIdentity) -> Output:
    def open_now() -> Output:
        return open_output(run.out, identity, overwrite=run.overwrite, shard=run.own_shard)

    return open_now() if run.own_shard is None else wait_for_turn(open_now)


def _seats(recipe: Recipe, run: RunOptions, source: Source) -> tuple[Seat, ...]:
    """Return where workers run: with models one per device, otherwise as many as there is work for.

    Raises:
        RecipeError: several workers are wanted, but only this process has a part of the recipe.

    """
    entries = total_entries(source, recipe)
    parts = -(-entries // recipe.part_size)
    if run.own_shard is not None:
        parts = len(range(run.own_shard.index, parts, run.own_shard.count))
        entries = -(-entries // run.own_shard.count)
    name = object_in_use(recipe)
    if name is not None:
        if run.is_named or run.devices is not None:
            raise RecipeError(
                f"{name} is an object of this process, which other processes do not have; name its class, as "
                "package.module:Class, or leave out --engine and --devices"
            )
        return (Seat(0, run.device, threads=run.workers),)
    if recipe.grounding is not None:
        return run.model_seats(run.device, parts)
    return run.seats(parts, entries, _REMOTE_THREADS if recipe.is_remote else 1)


def _load(engine: Engine, work: BuildWork, recipe: Recipe, on_progress: OnProgress) -> tuple[ModelIdentity, ...]:
    """Have the workers load the models; return the weights in use."""
    names = tuple(model_names(recipe))
    on_progress(Progress("loading", 0, len(names), ", ".join(names)))
    models: tuple[ModelIdentity, ...] = engine.start(work)
    on_progress(Progress("loading", len(names), len(names), ", ".join(names)))
    return models


def _check_shard(run: RunOptions) -> None:
    """Refuse what one job of an array cannot do without the others."""
    if run.own_shard is None and not run.finish:
        return
    for name in ("overwrite", "retry_failed", "update"):
        if getattr(run, name):
            raise RecipeError(
                f"--{name.replace('_', '-')} is not for the jobs of an array, which share {run.out}; run it without "
                "--shard, --engine array and --finish"
            )


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


def _check_place(recipe: Recipe, out: Place) -> None:
    folders: tuple[Place, ...] = ()
    if isinstance(recipe.source, FolderOptions):
        folders = (recipe.source.folder,)
    elif isinstance(recipe.source, ParquetOptions):
        folders = recipe.source.files
    if JOURNAL in str(out).split("/"):
        raise OutputError(f"{out} is in a folder in which unfinished builds are kept; give another --out")
    if any(is_inside(out, folder) for folder in folders):
        raise OutputError(
            f"{out} is inside the source's folder, so the next build would read its images; give another --out"
        )


def _check_names(identity: BuildIdentity, out: Place) -> None:
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

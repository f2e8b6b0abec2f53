"""``datasetkit.build``. Owns the kinds of sources, and the conversion of flat options to a recipe and a run."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from datasetkit.api.built import Built, BuiltShard
from datasetkit.core.errors import OutputError, RecipeError, SourceError
from datasetkit.core.text import counted, duration
from datasetkit.export.dataset.manifest import LEDGER_NAME
from datasetkit.options.base import Options
from datasetkit.options.build import BuildOptions, RunOptions
from datasetkit.options.recipe import Recipe
from datasetkit.options.sources import (
    SOURCES,
    InstanceSourceOptions,
    RowsOptions,
    SourceOptions,
    TableOptions,
    guess_source,
    options_of_source,
)
from datasetkit.pipeline.build import build as build_parts
from datasetkit.pipeline.parts import is_failed
from datasetkit.pipeline.progress import Progress
from datasetkit.runtime.checkpoints import PREFIX
from datasetkit.runtime.progress import OnProgress
from datasetkit.runtime.stages.timers import Snapshot

logger = logging.getLogger(__name__)
Checked = TypeVar("Checked", bound=Options)


def build(
    source: object,
    out: str | os.PathLike[str],
    *,
    on_progress: OnProgress | None = None,
    root: str | os.PathLike[str] | None = None,
    allow_code: bool = False,
    **options: Any,
) -> Built:
    """Build a dataset, or resume an interrupted build.

    Args:
        source: source of the records: the path of a folder of images, of Parquet files or of tar files, ``user/name``
            on the Hub, the path of a recipe (.yaml), the name of a source ("coco", "toyworld", a plug-in, or
            ``package.module:Class``), options of a source, a list of dictionaries, a ``datasets.Dataset``, or an object
            that is a :class:`~datasetkit.core.protocols.Source` or a sequence of rows.
        out: output folder, or a URI such as ``s3://bucket/prefix``.
        on_progress: called with the stage, the number of finished entries, and their total number.
        root: folder that relative paths in a recipe file start at; None for the folder of the file.
        allow_code: whether a recipe file may name classes, whose modules are then imported.
        **options: options of the source (``images=...``), and all of :class:`~datasetkit.options.build.BuildOptions`. A
            ``captioner``, ``detector``, ``segmenter``, ``phrases`` and ``filters`` may be objects. Objects are called
            from threads of this process.

    Returns:
        the finished build; for a job of an array (``shard``) that is not the last one, a
        :class:`~datasetkit.api.built.BuiltShard`, whose dataset cannot be used yet.

    Raises:
        RecipeError: there is no such option, or a value is out of range.
        SourceError: the source cannot be read at all.
        SourceFailedError: the source failed while it was read; finished parts are kept.
        ModelError: a model cannot be loaded.
        PluginError: an object or a plug-in failed.
        OutputError: the folder contains something else, or no record was kept.

    Example:
        >>> built = dk.build("toyworld", "out/scenes", count=60, splits={"train": 0.8, "test": 0.2}, splits_exact=True)
        >>> built
        Built('out/scenes': 60 records; train 48, test 12)

    """

    def show(progress: Progress) -> None:
        if on_progress is not None:
            on_progress(progress.stage, progress.done, progress.total)

    given = {**options, "out": out}
    is_file = isinstance(source, str | os.PathLike) and Path(source).suffix in {".yaml", ".yml"}
    if root is not None and not is_file:
        raise RecipeError("root is for paths in a recipe file; leave it out")
    if isinstance(source, str | os.PathLike) and is_file:
        source = Recipe.read(Path(source), Path(root or Path(source).parent), allow_code=allow_code)
        source.check_places()
    if isinstance(source, Recipe):
        return build_recipe(source, _checked(RunOptions, given), show)
    chosen = _source(source, given)
    kind = options_of_source(chosen.name) if chosen.instance is None else type(chosen)
    checked = _checked(BuildOptions, given | {"allow_code": allow_code}, also=kind)
    return build_recipe(checked.recipe(chosen), checked, show)


def build_recipe(recipe: Recipe, run: RunOptions, on_progress: Callable[[Progress], None] = lambda _: None) -> Built:
    """Build from a recipe; see :func:`build`."""
    if _knows_only_scenes(recipe):
        logger.warning(
            "the toyworld models were trained on rendered scenes only; their output for other images is meaningless"
        )
    started = time.monotonic()
    work: Snapshot | None = None

    def note(progress: Progress) -> None:
        nonlocal work
        work = progress.work or work
        on_progress(progress)

    manifest = build_parts(recipe, run, note)
    if manifest is None:
        return BuiltShard(run.out, str(run.own_shard))
    tally = manifest.tally
    if not tally.kept["record"]:
        most = tally.dropped["record"].most_common(1)
        why = "; ".join(f"{counted(n, 'record')}: {reason} ({reason.explanation})" for reason, n in most)
        raise OutputError(
            f"no record was kept (read: {tally.read['record']:,}); {why or 'the source is empty'}; "
            f"{run.out / LEDGER_NAME} lists every one"
            + (
                "; --retry-failed reads those again that may succeed later"
                if any(map(is_failed, manifest.parts))
                else ""
            )
        )
    if work is not None:
        logger.info("built in %s", duration(time.monotonic() - started))
    return Built(run.out, work)


def _source(source: object, given: dict[str, Any]) -> SourceOptions:
    """Return the options of the source, removing them from ``given``."""
    if isinstance(source, SourceOptions):
        return source
    if isinstance(source, str | os.PathLike):
        text = os.fspath(source)
        if SOURCES.has(text):
            return _take(options_of_source(text), given, name=text)
        guessed = guess_source(text)
        if guessed is None:
            known = ", ".join(SOURCES.names)
            raise SourceError(f"{text!r} is neither an existing path nor a source; give a path, or one of {known}")
        return _take(type(guessed), given, **guessed.model_dump(include=guessed.model_fields_set))
    if source is None or isinstance(source, type):
        raise SourceError(f"{source!r} is not a source; give an object, a path, or the name of a class")
    if hasattr(source, "entries") and hasattr(source, "read"):
        return InstanceSourceOptions.of(source)
    rows = RowsOptions.of(source)
    named = {name: given.pop(name) for name in TableOptions.model_fields if name in given and name != "name"}
    return rows.model_copy(update=TableOptions.checked(named).model_dump(include={*named}))


def _take(kind: type[SourceOptions], given: dict[str, Any], **first: Any) -> SourceOptions:
    _refuse_unknown(given, BuildOptions, kind)
    for name in first.keys() & given.keys() & kind.model_fields.keys():
        if given.pop(name) != first[name]:
            raise RecipeError(
                f"{name} is given twice: the source already sets it to {first[name]!r}; leave the option out"
            )
    own = {name: given.pop(name) for name in kind.model_fields if name in given and name not in first}
    return kind.checked({**{name: first[name] for name in kind.model_fields if name in first}, **own})


def _checked(kind: type[Checked], given: Mapping[str, Any], also: type[Options] | None = None) -> Checked:
    _refuse_unknown(given, kind, *(() if also is None else (also,)))
    return kind.checked(given)


def _refuse_unknown(given: Mapping[str, Any], *kinds: type[Options]) -> None:
    known = {name for kind in kinds for name in kind.model_fields}
    if unknown := [name for name in given if name not in known]:
        names = ", ".join(sorted(known - {"name", "settings"}))
        raise RecipeError(f"there is no option {unknown[0]}; known: {names}")


def _knows_only_scenes(recipe: Recipe) -> bool:
    """Return whether toyworld's models are applied to images other than rendered scenes."""
    if recipe.grounding is None or recipe.source.name == "toyworld":
        return False
    grounding = recipe.grounding
    models = [getattr(part, "model", "") for part in (grounding.captioner, grounding.detector, grounding.segmenter)]
    return any(str(model).startswith(PREFIX) for model in models)

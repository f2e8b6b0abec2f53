"""What a build reads from: the source and its helpers, opened from a recipe. Owns their creation.

The driver opens them to plan, and each worker again, since sources cannot be sent to other processes.
"""

from __future__ import annotations

from dataclasses import dataclass

from datasetkit.annotation.alignment import KnownObjectAligner
from datasetkit.core.errors import SourceError
from datasetkit.core.protocols import Aligner, Filter, PhraseFinder, Source, SourceContext
from datasetkit.options.base import PartOptions, is_data
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
from datasetkit.options.sources import SOURCES, RowsOptions, TableOptions
from datasetkit.pipeline.promises import FILES, FIND, READ, REFUSAL
from datasetkit.runtime.parts import make_part
from datasetkit.runtime.registry import Registry
from datasetkit.sources.in_memory import InMemorySource


@dataclass(frozen=True, slots=True)
class Opened:
    """The source of a recipe, and what its records are processed with, models apart.

    Args:
        source: has the entries.
        finder: of noun phrases; None for the default one. That knows more nouns if objects of known categories are
            looked up, so each user creates its own.
        aligner: aligns by words.
        filters: decide which records stay, in order, each with its name.

    """

    source: Source
    finder: PhraseFinder | None
    aligner: Aligner
    filters: tuple[tuple[str, Filter], ...]


def open_source(recipe: Recipe) -> Opened:
    """Open the source of a recipe.

    Raises:
        SourceError: it cannot be read at all.
        PluginError: a plug-in cannot be created.

    """
    finder: PhraseFinder | None = None
    if not isinstance(recipe.phrases, NounPhraseOptions):
        finder = make_part(PHRASE_FINDERS, recipe.phrases, FIND)
    filters = tuple((one.name, make_part(FILTERS, one, REFUSAL)) for one in recipe.filters)
    aligner = KnownObjectAligner(
        finder,
        key_max=recipe.key_max,
        objects_known=recipe.source.has_objects,
        align_rest=recipe.source.aligns_rest,
    )
    return Opened(_source(recipe, aligner), finder, aligner, filters)


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


def parts_in_use(recipe: Recipe) -> list[tuple[Registry, PartOptions]]:
    """Return the exchangeable parts of a recipe, each with its registry; rows that are data are none."""
    grounding = recipe.grounding
    parts: list[tuple[Registry, PartOptions | None]] = [(PHRASE_FINDERS, recipe.phrases)]
    if not (isinstance(recipe.source, RowsOptions) and is_data(recipe.source.instance)):
        parts.append((SOURCES, recipe.source))
    if grounding is not None:
        parts += [(CAPTIONERS, grounding.captioner), (SEGMENTERS, grounding.segmenter)]
        parts.append((GROUNDERS if grounding.is_grounder else DETECTORS, grounding.detector))
    parts += [(FILTERS, one) for one in recipe.filters]
    return [(registry, part) for registry, part in parts if part is not None]


def object_in_use(recipe: Recipe) -> str | None:
    """Return the name of a part that only this process has: an object, or a class that was registered here."""
    if recipe.source.instance is not None:
        return recipe.source.name
    found = (
        part.name
        for registry, part in parts_in_use(recipe)
        if part.instance is not None or registry.is_local(part.name)
    )
    return next(found, None)

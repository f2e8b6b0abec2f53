"""The models of a build. Owns whether any are used, what they are called, and their loading in a worker."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from datasetkit.annotation.phrases import NounPhraseFinder
from datasetkit.core.errors import RecipeError
from datasetkit.core.protocols import PhraseFinder
from datasetkit.options.build import ModelOptions, Placement, RunOptions
from datasetkit.options.recipe import Recipe
from datasetkit.runtime.engines.protocol import Seat

if TYPE_CHECKING:
    from datasetkit.annotation.describing import Describer
    from datasetkit.annotation.grounded import GroundedAnnotator

_FETCH_OF_RECIPE = "datasetkit models fetch --preset RECIPE.yaml"


def describes(recipe: Recipe) -> bool:
    """Return whether models may write descriptions."""
    return recipe.grounding is not None and (recipe.grounding.recaption or recipe.source.may_lack_descriptions)


def check_models(recipe: Recipe, run: RunOptions) -> None:
    """Refuse options of models where there are none, and models that have nothing to do.

    Raises:
        RecipeError: see above.

    """
    if recipe.grounding is None:
        for name, field in Placement.model_fields.items():
            if (value := getattr(run, name)) != field.default:
                raise RecipeError(
                    f"--{name.replace('_', '-')} {value} is an option of models, but there are none; leave it out, "
                    "or choose models: --preset, or `grounding` in a recipe"
                )
        if run.devices is not None:
            raise RecipeError(
                f"--devices {','.join(run.devices)} is an option of models, but there are none; leave it out"
            )
    elif not (describes(recipe) or recipe.grounding.finds_objects):
        raise RecipeError(
            "every image of this source has a description, so --caption-with writes none; leave it out, or replace "
            "the descriptions: --set recaption=true"
        )


def model_names(recipe: Recipe) -> Iterator[str]:
    """Yield the names of the models that are loaded."""
    options = recipe.grounding
    if options is None:
        return
    captioner = options.captioner if describes(recipe) else None
    for part in (captioner, options.detector, options.segmenter, options.similarity):
        name = getattr(part, "model", None) or getattr(part, "weights", None) or getattr(part, "name", None)
        if name is not None and name != "given":
            yield str(name)


def load_annotator(
    recipe: Recipe, finder: PhraseFinder | None, run: RunOptions, seat: Seat
) -> GroundedAnnotator | Describer | None:
    """Load the models of a build on the device of a seat.

    Args:
        recipe: names the models.
        finder: finds noun phrases; None for the default one.
        run: batch sizes, and the folder of the models.
        seat: where they run.

    Returns:
        what annotates images; None if the recipe names no models.

    Raises:
        ModelError: a model cannot be loaded.
        MissingPackageError: a package that a model needs does not work here.
        PluginError: a plug-in cannot be created.

    """
    if recipe.grounding is None:
        return None
    # Loads torch and transformers, which other builds do not need.
    from datasetkit.pipeline.models import found_models, model_annotator

    command = run.fetch_command(recipe.source.preset) if isinstance(run, ModelOptions) else _FETCH_OF_RECIPE
    return model_annotator(
        found_models(recipe.grounding, run.models, describes=describes(recipe), fetch_command=command),
        run.part(Placement).model_copy(update={"device": seat.device or run.device}),
        NounPhraseFinder() if finder is None else finder,
        describes=describes(recipe),
        key_max=recipe.key_max,
    )

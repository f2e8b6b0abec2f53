"""Options of the models that find objects. Owns the way from them to the options of a recipe, and what is refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from datasetkit.core.errors import RecipeError

if TYPE_CHECKING:
    from datasetkit.options import Recipe

NO_PRESET = "none"
PANEL = "Models"


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """Which models find the objects, and everything that they are told."""

    preset: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=PANEL, help="Models that find the objects: toyworld, grounded-sam, a YAML file, or none."
        ),
    ] = None
    captioner: Annotated[
        str | None, typer.Option(rich_help_panel=PANEL, help="Another captioner: Hub id, folder, or given.")
    ] = None
    detector: Annotated[
        str | None, typer.Option(rich_help_panel=PANEL, help="Another detector of the preset's kind: Hub id or folder.")
    ] = None
    segmenter: Annotated[
        str | None,
        typer.Option(rich_help_panel=PANEL, help="Another segmenter of the preset's kind: Hub id or folder."),
    ] = None
    dtype: Annotated[
        str | None, typer.Option(rich_help_panel=PANEL, help="Of the models: float32, float16 or bfloat16.")
    ] = None
    set: Annotated[
        list[str] | None,
        typer.Option(
            "--set", rich_help_panel=PANEL, help="Any option of the models, as detector.score_min=.4; repeatable."
        ),
    ] = None

    def grounding(self) -> dict[str, Any] | None:
        """Put single options over those of the preset."""
        from datasetkit.options.presets import preset

        changes = {
            **_model_change("captioner", self.captioner),
            **_model_change("detector", self.detector),
            **_model_change("segmenter", self.segmenter),
            **({} if self.dtype is None else {"dtype": self.dtype}),
            **_settings(self.set or ()),
        }
        if self.preset in {None, NO_PRESET}:
            if changes:
                raise RecipeError(
                    f"{next(iter(changes))} is an option of models, but none are asked for; give --preset"
                )
            return None
        return preset(self.preset or "", changes)


def check_relabel(preset: str | None, *, has_masks: bool, relabel: bool) -> None:
    """Refuse to lose human masks by accident."""
    is_given = preset not in {None, NO_PRESET}
    if relabel and not is_given:
        raise RecipeError("--relabel replaces the human masks by what models find; name the models with --preset")
    if is_given and has_masks and not relabel:
        raise RecipeError(
            f"--preset {preset} would replace the human masks of --instances; say --relabel if you mean it"
        )


def knows_only_scenes(recipe: Recipe) -> bool:
    """Tell whether toyworld's models are asked about pictures that are not of their world."""
    if recipe.grounding is None or recipe.source.name == "toyworld":
        return False
    grounding = recipe.grounding
    models = [getattr(part, "model", "") for part in (grounding.captioner, grounding.detector, grounding.segmenter)]
    return any(model.startswith("toyworld:") for model in models)


def _model_change(part: str, model: str | None) -> dict[str, Any]:
    """Put another model in the place of a preset's; its revision was the other's."""
    if model is None:
        return {}
    if part == "captioner" and model == "given":
        return {"captioner.name": "given"}
    return {f"{part}.model": model, f"{part}.revision": None}


def _settings(items: Sequence[str]) -> dict[str, Any]:
    import yaml

    pairs = [item.partition("=") for item in items]
    for name, equals, text in pairs:
        if not (name and equals and text):
            raise RecipeError(f"--set {name}{equals}{text}: give an option of the models as detector.score_min=.4")
    try:
        return {name: yaml.safe_load(text) for name, _, text in pairs}
    except yaml.YAMLError:
        raise RecipeError(f"--set {' '.join(items)}: a value is no YAML") from None

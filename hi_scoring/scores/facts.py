"""The description stored with head scores. Owns reading it without the scores and without heavy imports."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from datasetkit.core.errors import RecipeError
from datasetkit.hi_scoring.runs.facts import Count, Facts, ModelFacts, Size, read_facts

FACTS_NAME = "scores.json"
FORMAT = 1
WHAT, AGAIN = "head scores", "give a folder of `datasetkit score`, or score it again"


class ScoreFacts(Facts):
    """The description stored with head scores."""

    FORMAT: ClassVar[int | None] = FORMAT

    version: str
    environment: dict[str, Any]
    model: ModelFacts
    dataset: dict[str, Any]
    options: dict[str, Any]
    layers: Size
    heads: Size
    n: Count
    scores: list[str] = Field(min_length=1)
    record_ids: list[str] = Field(min_length=1)


def read_score_facts(folder: Path) -> dict[str, Any]:
    """Read the facts of finished scores.

    Raises:
        BuiltFolderError: they are missing, damaged, or in another format.

    """
    return read_facts(folder / FACTS_NAME, ScoreFacts, WHAT, AGAIN)


def check_shape(scored: tuple[int, int], model: tuple[int, int]) -> None:
    """Refuse scores of a model with other numbers of layers and heads.

    Raises:
        RecipeError: they differ.

    """
    if scored != model:
        raise RecipeError(
            f"the scores cover {scored[0]} layers of {scored[1]} heads, the model has {model[0]} of {model[1]}; "
            "give scores of this model"
        )

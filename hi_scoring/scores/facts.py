"""What head scores say of themselves. Owns how it is read without the scores, and without what computes with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from datasetkit.core.documents import read_json
from datasetkit.core.errors import BuiltFolderError, RecipeError

FACTS_NAME = "scores.json"
FORMAT = 1


def read_facts(folder: Path) -> dict[str, Any]:
    """Read the facts of finished scores.

    Raises:
        BuiltFolderError: there are none, or they are of another format.

    """
    try:
        facts = read_json(folder / FACTS_NAME)
    except FileNotFoundError as error:
        told = f"{FACTS_NAME} is missing" if folder.is_dir() else "there is no such folder"
        raise BuiltFolderError(
            f"{folder} holds no finished head scores: {told}; give a folder of `datasetkit score`, or score it again"
        ) from error
    except ValueError as error:
        raise BuiltFolderError(f"{folder / FACTS_NAME} is not JSON: {error}; score it again") from error
    found = facts.get("format") if isinstance(facts, dict) else None
    if found != FORMAT:
        raise BuiltFolderError(f"{folder} holds head scores of format {found}; this datasetkit reads format {FORMAT}")
    return dict(facts)


def check_shape(scored: tuple[int, int], model: tuple[int, int]) -> None:
    """Refuse scores of another model by its layers and heads.

    Raises:
        RecipeError: they differ.

    """
    if scored != model:
        raise RecipeError(
            f"the scores are those of {scored[0]} layers of {scored[1]} heads, the model has {model[0]} of {model[1]}; "
            "give scores of this model"
        )

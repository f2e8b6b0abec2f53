"""Options of head scores. Owns their names, ranges and defaults; results say which were used."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field, field_validator

from datasetkit.options.base import Options

Positions = Literal["response", "phrase", "last", "generated"]
Binarisation = Literal["top_area", "mean", "quantile", "otsu"]

BINARISATIONS: tuple[Binarisation, ...] = get_args(Binarisation)


class ScoreOptions(Options):
    """How heads are scored. The abstracts of the papers leave each of these open; the defaults are ours.

    Args:
        positions: whose attention is scored: the tokens of the given ``response``, of the object's ``phrase``, the
            ``last`` token of the prompt, or the tokens that the model itself ``generated``.
        convention: which row is a token's: ``predicting`` takes the row before it, which produces the token; ``at``
            takes its own. The last token of the prompt is always its own row.
        binarisation: which of a view's tokens a head looks at, for the binary HI: as many as the mask has
            (``top_area``), those above the view's mean (``mean``), those above its quantile (``quantile``), or those
            above Otsu's threshold (``otsu``).
        quantile: for the binarisation of that name.
        coverage_min: share of a token's picture area that must lie in an object's mask for the token to be the
            object's; the best-covered token is taken where none reaches it.
        evidence: whether tokens count as evidence whole (``binary``) or by the share that is covered (``coverage``).
        prompt: what the model is asked.
        max_new_tokens: how much the model may write where ``generated`` is among the positions.

    """

    positions: tuple[Positions, ...] = Field(default=("response", "phrase", "last"), min_length=1)
    convention: Literal["predicting", "at"] = "predicting"
    binarisation: Binarisation = "top_area"
    quantile: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.9
    coverage_min: Annotated[float, Field(gt=0.0, le=1.0)] = 0.5
    evidence: Literal["binary", "coverage"] = "binary"
    prompt: str = Field(default="Describe the picture.", min_length=1)
    max_new_tokens: int = Field(default=64, ge=1)

    @field_validator("positions")
    @classmethod
    def _each_once(cls, positions: tuple[Positions, ...]) -> tuple[Positions, ...]:
        if len(set(positions)) != len(positions):
            raise ValueError(f"positions are {', '.join(positions)}; name each of them once")
        return positions

"""What is measured: the dense model, and plans that keep CoRe heads or as many random ones. Owns which these are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from datasetkit.core.detections import ModelIdentity
from datasetkit.hi_scoring.scores.results import HeadScores
from datasetkit.hi_scoring.selection import Selection, Selector
from datasetkit.hi_scoring.sparse.plan import SparsePlan
from datasetkit.options.base import Options, plain

DENSE, CORE, RANDOM = "dense", "core", "random"


class SparsityOptions(Options):
    """Which heads keep full attention, and what the others see; see :class:`SparsePlan`.

    Args:
        share: of all heads, that are kept; rounded up to a whole number.
        by: SCORE:POSITIONS that heads are ranked by.
        sink: first tokens that every row sees.
        window: tokens that a row sees up to itself.
        dense_above: share of pairs that sparse heads may see of a prompt before it stays dense.

    """

    share: float = Field(default=0.05, gt=0.0, le=0.5)
    by: str = "ram:response"
    sink: Annotated[int, Field(ge=0)] = 4
    window: Annotated[int, Field(ge=1)] = 128
    dense_above: float = Field(default=0.5, gt=0.0, le=1.0)


@dataclass(frozen=True)
class Condition:
    """A way of running the model.

    Args:
        group: the row of the table that it belongs to: ``dense``, ``core`` or ``random``.
        draw: number of the random set, from 0; None of the others.
        plan: None for the dense model.

    """

    group: str
    draw: int | None
    plan: SparsePlan | None

    @property
    def name(self) -> str:
        """What its folder is called."""
        return self.group if self.draw is None else f"{self.group}-{self.draw}"


def conditions_of(
    scores: HeadScores, model: ModelIdentity, shape: tuple[int, int], options: SparsityOptions, draws: int
) -> list[Condition]:
    """Give the dense model, the plan of its CoRe heads, and plans of as many random heads in the same layers.

    Args:
        scores: of the model's heads.
        model: which one it is.
        shape: its layers and heads.
        options: how many heads are kept, and what the others see.
        draws: random plans; fewer where fewer differ.

    Raises:
        RecipeError: the scores are of another model, have no such score, or rank too few heads for sets that differ.

    """
    scores.require(model)
    selector = Selector(shape, scores, options.by)
    kept = len(scores.core_heads(options.share, options.by))

    def planned(selection: Selection) -> SparsePlan:
        told = {"rule": selection.name, "share": options.share, "by": options.by, "scores": plain(scores.source)}
        sizes: dict[str, Any] = options.model_dump(include={"sink", "window", "dense_above"})
        return SparsePlan.keeping(selection.heads or (), model, shape, chosen=told, **sizes)

    core = selector.select(f"top-heads:{kept}")
    return [
        Condition(DENSE, None, None),
        Condition(CORE, None, planned(core)),
        *(Condition(RANDOM, number, planned(drawn)) for number, drawn in enumerate(selector.random_heads(kept, draws))),
    ]

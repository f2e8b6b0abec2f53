"""Conditions: the dense model, and plans that keep CoRe heads or as many random ones. Owns which these are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from datasetkit.core.detections import ModelIdentity
from datasetkit.hi_scoring.scores.results import HeadScores
from datasetkit.hi_scoring.selection import Selection, Selector
from datasetkit.hi_scoring.sparse.plan import SparsePlan
from datasetkit.options.base import plain
from datasetkit.options.heads import SparsityOptions

DENSE, CORE, RANDOM = "dense", "core", "random"


@dataclass(frozen=True)
class Condition:
    """A way of running the model.

    Args:
        draw: index of the random set, from 0; None for the others.
        plan: None for the dense model.

    """

    group: str
    draw: int | None
    plan: SparsePlan | None

    @property
    def name(self) -> str:
        """The name of its folder."""
        return self.group if self.draw is None else f"{self.group}-{self.draw}"


def conditions_of(
    scores: HeadScores, model: ModelIdentity, shape: tuple[int, int], options: SparsityOptions, draws: int
) -> list[Condition]:
    """Return the dense model, the plan of its CoRe heads, and plans of as many random heads in the same layers.

    There are fewer random plans than ``draws`` if fewer distinct ones exist.

    Raises:
        RecipeError: the scores belong to another model, lack this score, or rank too few heads for sets that differ.

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

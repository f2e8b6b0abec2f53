"""What is measured: the dense model, and plans that keep the CoRe heads or as many others. Owns which these are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, islice
from typing import Annotated, Any

from pydantic import Field

from datasetkit.models import ModelIdentity
from datasetkit.recipe.options import Options
from hi_scoring.scores.results import Head, HeadScores
from hi_scoring.selection import Selector
from hi_scoring.sparse.plan import SparsePlan

DENSE, CORE, RANDOM = "dense", "core", "random"
# Where draws are few that differ, most seeds draw one that was drawn before.
_TRIES = 20


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
    """Give the dense model, the plan of its CoRe heads, and plans of as many other heads in the same layers.

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

    def planned(rule: str, heads: tuple[Head, ...] | None) -> SparsePlan:
        told = {"rule": rule, "share": options.share, "by": options.by, "scores": scores.source}
        sizes: dict[str, Any] = options.model_dump(include={"sink", "window", "dense_above"})
        return SparsePlan.keeping(heads or (), model, shape, chosen=told, **sizes)

    core = selector.select(f"top-heads:{kept}")
    return [
        Condition(DENSE, None, None),
        Condition(CORE, None, planned(core.name, core.heads)),
        *(
            Condition(RANDOM, number, planned(name, heads))
            for number, (name, heads) in enumerate(islice(_drawn(selector, kept, draws), draws))
        ),
    ]


def _drawn(selector: Selector, size: int, draws: int) -> Iterator[tuple[str, tuple[Head, ...] | None]]:
    """Draw sets of heads that differ."""
    seen = set()
    for seed in islice(count(), _TRIES * draws):
        selection = selector.select(f"random-heads:{size}:{seed}")
        if selection.heads not in seen:
            seen.add(selection.heads)
            yield selection.name, selection.heads

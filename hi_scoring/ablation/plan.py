"""Trials: rankings, modes and doses, each with top, bottom and random heads. Owns which conditions these are.

Trials of the same heads in the same mode are one condition, whichever ranking or rule chose them, and are run once.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from datasetkit.core.errors import RecipeError
from datasetkit.hi_scoring.ablation.editors import Heads
from datasetkit.hi_scoring.ablation.rankings import Ranking
from datasetkit.hi_scoring.scores.results import Head
from datasetkit.hi_scoring.selection import Selection
from datasetkit.options.base import plain
from datasetkit.options.heads import AblationOptions, Mode

Rule = Literal["top", "bottom", "random"]
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Condition:
    """Heads, in ascending order, and the replacement of their outputs."""

    mode: Mode
    heads: tuple[Head, ...]

    @property
    def name(self) -> str:
        """The name of its file."""
        told = ",".join(f"{head.layer}.{head.head}" for head in self.heads)
        return f"{self.mode}-{len(self.heads)}-{hashlib.sha256(told.encode()).hexdigest()[:12]}"

    @property
    def by_layer(self) -> Heads:
        """The indices of the heads in each layer."""
        layers = sorted({head.layer for head in self.heads})
        return {layer: tuple(head.head for head in self.heads if head.layer == layer) for layer in layers}


@dataclass(frozen=True)
class Trial:
    """A condition, and its position in a dose curve.

    Args:
        rule: top, bottom, or random heads, with as many random heads in each layer as the top ones have there. Random
            heads may overlap with the top and bottom ones.
        draw: index of the random set, from 0; None for top and bottom.

    """

    ranking: str
    rule: Rule
    draw: int | None
    condition: Condition

    @property
    def heads(self) -> int:
        """The number of heads."""
        return len(self.condition.heads)


@dataclass(frozen=True)
class Plan:
    """All trials of a run.

    Args:
        shape: numbers of layers and heads of the model.
        trials: for every mode, ranking and dose, in this order.

    """

    rankings: tuple[Ranking, ...]
    options: AblationOptions
    shape: tuple[int, int]
    trials: tuple[Trial, ...]

    @classmethod
    def of(cls, rankings: Sequence[Ranking], options: AblationOptions, shape: tuple[int, int]) -> Plan:
        """Choose heads; doses that come to the same number of heads are merged.

        Raises:
            RecipeError: there is no ranking, a ranking is listed twice, or a dose leaves no room for top, bottom and
                random heads that differ.

        """
        names = [ranking.name for ranking in rankings]
        if not names or len(set(names)) < len(names):
            raise RecipeError(f"heads are ranked by {', '.join(names) or 'nothing'}; give one or more, each once")
        sizes = sorted({math.ceil(dose * math.prod(shape) - _ROUNDING) for dose in options.doses})
        chosen = [(ranking, list(_chosen(ranking, size, options))) for ranking in rankings for size in sizes]
        trials = tuple(
            Trial(ranking.name, rule, draw, Condition(mode, selection.heads or ()))
            for mode in options.modes
            for ranking, selections in chosen
            for rule, draw, selection in selections
        )
        return cls(tuple(rankings), options, shape, trials)

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "layers": self.shape[0],
            "heads": self.shape[1],
            "options": self.options.model_dump(mode="json"),
            "rankings": {ranking.name: plain(ranking.source) for ranking in self.rankings},
            "trials": [
                {
                    "ranking": trial.ranking,
                    "mode": trial.condition.mode,
                    "rule": trial.rule,
                    "draw": trial.draw,
                    "condition": trial.condition.name,
                    "heads": [list(head) for head in trial.condition.heads],
                }
                for trial in self.trials
            ],
        }


def _chosen(ranking: Ranking, size: int, options: AblationOptions) -> Iterator[tuple[Rule, int | None, Selection]]:
    selector = ranking.selector
    yield "top", None, selector.select(f"top-heads:{size}")
    yield "bottom", None, selector.select(f"bottom-heads:{size}")
    for number, selection in enumerate(selector.random_heads(size, options.draws, options.seed)):
        yield "random", number, selection

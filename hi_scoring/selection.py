"""Select layers or heads by a rule. Owns the rules, their syntax, and that selections can be compared.

Layers or heads with high scores are compared with as many with low scores and as many drawn at random. The comparison
is meaningful only if no two of these sets are equal and the first two are disjoint, so other selections are refused.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import count, islice, pairwise
from typing import TypeVar

import numpy as np

from datasetkit.core.errors import RecipeError, UnknownNameError
from datasetkit.hi_scoring.scores.facts import check_shape
from datasetkit.hi_scoring.scores.results import Head, HeadScores
from datasetkit.options.head_forms import RANKED, check_selection

# If only few draws differ, most seeds draw a set that was drawn before.
_TRIES = 20

_Item = TypeVar("_Item", int, Head)


@dataclass(frozen=True)
class Selection:
    """Whole layers, or heads in them.

    Args:
        name: the rule that chose them, in the notation of :meth:`Selector.select`.
        layers: ascending; not empty.
        heads: ascending, in exactly these layers; None for whole layers.

    Raises:
        RecipeError: layers or heads do not have this form.

    """

    name: str
    layers: tuple[int, ...]
    heads: tuple[Head, ...] | None = None

    def __post_init__(self) -> None:
        if not self.layers or min(self.layers) < 0 or not _is_rising(self.layers):
            raise RecipeError(f"{self.name} has layers {self.layers}; give at least one, ascending, from 0")
        if self.heads is None:
            return
        if not _is_rising(self.heads) or any(head.head < 0 for head in self.heads):
            raise RecipeError(f"{self.name} has heads {self.heads}; give them ascending, from 0")
        if self.layers != _layers_of(self.heads):
            raise RecipeError(f"{self.name} has heads in layers {_layers_of(self.heads)}, but layers {self.layers}")

    @classmethod
    def of_heads(cls, name: str, heads: Iterable[Head]) -> Selection:
        """Select heads, given in any order."""
        ascending = tuple(sorted(heads))
        return cls(name, _layers_of(ascending), ascending)

    def heads_in(self, layer: int) -> tuple[int, ...] | None:
        """Return the indices of the chosen heads of a layer, ascending; None for whole layers."""
        return None if self.heads is None else tuple(head.head for head in self.heads if head.layer == layer)


class Selector:
    """Chooses layers or heads of one model.

    Top and bottom are the two ends of one ranking, in which equal scores are ordered by layer and head; those without a
    score are left out. Random draws are from the same ranking. A draw of heads has as many heads in each layer as the
    top set of the same size, and no draw equals the top or the bottom set of its size.

    Args:
        shape: numbers of layers and heads of the model.
        scores: head scores of that model; None if no rule needs them.
        by: SCORE:POSITIONS to rank by.
        reduce: how a layer's score follows from its heads; see :meth:`HeadScores.layers_table`.

    Raises:
        RecipeError: the scores belong to a model of another shape, or lack this score.

    """

    def __init__(
        self,
        shape: tuple[int, int],
        scores: HeadScores | None = None,
        by: str = "hi:response",
        reduce: str | int = "mean",
    ) -> None:
        self._shape = shape
        self._by = by
        self._has_scores = scores is not None
        self._layers: list[int] = []
        self._heads: list[Head] = []
        if scores is None:
            return
        check_shape(scores.shape, shape)
        try:
            self._layers = scores.layers(shape[0], by, reduce)
            self._heads = scores.top(math.prod(shape), by)
        except UnknownNameError as error:
            raise RecipeError(str(error)) from error

    def select(self, text: str) -> Selection:
        """Return the selection for one of ``SELECTIONS``.

        Args:
            text: such as ``top-layers:4``, ``random-heads:20:0`` (the seed comes last) or ``layers:1,5,9``.

        Returns:
            the selection, whose name is ``text`` in normal form: plain numbers, listed layers ascending.

        Raises:
            RecipeError: the text has an unknown form; it needs scores, and there are none; its number leaves no room
                for top, bottom and random sets that differ; or its layers are not in the model.

        """
        check_selection(text, needs_seed=True)
        if match := RANKED.fullmatch(text):
            seed = match["seed"]
            return self._ranked(match["rule"], match["unit"], int(match["k"]), None if seed is None else int(seed))
        if text == "all":
            return Selection(text, tuple(range(self._shape[0])))
        layers = sorted(int(number) for number in text.partition(":")[2].split(","))
        name = f"layers:{','.join(map(str, layers))}"
        if not _is_rising(layers) or layers[-1] >= self._shape[0]:
            raise RecipeError(f"{name} is impossible; give each layer once, from 0 to {self._shape[0] - 1}")
        return Selection(name, tuple(layers))

    def random_heads(self, k: int, draws: int, seed: int = 0) -> list[Selection]:
        """Draw distinct sets of heads.

        Args:
            k: number of heads per set.
            draws: number of sets; fewer are returned if fewer distinct sets exist.
            seed: seed of the first draw; the following draws use the next seeds, and repeated sets are left out.

        Raises:
            RecipeError: see :meth:`select`.

        """
        drawn: dict[tuple[Head, ...] | None, Selection] = {}
        for number in islice(count(seed), _TRIES * draws):
            selection = self.select(f"random-heads:{k}:{number}")
            drawn.setdefault(selection.heads, selection)
            if len(drawn) == draws:
                break
        return list(drawn.values())

    def _ranked(self, rule: str, unit: str, k: int, seed: int | None = None) -> Selection:
        name = f"{rule}-{unit}:{k}" if seed is None else f"{rule}-{unit}:{k}:{seed}"
        if not self._has_scores:
            raise RecipeError(f"{name} needs head scores; give those of the model, or select all or layers:1,5")
        told = f"{name} by {self._by}"
        if unit == "layers":
            return Selection(name, tuple(sorted(_chosen(self._layers, rule, k, seed, told, lambda _: 0))))
        return Selection.of_heads(name, _chosen(self._heads, rule, k, seed, told, lambda head: head.layer))


def _chosen(
    ranked: Sequence[_Item], rule: str, k: int, seed: int | None, name: str, stratum: Callable[[_Item], int]
) -> Sequence[_Item]:
    """Choose k of those ranked: the first, the last, or random ones, as many in each stratum as the first have."""
    if not 1 <= k <= len(ranked) // 2:
        possible = f"1 to {len(ranked) // 2}" if len(ranked) > 1 else "none"
        raise RecipeError(
            f"{name} asks for {k}; {len(ranked)} have a score, so {possible} can be chosen such that the highest and "
            "the lowest do not overlap"
        )
    top, bottom = ranked[:k], ranked[-k:]
    if rule == "random":
        return _drawn(ranked, (top, bottom), np.random.default_rng(seed), name, stratum)
    return top if rule == "top" else bottom


def _drawn(
    ranked: Sequence[_Item],
    ends: tuple[Sequence[_Item], Sequence[_Item]],
    random: np.random.Generator,
    name: str,
    stratum: Callable[[_Item], int],
) -> list[_Item]:
    pools: dict[int, list[_Item]] = defaultdict(list)
    for item in sorted(ranked):
        pools[stratum(item)].append(item)
    counts = Counter(stratum(item) for item in ends[0])
    taken = [set(end) for end in ends if Counter(stratum(item) for item in end) == counts]
    if math.prod(math.comb(len(pools[key]), count) for key, count in counts.items()) <= len(taken):
        raise RecipeError(
            f"{name} has nothing to draw: every set with as many per layer is the highest or the lowest one; "
            "give another number"
        )
    while True:
        drawn = [
            pools[key][place]
            for key, count in sorted(counts.items())
            for place in random.choice(len(pools[key]), size=count, replace=False).tolist()
        ]
        if set(drawn) not in taken:
            return drawn


def _layers_of(heads: Iterable[Head]) -> tuple[int, ...]:
    return tuple(sorted({head.layer for head in heads}))


def _is_rising(items: Sequence[_Item]) -> bool:
    return all(first < second for first, second in pairwise(items))

"""Trials: selections times seeds. Owns the names of trials and of the table rows that report them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from datasetkit.core.errors import RecipeError
from datasetkit.hi_scoring.selection import Selection, Selector
from datasetkit.options.head_forms import RANKED

UNTUNED = "untuned"
_RULES = ("top", "random", "bottom")
_IN_FILE_NAMES = str.maketrans(":,", "--")


@dataclass(frozen=True)
class Trial:
    """One cell.

    Args:
        group: the row of the table that it belongs to: the name of a selection, without the seed if it is drawn again
            for each; or ``untuned``.
        selection: what is tuned; None for the untuned model.

    """

    group: str
    selection: Selection | None
    seed: int

    @property
    def name(self) -> str:
        """The name of its folder."""
        return (
            UNTUNED if self.selection is None else f"{self.selection.name.translate(_IN_FILE_NAMES)}--seed-{self.seed}"
        )


def trials_of(selections: Sequence[str], seeds: Sequence[int], selector: Selector) -> list[Trial]:
    """Return the trial of the untuned model, then those of every selection and seed, seed by seed.

    Args:
        selections: each as :class:`Selector` reads it; ``random-layers:K`` and ``random-heads:K`` without a seed are
            drawn again for each of the seeds.
        seeds: training seeds.
        selector: the selector for the model and its head scores.

    Raises:
        RecipeError: a selection is not possible, or listed twice.

    """
    for what, given in (("selection", selections), ("seed", seeds)):
        if not given or len(set(given)) < len(given):
            raise RecipeError(f"{what}s are {', '.join(map(str, given)) or 'none'}; give one or more, each once")
    tuned = [_trial(text, seed, selector) for seed in seeds for text in selections]
    groups: dict[str, str] = {}
    for trial in tuned:
        if trial.name in groups:
            raise RecipeError(
                f"{groups[trial.name]} and {trial.group} select the same with seed {trial.seed}; give one of them"
            )
        groups[trial.name] = trial.group
    return [Trial(UNTUNED, None, 0), *tuned]


def _trial(text: str, seed: int, selector: Selector) -> Trial:
    match = RANKED.fullmatch(text)
    is_drawn_anew = match is not None and match["rule"] == "random" and match["seed"] is None
    selection = selector.select(f"{text}:{seed}" if is_drawn_anew else text)
    return Trial(selection.name.rpartition(":")[0] if is_drawn_anew else selection.name, selection, seed)


def group_order(group: str) -> tuple[str, int, int, str]:
    """Return the sort key of a table row: unit, number, then top, random and bottom; other selections last."""
    match = RANKED.fullmatch(group)
    if match is None:
        return "others", 0, 0, group
    return match["unit"], int(match["k"]), _RULES.index(match["rule"]), group

"""What ablations say, in numbers. Owns the dose curves, and the contrasts that tell whether a ranking means something.

A ranking means something only where taking out its highest heads does something else than taking out as many random
ones of the same layers. So that, and nothing else, is tested: the lowest heads often stand in other layers, and their
curve tells of these as well.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from hi_scoring.ablation.plan import Rule, Trial
from hi_scoring.evaluation.metrics import METRICS, Measured, find_metric
from hi_scoring.evaluation.shifts import DRAWS, Cell, Estimate, contrast, shift
from hi_scoring.statistics import holm
from hi_scoring.verdicts import FAILS, HOLDS, LEVEL, OPEN

# Of each test, so that the lowest p-value there is, corrected for all of them, is half of LEVEL.
_DRAWS_PER_TEST = 4 / LEVEL


@dataclass(frozen=True)
class _Dose:
    """All trials of one number of heads in one mode."""

    ranking: str
    mode: str
    heads: int
    trials: tuple[Trial, ...]

    def of(self, rule: Rule) -> tuple[Trial, ...]:
        return tuple(trial for trial in self.trials if trial.rule == rule)

    def shared(self, trials: Sequence[Trial]) -> float:
        """Count the heads that are among the top ones, too, on average over trials."""
        top = set(self.of("top")[0].condition.heads)
        return float(np.mean([len(top & set(trial.condition.heads)) for trial in trials]))


class Effects:
    """What was measured of all trials, beside the model as it was.

    Args:
        unablated: the model as it was.
        trials: of the plan.
        measured: of each condition, by its name.
        shape: layers and heads of the model.

    """

    def __init__(
        self, unablated: Measured, trials: Sequence[Trial], measured: Mapping[str, Measured], shape: tuple[int, int]
    ) -> None:
        self._unablated = unablated
        self._measured = measured
        self._all_heads = math.prod(shape)
        self._metrics = [name for name in METRICS if name in unablated.statistics]
        keys = dict.fromkeys((trial.ranking, trial.condition.mode, trial.heads) for trial in trials)
        self._doses = [
            _Dose(*key, tuple(one for one in trials if (one.ranking, one.condition.mode, one.heads) == key))
            for key in keys
        ]
        self._shifts: dict[tuple[str, ...], Estimate] = {}

    def curves(self) -> pd.DataFrame:
        """Give one row for each dose, rule and metric, and for each random draw.

        Returns:
            columns ranking, mode, heads, share (of all heads), rule (top, bottom, random), draw (null where the row
            is of all draws together, and for top and bottom), runs (conditions that the row is of), shared (how many
            of the heads are among the top ones, mean over runs), metric, n (samples with a value), unablated (figure
            of the model as it was), figure (mean over runs), spread (standard deviation over runs, NaN of fewer than
            two), shift of the figure with low, high (95 %) and p. These p-values are not corrected.

        """
        table = pd.DataFrame([row for dose in self._doses for row in self._curve_rows(dose)])
        return table.astype({"draw": "Int64"})

    def contrasts(self) -> pd.DataFrame:
        """Give one row for each ranking, mode, dose and metric: top heads less the mean of matched random draws.

        Returns:
            columns ranking, mode, heads, share, metric, top and random (their shifts), difference with low, high
            (95 %) and p; p_holm, corrected for all rows of the ranking; worse, whether the difference is to the worse.

        """
        tests = len(self._doses) * len(self._metrics) // len({dose.ranking for dose in self._doses})
        draws = max(DRAWS, math.ceil(_DRAWS_PER_TEST * tests))
        table = pd.DataFrame([self._contrast(dose, metric, draws) for dose in self._doses for metric in self._metrics])
        table["p_holm"] = np.nan
        for _, rows in table[table["p"].notna()].groupby("ranking", sort=False):
            table.loc[rows.index, "p_holm"] = holm(rows["p"].to_numpy(float))
        return table

    def _curve_rows(self, dose: _Dose) -> Iterator[dict[str, object]]:
        drawn = dose.of("random")
        for trials in (dose.of("top"), dose.of("bottom"), drawn, *((trial,) for trial in drawn)):
            draw = trials[0].draw if trials is not drawn else None
            for metric in self._metrics:
                yield self._curve_row(dose, trials, draw, metric)

    def _curve_row(self, dose: _Dose, trials: Sequence[Trial], draw: int | None, metric: str) -> dict[str, object]:
        cell = self._cell(trials)
        figures = [run.figure(metric) for run in cell.tuned]
        estimate = self._shift(trials, metric)
        return {
            **self._place(dose),
            "rule": trials[0].rule,
            "draw": draw,
            "runs": len(trials),
            "shared": dose.shared(trials),
            "metric": metric,
            "n": min(run.n(metric) for run in cell.tuned),
            "unablated": self._unablated.figure(metric),
            "figure": float(np.mean(figures)),
            "spread": float(np.std(figures, ddof=1)) if len(figures) > 1 else np.nan,
            "shift": estimate.value,
            **_interval(estimate),
        }

    def _contrast(self, dose: _Dose, metric: str, draws: int) -> dict[str, object]:
        first, second = self._cell(dose.of("top")), self._cell(dose.of("random"))
        estimate = contrast(metric, first, second, draws)
        return {
            **self._place(dose),
            "metric": metric,
            "top": first.shift(metric),
            "random": second.shift(metric),
            "difference": estimate.value,
            **_interval(estimate),
            "worse": estimate.value < 0 if find_metric(metric).higher_is_better else estimate.value > 0,
        }

    def _place(self, dose: _Dose) -> dict[str, object]:
        return {
            "ranking": dose.ranking,
            "mode": dose.mode,
            "heads": dose.heads,
            "share": dose.heads / self._all_heads,
        }

    def _shift(self, trials: Sequence[Trial], metric: str) -> Estimate:
        """Estimate the shift of conditions; those that rankings have in common are estimated once."""
        key = (metric, *(trial.condition.name for trial in trials))
        if key not in self._shifts:
            self._shifts[key] = shift(metric, self._cell(trials))
        return self._shifts[key]

    def _cell(self, trials: Sequence[Trial]) -> Cell:
        return Cell(self._unablated, [self._measured[trial.condition.name] for trial in trials])


def _interval(estimate: Estimate) -> dict[str, float]:
    return {"low": estimate.low, "high": estimate.high, "p": estimate.p_value}


@dataclass(frozen=True)
class Verdict:
    """What the contrasts say of one ranking.

    Args:
        ranking: which.
        answer: ``holds`` where the top heads' shift is significantly to the worse of random ones' somewhere, and
            nowhere to the better; ``does not hold`` where it is to the better somewhere, and at most as often to the
            worse; else ``cannot be told``.
        worse: contrasts in which the top heads' shift is significantly to the worse.
        better: contrasts in which it is significantly to the better.
        tested: how many contrasts there are.

    """

    ranking: str
    answer: str
    worse: int
    better: int
    tested: int


def verdicts(contrasts: pd.DataFrame) -> list[Verdict]:
    """Say of each ranking whether its top heads matter more than random ones of the same layers."""
    found = []
    for ranking, rows in contrasts.groupby("ranking", sort=False):
        sure = rows["p_holm"] < LEVEL
        worse, better = int((sure & rows["worse"]).sum()), int((sure & ~rows["worse"]).sum())
        answer = OPEN
        if better and better >= worse:
            answer = FAILS
        elif worse and not better:
            answer = HOLDS
        found.append(Verdict(str(ranking), answer, worse, better, int(rows["p_holm"].notna().sum())))
    return found

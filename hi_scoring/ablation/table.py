"""Numbers of an ablation. Owns the dose curves, and the contrasts that show whether a ranking is meaningful.

A ranking is meaningful only if ablating its top heads has a different effect than ablating as many random heads of the
same layers. This is the only thing tested: the bottom heads are often in other layers, so their curve reflects the
layers as well.

Heads differ, so every set of heads differs from the mean of other sets, however it was chosen: with enough samples,
even a random ranking differs significantly from that mean. A contrast therefore counts only if two conditions hold (an
intersection-union test; Berger, "Multiparameter Hypothesis Testing and Acceptance Sampling", 1982: its p-value is the
larger one). The top set must be outside the spread of random sets, as if it were not one of them; and its difference
from their mean must exceed the noise of samples. Random rankings of simulated heads, compared with ten random sets,
then get a definite verdict in 2 to 8 % of cases; compared with the mean only, in 40 to 90 %. Of many metrics one
differs by chance, so a ranking is judged by one metric that is named beforehand: the probability of the right answer,
which every change of the logits affects; CIDEr where there are no questions.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from datasetkit.hi_scoring.ablation.plan import Rule, Trial
from datasetkit.hi_scoring.evaluation.metrics import METRICS, Measured, find_metric
from datasetkit.hi_scoring.evaluation.shifts import Cell, Estimate, contrast, shift
from datasetkit.hi_scoring.statistics import DRAWS, LEVEL, answer_of, holm, p_as_drawn

# Draws of each test, chosen so that the lowest possible p-value, corrected for all tests, is half of LEVEL.
_DRAWS_PER_TEST = 4 / LEVEL
# A ranking is judged by the first of these metrics that was measured.
_JUDGING = ("answer_probability", "cider", *METRICS)


@dataclass(frozen=True)
class _Dose:
    """All trials with one number of heads in one mode."""

    ranking: str
    mode: str
    heads: int
    trials: tuple[Trial, ...]

    def of(self, rule: Rule) -> tuple[Trial, ...]:
        return tuple(trial for trial in self.trials if trial.rule == rule)

    def shared(self, trials: Sequence[Trial]) -> float:
        """Return how many heads are also among the top ones, as a mean over trials."""
        top = set(self.of("top")[0].condition.heads)
        return float(np.mean([len(top & set(trial.condition.heads)) for trial in trials]))


class Effects:
    """The measurements of all trials, compared with the unablated model.

    Args:
        measured: the measurements of each condition, by its name.

    """

    def __init__(
        self, unablated: Measured, trials: Sequence[Trial], measured: Mapping[str, Measured], shape: tuple[int, int]
    ) -> None:
        self._unablated = unablated
        self._measured = measured
        self._all_heads = math.prod(shape)
        self._shown = unablated.metrics
        self._tested = [name for name in self._shown if name in METRICS]
        keys = dict.fromkeys((trial.ranking, trial.condition.mode, trial.heads) for trial in trials)
        self._doses = [
            _Dose(*key, tuple(one for one in trials if (one.ranking, one.condition.mode, one.heads) == key))
            for key in keys
        ]
        tests = max(Counter(dose.ranking for dose in self._doses).values())
        self._draws = max(DRAWS, math.ceil(_DRAWS_PER_TEST * tests))
        self._shifts: dict[tuple[str, ...], Estimate] = {}

    def curves(self) -> pd.DataFrame:
        """Return one row for each dose, rule and metric, and for each random draw.

        Returns:
            columns ranking, mode, heads, share (of all heads), rule (top, bottom, random), draw (null for the mean of
            all draws, and for top and bottom), runs (number of conditions in the row), shared (how many of the heads
            are also among the top ones, mean over runs), metric, n (samples with a value), unablated (figure of the
            unablated model), figure (mean over runs), spread (standard deviation over runs, NaN for fewer than two),
            shift of the figure with low, high (95 %) and p. These p-values are not corrected. Metrics are those of
            ``METRICS`` and ``accuracy:TYPE``.

        """
        rows = []
        for dose in self._doses:
            drawn = dose.of("random")
            for trials in (dose.of("top"), dose.of("bottom"), drawn, *((trial,) for trial in drawn)):
                draw = trials[0].draw if trials is not drawn else None
                rows += [self._curve_row(dose, trials, draw, metric) for metric in self._shown]
        return pd.DataFrame(rows).astype({"draw": "Int64"})

    def contrasts(self) -> pd.DataFrame:
        """Return one row for each ranking, mode, dose and metric: top heads minus the mean of matched random sets.

        Returns:
            columns ranking, mode, heads, share, metric (of ``METRICS``; types of questions are shown, but not tested),
            top and random (their shifts); difference with low, high (95 %) and p, of these top heads from the mean of
            random ones, on other samples and with other draws; p_sets, the p-value of the top set being one more random
            set, see :func:`datasetkit.hi_scoring.statistics.p_as_drawn`; worse, whether the difference is for the
            worse; p_holm, the larger of p and p_sets, corrected for all modes and doses of the same ranking and metric,
            NaN where either is, as with fewer than two random sets.

        """
        table = pd.DataFrame([self._contrast(dose, metric) for dose in self._doses for metric in self._tested])
        larger = table[["p", "p_sets"]].max(axis=1, skipna=False)
        table["p_holm"] = np.nan
        for _, rows in table[larger.notna()].groupby(["ranking", "metric"], sort=False):
            table.loc[rows.index, "p_holm"] = holm(larger[rows.index].to_numpy(float))
        return table

    def _curve_row(self, dose: _Dose, trials: Sequence[Trial], draw: int | None, metric: str) -> dict[str, object]:
        cell = self._cell(trials)
        figures = [run.figure(metric) for run in cell.runs]
        # Cells that rankings share are estimated once.
        key = (metric, *(trial.condition.name for trial in trials))
        if key not in self._shifts:
            self._shifts[key] = shift(metric, cell, self._draws)
        estimate = self._shifts[key]
        return {
            **self._place(dose),
            "rule": trials[0].rule,
            "draw": draw,
            "runs": len(trials),
            "shared": dose.shared(trials),
            "metric": metric,
            "n": min(run.n(metric) for run in cell.runs),
            "unablated": self._unablated.figure(metric),
            "figure": float(np.mean(figures)),
            "spread": float(np.std(figures, ddof=1)) if len(figures) > 1 else np.nan,
            "shift": estimate.value,
            **_interval(estimate),
        }

    def _contrast(self, dose: _Dose, metric: str) -> dict[str, object]:
        first, second = self._cell(dose.of("top")), self._cell(dose.of("random"))
        estimate = contrast(metric, first, second, self._draws)
        return {
            **self._place(dose),
            "metric": metric,
            "top": first.shift(metric),
            "random": second.shift(metric),
            "difference": estimate.value,
            **_interval(estimate),
            "p_sets": p_as_drawn(first.shift(metric), second.shifts(metric)),
            "worse": estimate.value < 0 if find_metric(metric).higher_is_better else estimate.value > 0,
        }

    def _place(self, dose: _Dose) -> dict[str, object]:
        return {
            "ranking": dose.ranking,
            "mode": dose.mode,
            "heads": dose.heads,
            "share": dose.heads / self._all_heads,
        }

    def _cell(self, trials: Sequence[Trial]) -> Cell:
        return Cell(self._unablated, [self._measured[trial.condition.name] for trial in trials])


def _interval(estimate: Estimate) -> dict[str, float]:
    return {"low": estimate.low, "high": estimate.high, "p": estimate.p_value}


@dataclass(frozen=True)
class Verdict:
    """The verdict of the contrasts on one ranking.

    Args:
        ranking: name of the ranking.
        metric: the metric that it is judged by: the probability of the right answer where it was measured, else CIDEr,
            else the first of ``METRICS`` that was measured.
        answer: ``holds`` if the top heads' shift is significantly worse than that of random heads somewhere, and
            nowhere better; ``does not hold`` if it is better somewhere, and worse at most as often; else ``cannot be
            told``.
        worse: number of contrasts of that metric in which the top heads' shift is significantly worse.
        better: number of those in which it is significantly better.
        tested: number of contrasts tested.

    """

    ranking: str
    metric: str
    answer: str
    worse: int
    better: int
    tested: int


def verdicts(contrasts: pd.DataFrame) -> list[Verdict]:
    """Return for each ranking whether its top heads matter more than random heads of the same layers."""
    found = []
    for ranking, of_ranking in contrasts.groupby("ranking", sort=False):
        metric = next(name for name in _JUDGING if name in set(of_ranking["metric"]))
        rows = of_ranking[of_ranking["metric"] == metric]
        sure = rows["p_holm"] < LEVEL
        worse, better = int((sure & rows["worse"]).sum()), int((sure & ~rows["worse"]).sum())
        tested = int(rows["p_holm"].notna().sum())
        found.append(Verdict(str(ranking), metric, answer_of(worse, better), worse, better, tested))
    return found

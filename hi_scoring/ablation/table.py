"""What ablations say, in numbers. Owns the dose curves, and the contrasts that tell whether a ranking means something.

A ranking means something only where taking out its highest heads does something else than taking out as many random
ones of the same layers. So that, and nothing else, is tested: the lowest heads often stand in other layers, and their
curve tells of these as well.

Heads differ, so every set of them differs from the mean of others, whoever chose it: with samples enough, even a
ranking by dice is told from that mean. So a contrast counts only where two things hold (an intersection-union test;
Berger, "Multiparameter Hypothesis Testing and Acceptance Sampling", 1982: its p-value is the larger one). The top set
must be beyond the spread of random sets, as if it were none of them; and its difference from their mean must be beyond
the noise of samples. Rankings by dice of simulated heads, held against ten random sets, then get a definite verdict in
2 to 8 % of cases; against the mean alone, in 40 to 90 %. Of many metrics one differs by chance, so a ranking is judged
by one that is named beforehand: the probability of the right answer, to which every change of the logits is visible;
where nothing is asked, CIDEr.
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

# Of each test, so that the lowest p-value there is, corrected for all of them, is half of LEVEL.
_DRAWS_PER_TEST = 4 / LEVEL
# The first of these that was measured judges a ranking.
_JUDGING = ("answer_probability", "cider", *METRICS)


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
        measured: of each condition, by its name.

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
        """Give one row for each dose, rule and metric, and for each random draw.

        Returns:
            columns ranking, mode, heads, share (of all heads), rule (top, bottom, random), draw (null where the row
            is of all draws together, and for top and bottom), runs (conditions that the row is of), shared (how many
            of the heads are among the top ones, mean over runs), metric, n (samples with a value), unablated (figure
            of the model as it was), figure (mean over runs), spread (standard deviation over runs, NaN of fewer than
            two), shift of the figure with low, high (95 %) and p. These p-values are not corrected. Metrics are those
            of ``METRICS`` and ``accuracy:TYPE``.

        """
        rows = []
        for dose in self._doses:
            drawn = dose.of("random")
            for trials in (dose.of("top"), dose.of("bottom"), drawn, *((trial,) for trial in drawn)):
                draw = trials[0].draw if trials is not drawn else None
                rows += [self._curve_row(dose, trials, draw, metric) for metric in self._shown]
        return pd.DataFrame(rows).astype({"draw": "Int64"})

    def contrasts(self) -> pd.DataFrame:
        """Give one row for each ranking, mode, dose and metric: top heads less the mean of matched random sets.

        Returns:
            columns ranking, mode, heads, share, metric (of ``METRICS``; types of questions explain, they are not
            tested), top and random (their shifts); difference with low, high (95 %) and p, of these top heads from the
            mean of random ones, on other samples and with other draws; p_sets, whether the top set could be one more
            random set, see :func:`datasetkit.hi_scoring.statistics.p_as_drawn`; worse, whether the difference is to the
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
        # What rankings have in common is estimated once.
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
    """What the contrasts say of one ranking.

    Args:
        ranking: which.
        metric: that it is judged by: the probability of the right answer where it was measured, else CIDEr, else the
            first that was of ``METRICS``.
        answer: ``holds`` where the top heads' shift is significantly to the worse of random ones' somewhere, and
            nowhere to the better; ``does not hold`` where it is to the better somewhere, and at most as often to the
            worse; else ``cannot be told``.
        worse: contrasts of that metric in which the top heads' shift is significantly to the worse.
        better: those in which it is significantly to the better.
        tested: how many there are.

    """

    ranking: str
    metric: str
    answer: str
    worse: int
    better: int
    tested: int


def verdicts(contrasts: pd.DataFrame) -> list[Verdict]:
    """Say of each ranking whether its top heads matter more than random ones of the same layers."""
    found = []
    for ranking, of_ranking in contrasts.groupby("ranking", sort=False):
        metric = next(name for name in _JUDGING if name in set(of_ranking["metric"]))
        rows = of_ranking[of_ranking["metric"] == metric]
        sure = rows["p_holm"] < LEVEL
        worse, better = int((sure & rows["worse"]).sum()), int((sure & ~rows["worse"]).sum())
        tested = int(rows["p_holm"].notna().sum())
        found.append(Verdict(str(ranking), metric, answer_of(worse, better), worse, better, tested))
    return found

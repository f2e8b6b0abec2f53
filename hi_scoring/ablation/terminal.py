"""Ablations as tables in the terminal. Owns their columns; all numbers are in the files."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd
from rich.table import Table

from datasetkit.hi_scoring.ablation.results import Ablations
from datasetkit.hi_scoring.ablation.table import verdicts
from datasetkit.hi_scoring.evaluation.metrics import find_metric
from datasetkit.hi_scoring.report.tables import plain_table
from datasetkit.hi_scoring.report.text import signed
from datasetkit.hi_scoring.statistics import LEVEL

MARK = "*"
# The others are in the files.
_SHOWN = ("answer_probability", "accuracy", "key_recall", "cider")
_RULES = ("top", "bottom", "random")


def ablation_tables(found: Ablations) -> Iterator[Table]:
    """Give the tables that ``datasetkit ablate`` ends with: a dose curve for each ranking and mode, and verdicts."""
    whole, asked_for = found.curves[found.curves["draw"].isna()], found.facts["options"]["draws"]
    for (ranking, mode), curve in whole.groupby(["ranking", "mode"], sort=False):
        contrasts = found.contrasts
        tested = contrasts[(contrasts["ranking"] == ranking) & (contrasts["mode"] == mode)]
        yield _curve(f"{mode} ablation of heads by {ranking}", curve, tested, asked_for)
    yield _verdicts(found.contrasts)


def _curve(title: str, curve: pd.DataFrame, tested: pd.DataFrame, asked_for: int) -> Table:
    told = f"shifts from the model as it was; {MARK} top is beyond noise and random sets, p < {LEVEL} (Holm)"
    table = plain_table(title, told)
    table.add_column("metric")
    table.add_column("heads", no_wrap=True)
    doses = list(dict.fromkeys(curve["heads"]))
    for heads in doses:
        table.add_column(f"{heads:,}", justify="right", no_wrap=True)
    shifts = curve.set_index(["metric", "rule", "heads"])["shift"]
    corrected = tested.set_index(["metric", "heads"])["p_holm"]
    for metric in (name for name in _SHOWN if name in set(curve["metric"])):
        for rule in _RULES:
            marks = [MARK if rule == "top" and corrected[metric, heads] < LEVEL else " " for heads in doses]
            cells = [f"{signed(shifts[metric, rule, heads])}{mark}" for heads, mark in zip(doses, marks, strict=True)]
            table.add_row(find_metric(metric).label if rule == _RULES[0] else "", rule, *cells)
    drawn = curve[curve["rule"] == "random"].drop_duplicates("heads").set_index("heads")
    table.add_row(f"sets that differ, of {asked_for:,}", "random", *(f"{drawn['runs'][heads]:,} " for heads in doses))
    table.add_row("heads that are top, too", "random", *(f"{drawn['shared'][heads]:,.1f} " for heads in doses))
    return table


def _verdicts(contrasts: pd.DataFrame) -> Table:
    judged = verdicts(contrasts)
    table = plain_table(
        "top heads matter more than random heads of the same layers",
        f"judged by: {find_metric(judged[0].metric).label}",
    )
    table.add_column("ranking")
    table.add_column("")
    for name in ("worse", "better", "tested"):
        table.add_column(name, justify="right")
    for verdict in judged:
        table.add_row(
            verdict.ranking, verdict.answer, f"{verdict.worse:,}", f"{verdict.better:,}", f"{verdict.tested:,}"
        )
    return table

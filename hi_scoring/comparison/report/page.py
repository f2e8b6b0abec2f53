"""The page of a comparison, one self-contained file. Owns what is on it; numbers come from the summary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from datasetkit.core.text import counted
from datasetkit.hi_scoring.comparison.cells import TEST
from datasetkit.hi_scoring.comparison.compare import Comparison
from datasetkit.hi_scoring.comparison.report.conclusions import Conclusion, conclusions, no_conclusion
from datasetkit.hi_scoring.comparison.report.figures import final_figures, forest, main_metrics, trade_off
from datasetkit.hi_scoring.comparison.report.glossary import MARK, explained, heading_of, mark_sentence, method
from datasetkit.hi_scoring.comparison.report.predictions import Asked
from datasetkit.hi_scoring.comparison.report.summary import (
    contrast_tables,
    fewest_samples,
    group_rows,
    lead,
    metrics_of,
    settings,
    tests_of,
    tuned_rows,
    types_of,
)
from datasetkit.hi_scoring.report import pages
from datasetkit.hi_scoring.statistics import FAILS, HOLDS, LEVEL, OPEN
from datasetkit.runtime.checkpoints import PREFIX

_ANSWERS = {
    HOLDS: "The claim holds here.",
    FAILS: "The claim does not hold here.",
    OPEN: "It cannot be told whether the claim holds.",
}
_HOLDING, _FAILING, _OPEN = "for the claim", "against it", OPEN


def write_page(
    path: Path,
    comparison: Comparison,
    shifts: pd.DataFrame,
    contrasts: pd.DataFrame,
    description: Mapping[str, Any],
    asked: Sequence[Asked] = (),
) -> None:
    """Write the page, which shows prompts and answers of the models side by side."""
    tests = tests_of(shifts)
    others = [name for name in tests if name != TEST and main_metrics(shifts, (TEST, name))]
    found = conclusions(comparison, contrasts)
    pages.write_page(
        path,
        __package__,
        title=f"Tuning configurations of {description['model']['id']}",
        opening=_opening(comparison, description, found),
        lead=lead(comparison, description),
        scores=description["scores"],
        conclusions=[(one, _grounds(one, shifts)) for one in found],
        untested=None if found else no_conclusion(comparison),
        has_runs=max(map(len, comparison.groups.values())) > 1,
        mark=MARK,
        level=LEVEL,
        terms=explained(list(dict.fromkeys(name for test in tests for name in metrics_of(shifts, test)))),
        tests=[_test_set(comparison, shifts, description, test) for test in tests],
        trades=[(name, trade_off(shifts, (TEST, name), main_metrics(shifts, (TEST, name)))) for name in others],
        contrasts=list(contrast_tables(contrasts)),
        tuned=tuned_rows(comparison),
        asked=asked,
        settings=settings(comparison, description).items(),
        method=method(shifts, contrasts).items(),
    )


def _opening(comparison: Comparison, description: Mapping[str, Any], found: Sequence[Conclusion]) -> pages.Opening:
    by = f" by {description['scores']['by']}" if description["scores"] else ""
    asked = (
        f"Does tuning the layers or heads that rank highest{by} shift {description['model']['id']} more than tuning "
        "as many that rank lowest or were drawn at random?"
    )
    if not found:
        return pages.Opening(asked, "Not tested.", no_conclusion(comparison), "Nothing was compared.")
    sure = _sure(comparison, description, found)
    if len(found) == 1:
        return pages.Opening(asked, _ANSWERS[found[0].verdict.answer], found[0].sentence, sure)
    answer = "; ".join(f"{one.verdict.group}: {one.verdict.answer}" for one in found)
    return pages.Opening(asked, f"{answer}.", "The reasons are below.", sure)


def _sure(comparison: Comparison, description: Mapping[str, Any], found: Sequence[Conclusion]) -> str:
    """Describe the scope of the verdicts and, for newcomers, what a verdict against the claim means."""
    samples = counted(len(comparison.untuned.measured[TEST].sample_ids), "test sample")
    runs = min(map(len, comparison.groups.values()))
    text = f"This is about one model and these data, from {samples} and {counted(runs, 'seed')}."
    if all(one.verdict.answer == HOLDS for one in found):
        return text
    is_toy = description["model"]["id"].startswith(PREFIX)
    why = "a tiny one, tuned briefly, need not show it" if is_toy else "few samples and seeds show large effects alone"
    text += f" Such an answer is an honest result, not a failed run: the claim was made of large models, and {why}."
    if runs > 1:
        return text
    text += " For a harder test, take more test samples and several `--seeds`"
    return f"{text}; `make paper` in a clone of datasetkit does, in about 30 minutes." if is_toy else f"{text}."


def _grounds(conclusion: Conclusion, shifts: pd.DataFrame) -> list[dict[str, Any]]:
    """Return what each metric says of the claim, by the shifts of the top group, then of its rivals."""
    verdict = conclusion.verdict
    metrics = metrics_of(shifts, TEST)
    rows = {row.group: row.measures for row in group_rows(shifts, TEST, metrics)}
    return [
        {
            "metric": heading_of(name),
            "shifts": [rows[group][place].shift for group in (verdict.group, *conclusion.rivals)],
            "says": _HOLDING if name in verdict.holding else _FAILING if name in verdict.failing else _OPEN,
        }
        for place, name in enumerate(metrics)
    ]


def _test_set(
    comparison: Comparison, shifts: pd.DataFrame, description: Mapping[str, Any], test: str
) -> dict[str, Any]:
    """Return all that was measured on a test set; without questions of known types, that table has no heading."""
    metrics, types = metrics_of(shifts, test), types_of(shifts, test)
    return {
        "name": test,
        "data": description["tests"][test]["name"],
        "mark": mark_sentence(shifts, test),
        "metrics": _table(shifts, test, metrics, [heading_of(name) for name in metrics]),
        "types": _table(shifts, test, types, [name.partition(":")[2] for name in types]),
        "forest": forest(comparison, shifts, test),
        "figures": final_figures(comparison, shifts, test),
    }


def _table(shifts: pd.DataFrame, test: str, metrics: Sequence[str], headings: Sequence[str]) -> dict[str, Any]:
    """Lay out groups in rows and metrics in columns, with the samples of each metric below."""
    counts = [fewest_samples(shifts, test, name) for name in metrics]
    return {"headings": headings, "rows": group_rows(shifts, test, metrics), "counts": counts}

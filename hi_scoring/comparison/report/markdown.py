"""A comparison as Markdown, for a paper or an appendix. Owns its tables, and that no name can break them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import astuple
from pathlib import Path
from typing import Any

import pandas as pd

from datasetkit.core.files import replace_file
from datasetkit.core.markdown import escape, table
from datasetkit.hi_scoring.comparison.compare import Comparison
from datasetkit.hi_scoring.comparison.report.conclusions import conclusions, no_conclusion
from datasetkit.hi_scoring.comparison.report.glossary import explained, heading_of, mark_sentence, method
from datasetkit.hi_scoring.comparison.report.summary import (
    Measure,
    contrast_tables,
    fewest_samples,
    group_rows,
    lead,
    metrics_of,
    settings,
    tests_of,
    tuned_rows,
)
from datasetkit.hi_scoring.report.text import NOT_MEASURED


def write_markdown(
    path: Path,
    comparison: Comparison,
    shifts: pd.DataFrame,
    contrasts: pd.DataFrame,
    description: Mapping[str, Any],
) -> None:
    """Write the tables of a comparison, the verdict, and all settings needed to reproduce it."""
    found = [conclusion.sentence for conclusion in conclusions(comparison, contrasts)] or [no_conclusion(comparison)]
    parts = [
        f"# Tuning configurations of {escape(description['model']['id'])}",
        escape(lead(comparison, description)),
        "## Verdict",
        "The claim (Sergeev & Kotelnikov, arXiv 2511.23375): tuning the layers with the highest Head Impact shifts a "
        "model most. It does not say that the model becomes best.",
        "\n".join(f"- {escape(sentence)}" for sentence in found),
        *_figures(shifts),
        *_contrasts(contrasts),
        "## What was tuned",
        table(
            ("group", "seeds", "layers", "heads"),
            [(row.group, row.seeds, row.layers, row.heads or "all") for row in tuned_rows(comparison)],
        ),
        "## How the numbers are computed",
        table(("number", "how"), method(shifts, contrasts).items()),
        "## Settings",
        table(("setting", "value"), settings(comparison, description).items()),
    ]
    replace_file(path, ("\n\n".join(parts) + "\n").encode())


def _figures(shifts: pd.DataFrame) -> Iterator[str]:
    metrics: dict[str, None] = {}
    for test in tests_of(shifts):
        names = metrics_of(shifts, test)
        metrics |= dict.fromkeys(names)
        rows = [
            (row.group, str(row.runs), row.trainable, row.share, *map(_cell, row.measures))
            for row in group_rows(shifts, test, names)
        ]
        counts = ("n", "", "", "", *(fewest_samples(shifts, test, name) for name in names))
        yield f"## Figures and shifts: {escape(test)}"
        yield table(
            ("group", "runs", "trainable parameters", "share of the model", *map(heading_of, names)), [*rows, counts]
        )
        yield (
            "Each cell: figure ± standard deviation over seeds (shift from the untuned model [95 % interval]); "
            f"{escape(mark_sentence(shifts, test))}. n: samples with a value, in the group that has fewest."
        )
    yield "## Metrics"
    yield "\n".join(f"- {escape(name)}: {escape(words)}" for name, words in explained(list(metrics)))


def _cell(one: Measure) -> str:
    figure = " ".join(part for part in (one.figure, one.spread) if part)
    if one.shift in ("", NOT_MEASURED):
        return figure
    return f"{figure} ({one.shift} [{one.interval.replace(' to ', ', ')}])"


def _contrasts(contrasts: pd.DataFrame) -> Iterator[str]:
    header = ("metric", "second", "difference of shifts", "first shift larger by", "95 %", "p", "p (Holm)")
    for test, first, rows, mark in contrast_tables(contrasts):
        yield f"## Contrasts: {escape(first)} against others, {escape(test)}"
        yield table(header, [astuple(row) for row in rows])
        yield f"{escape(mark)}."

"""Results of one condition in its folder. Owns their files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pandas as pd
from pydantic import Field

from datasetkit.hi_scoring.evaluation.metrics import Measured, measured_of
from datasetkit.hi_scoring.evaluation.predictions import Evaluation
from datasetkit.hi_scoring.runs.facts import Count, Facts, read_facts
from datasetkit.hi_scoring.runs.files import write_arrays, write_facts, write_table
from datasetkit.hi_scoring.runs.reading import Columns, read_arrays, read_frame
from datasetkit.hi_scoring.sparse.conditions import Condition
from datasetkit.hi_scoring.sparse.coverage import DenseReason
from datasetkit.hi_scoring.sparse.measure import MEASURES, Prefills
from datasetkit.hi_scoring.sparse.plan import PLAN_NAME

FACTS_NAME = "condition.json"
_STATISTICS_NAME = "statistics.safetensors"
_PREFILLS_NAME, _PREDICTIONS_NAME = "prefills.parquet", "predictions.parquet"


_PREFILLS: Columns = {"picture_id": "text", "record_id": "text", "task": "text", **dict.fromkeys(MEASURES, "number")}


class _CoverageFacts(Facts):
    """How much was sparse."""

    sparse: Count
    dense: dict[Annotated[DenseReason, Field(strict=False)], Count]


class _ConditionFacts(Facts):
    """The description that a condition stores of itself."""

    group: Literal["dense", "core", "random"]
    draw: Count | None
    coverage: _CoverageFacts
    samples: list[str] = Field(min_length=1)


@dataclass(frozen=True, eq=False)
class ConditionResult:
    """The results of one condition.

    Args:
        draw: index of the random set; None for the others.
        coverage: pairs of a prompt and a layer that were sparse in measured prefills, and dense by reason; see
            :class:`datasetkit.hi_scoring.sparse.coverage.Coverage`.

    """

    group: str
    draw: int | None
    coverage: Mapping[str, Any]
    prefills: pd.DataFrame
    measured: Measured

    @property
    def measures(self) -> tuple[list[tuple[str, ...]], list[str], list[str]]:
        """Return prompts, samples and metrics; all conditions of one run have the same."""
        prompts = self.prefills[["picture_id", "record_id", "task"]].itertuples(index=False, name=None)
        return list(prompts), list(self.measured.sample_ids), self.measured.metrics


def is_finished(folder: Path) -> bool:
    """Whether a condition's results are complete."""
    return (folder / FACTS_NAME).exists()


def save_condition(folder: Path, condition: Condition, prefills: Prefills, evaluation: Evaluation) -> None:
    """Write a condition's results; the facts are written last, and without them it counts as unfinished."""
    folder.mkdir(parents=True, exist_ok=True)
    if condition.plan is not None:
        condition.plan.save(folder / PLAN_NAME)
    write_table(folder / _PREFILLS_NAME, prefills.table)
    write_table(folder / _PREDICTIONS_NAME, evaluation.predictions)
    write_arrays(folder / _STATISTICS_NAME, evaluation.measured.statistics)
    facts = {
        "group": condition.group,
        "draw": condition.draw,
        "coverage": prefills.coverage.as_json(),
        "samples": list(evaluation.measured.sample_ids),
    }
    write_facts(folder / FACTS_NAME, facts)


def load_condition(folder: Path) -> ConditionResult:
    """Read what :func:`save_condition` wrote.

    Raises:
        BuiltFolderError: it is incomplete or damaged.

    """
    what, again = "condition of sparse prefill", f"remove {folder}, and run the same command again"
    facts = read_facts(folder / FACTS_NAME, _ConditionFacts, what, again)
    arrays, _ = read_arrays(folder / _STATISTICS_NAME, what, again)
    return ConditionResult(
        facts["group"],
        facts["draw"],
        facts["coverage"],
        read_frame(folder / _PREFILLS_NAME, _PREFILLS, what, again),
        measured_of(folder / _STATISTICS_NAME, facts["samples"], arrays, again),
    )

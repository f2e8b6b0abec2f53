"""One condition's results in its folder. Owns their files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors

from datasetkit.core.documents import read_json
from datasetkit.core.errors import BuiltFolderError
from datasetkit.hi_scoring.evaluation.metrics import Measured
from datasetkit.hi_scoring.evaluation.predictions import Evaluation
from datasetkit.hi_scoring.runs.files import write_arrays, write_facts, write_table
from datasetkit.hi_scoring.sparse.conditions import Condition
from datasetkit.hi_scoring.sparse.measure import Prefills
from datasetkit.hi_scoring.sparse.plan import PLAN_NAME

FACTS_NAME = "condition.json"
_STATISTICS_NAME = "statistics.safetensors"
_PREFILLS_NAME, _PREDICTIONS_NAME = "prefills.parquet", "predictions.parquet"


@dataclass(frozen=True, eq=False)
class ConditionResult:
    """What came of one condition.

    Args:
        draw: number of the random set; None of the others.
        coverage: pairs of a prompt and a layer that were sparse in measured prefills, and dense by reason; see
            :class:`datasetkit.hi_scoring.sparse.coverage.Coverage`.

    """

    group: str
    draw: int | None
    coverage: Mapping[str, Any]
    prefills: pd.DataFrame
    measured: Measured


def is_finished(folder: Path) -> bool:
    """Whether a condition's results are all there."""
    return (folder / FACTS_NAME).exists()


def save_condition(folder: Path, condition: Condition, prefills: Prefills, evaluation: Evaluation) -> None:
    """Write a condition's results; the facts come last, and without them it counts as unfinished."""
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
        BuiltFolderError: it is not whole.

    """
    try:
        facts = read_json(folder / FACTS_NAME)
        measured = Measured(facts.pop("samples"), load_tensors((folder / _STATISTICS_NAME).read_bytes()))
        return ConditionResult(**facts, prefills=pd.read_parquet(folder / _PREFILLS_NAME), measured=measured)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise BuiltFolderError(f"{folder} holds no finished condition of sparse prefill: {error}; remove it") from error

"""Hand-made results of conditions, for tests of tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from datasetkit.hi_scoring.evaluation.metrics import Measured
from datasetkit.hi_scoring.sparse.measure import MEASURES
from datasetkit.hi_scoring.sparse.results import ConditionResult


def prefills(**columns: Sequence[float]) -> pd.DataFrame:
    """One prompt per image, each twice as fast by default."""
    [count] = {len(values) for values in columns.values()}
    usual = {"tokens": 100.0, "seconds_dense": 2.0, "seconds": 1.0, "peak_dense": np.nan, "peak": np.nan}
    table = pd.DataFrame({**usual, "kl": 0.1, "same_token": 1.0, **columns}, index=range(count))
    names = [str(number) for number in range(count)]
    return table.assign(picture_id=names, record_id=names, task="vqa")


def result(
    group: str, table: pd.DataFrame | None = None, measured: Measured | None = None, **more: Any
) -> ConditionResult:
    made = {"draw": None, "coverage": {"sparse": 1, "dense": {}}, **more}
    table = prefills(seconds=[1.0]) if table is None else table
    return ConditionResult(group=group, prefills=table, measured=measured or answers([1]), **made)


def answers(right: Sequence[float], **more: Sequence[float]) -> Measured:
    """One answer per image with this share right; and other metrics in the same way."""
    every = {"accuracy": right, **more}
    statistics = {name: np.column_stack([values, np.ones(len(values))]) for name, values in every.items()}
    return Measured([str(number) for number in range(len(right))], statistics)


def lost(table: pd.DataFrame, *numbers: int) -> pd.DataFrame:
    """The table in which memory ran out for these prompts."""
    table.loc[list(numbers), list(MEASURES)] = np.nan
    return table

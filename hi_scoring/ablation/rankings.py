"""Rankings of heads, by head scores or by a table from the user. Owns how such a table is read and checked."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from datasetkit.core.detections import ModelIdentity
from datasetkit.core.errors import RecipeError
from datasetkit.core.text import one_line
from datasetkit.hi_scoring.scores.results import HeadScores
from datasetkit.hi_scoring.selection import Selector
from datasetkit.options.heads import ScoreOptions

TABLE_COLUMNS = ("layer", "head", "score")
_TABLE, _GIVEN = "table", "given"


@dataclass(frozen=True)
class Ranking:
    """An order of a model's heads.

    Args:
        name: SCORE:POSITIONS, or ``table:FILE``.
        selector: chooses heads by this ranking.
        source: the scores that it was made from, as plain JSON values and options.

    """

    name: str
    selector: Selector
    source: Mapping[str, Any]

    @classmethod
    def of_scores(cls, scores: HeadScores, by: str, model: ModelIdentity, shape: tuple[int, int]) -> Ranking:
        """Rank by head scores of the model, as SCORE:POSITIONS.

        Raises:
            RecipeError: the scores belong to another model, or there is no such score.

        """
        scores.require(model)
        return cls(by, Selector(shape, scores, by), {"by": by, **scores.source})

    @classmethod
    def of_table(cls, path: Path, model: ModelIdentity, shape: tuple[int, int]) -> Ranking:
        """Rank by a CSV or Parquet file with the columns layer, head and score, one row per head.

        Heads without a row or without a score are not ranked.

        Raises:
            RecipeError: the file is not such a table.
            OSError: it cannot be read.

        """
        data = path.read_bytes()
        places = _read_table(path, data, shape)
        # Ranks instead of scores: head scores are float32, in which scores that differ slightly could become equal.
        ranks = np.full((1, *shape), np.nan)
        ranks[0][places["layer"], places["head"]] = rankdata(places["score"], method="dense")
        scores = HeadScores(
            {(_TABLE, _GIVEN): ranks},
            chances={},
            record_ids=(path.name,),
            options=ScoreOptions(),
            model=model,
            dataset={},
        )
        source = {"table": path.name, "sha256": hashlib.sha256(data).hexdigest()}
        return cls(f"table:{path.name}", Selector(shape, scores, f"{_TABLE}:{_GIVEN}"), source)


def _read_table(path: Path, data: bytes, shape: tuple[int, int]) -> pd.DataFrame:
    """Return the rows that have a score, after checking that they are heads of the model, each listed once."""
    kind = path.suffix.lower()
    if kind not in (".csv", ".parquet"):
        raise RecipeError(f"{path} is not a table that can be read; give a .csv or .parquet file")
    try:
        table = pd.read_csv(io.BytesIO(data)) if kind == ".csv" else pd.read_parquet(io.BytesIO(data))
    except ValueError as error:
        raise RecipeError(f"{path} cannot be read as a table: {one_line(error)}") from error
    if not set(TABLE_COLUMNS) <= set(table):
        raise RecipeError(
            f"{path} has the columns {', '.join(map(str, table))}; a ranking needs {', '.join(TABLE_COLUMNS)}"
        )
    for name, size in zip(TABLE_COLUMNS[:2], shape, strict=True):
        column = table[name]
        if not pd.api.types.is_integer_dtype(column) or not column.between(0, size - 1).all():
            raise RecipeError(
                f"{path}, column {name}: give whole numbers from 0 to {size - 1}, as the model has {size}"
            )
    if not pd.api.types.is_numeric_dtype(table["score"]):
        raise RecipeError(f"{path}, column score: give numbers, not {table['score'].dtype}")
    twice = table[table.duplicated(list(TABLE_COLUMNS[:2]))]
    if len(twice):
        raise RecipeError(
            f"{path} has layer {twice['layer'].iloc[0]}, head {twice['head'].iloc[0]} twice; list it once"
        )
    return table[table["score"].notna()]

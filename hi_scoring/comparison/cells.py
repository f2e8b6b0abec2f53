"""Results of one cell in its folder. Owns the files: statistics of every sample, predictions, and what was tuned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
from pydantic import Field

from datasetkit.hi_scoring.evaluation.metrics import Measured, measured_of
from datasetkit.hi_scoring.evaluation.predictions import Evaluation
from datasetkit.hi_scoring.runs.facts import Count, Facts, Text, read_facts
from datasetkit.hi_scoring.runs.files import write_arrays, write_facts, write_table
from datasetkit.hi_scoring.runs.reading import Columns, read_arrays, read_table
from datasetkit.hi_scoring.statistics import FloatArray

CELL_NAME = "cell.json"
TEST = "test"
_STATISTICS_NAME = "statistics.safetensors"
# Fixed here, since a column of nulls has no type, and tables of several cells must have the same types.
_PREDICTIONS = pa.schema(
    {
        "record_id": pa.string(),
        "task": pa.string(),
        "type": pa.string(),
        "prompt": pa.string(),
        "reference": pa.string(),
        "prediction": pa.string(),
        "is_right": pa.bool_(),
        "present": pa.list_(pa.string()),
        "absent": pa.list_(pa.string()),
    }
)
_PREDICTION_COLUMNS: Columns = {
    **dict.fromkeys(("record_id", "task", "prompt", "reference", "prediction"), "text"),
    "is_right": "flag or null",
    "absent": "texts or null",
}


class _SelectionFacts(Facts):
    """The layers and heads that were tuned."""

    name: str
    layers: list[Count]
    heads: list[list[Count]] | None


class _CellFacts(Facts):
    """The description that a cell stores of itself; its name is that of its folder."""

    name: Annotated[str, Field(pattern=r"^[\w-]+$")]
    group: Text
    selection: _SelectionFacts | None
    seed: Count
    modules: list[str]
    trainable: Count
    parameters: Annotated[Count, Field(ge=1)]
    samples: dict[str, list[str]] = Field(min_length=1)


@dataclass(frozen=True, eq=False)
class CellResult:
    """The results of one trial.

    Args:
        group: the row of the table that it belongs to.
        selection: name, layers and heads (null for whole layers) that were tuned; None for the untuned model.
        modules: full names of the adapted modules.
        measured: measurements by test set (``test``, ``forgetting``).

    """

    name: str
    group: str
    selection: Mapping[str, Any] | None
    seed: int
    modules: tuple[str, ...]
    trainable: int
    parameters: int
    measured: Mapping[str, Measured]

    @property
    def measures(self) -> dict[str, tuple[list[str], list[str]]]:
        """Return samples and metrics of each test set; all cells of one comparison have the same."""
        return {test: (list(one.sample_ids), one.metrics) for test, one in self.measured.items()}


def predictions_path(folder: Path, test: str) -> Path:
    """Return the path of predictions on a test set; see :mod:`datasetkit.hi_scoring.evaluation.predictions`."""
    return folder / f"predictions_{test}.parquet"


def is_finished(folder: Path) -> bool:
    """Whether a cell's results are complete."""
    return (folder / CELL_NAME).exists()


def save_cell(folder: Path, facts: Mapping[str, Any], evaluations: Mapping[str, Evaluation]) -> None:
    """Write predictions and statistics; the facts are written last, and without them the cell counts as unfinished.

    Facts are the fields of :class:`CellResult` except the measurements, as plain JSON values.
    """
    tensors: dict[str, FloatArray] = {}
    for test, evaluation in evaluations.items():
        table = pa.Table.from_pandas(evaluation.predictions, _PREDICTIONS, preserve_index=False)
        write_table(predictions_path(folder, test), table)
        tensors |= {f"{test}/{name}": rows for name, rows in evaluation.measured.statistics.items()}
    write_arrays(folder / _STATISTICS_NAME, tensors)
    samples = {test: list(evaluation.measured.sample_ids) for test, evaluation in evaluations.items()}
    write_facts(folder / CELL_NAME, {**facts, "samples": samples})


def load_cell(folder: Path) -> CellResult:
    """Read what :func:`save_cell` wrote.

    Raises:
        BuiltFolderError: the cell is incomplete or damaged.

    """
    what, again = "cell of a comparison", f"remove {folder}, and run the same command again"
    facts = read_facts(folder / CELL_NAME, _CellFacts, what, again)
    path = folder / _STATISTICS_NAME
    tensors, _ = read_arrays(path, what, again)
    measured = {}
    for test, ids in facts["samples"].items():
        own = {name.partition("/")[2]: rows for name, rows in tensors.items() if name.startswith(f"{test}/")}
        measured[test] = measured_of(path, ids, own, again)
    return CellResult(
        name=facts["name"],
        group=facts["group"],
        selection=facts["selection"],
        seed=facts["seed"],
        modules=tuple(facts["modules"]),
        trainable=facts["trainable"],
        parameters=facts["parameters"],
        measured=measured,
    )


def load_predictions(folder: Path, test: str) -> list[dict[str, Any]]:
    """Read the predictions of a finished cell on a test set, in the order of its prompts.

    Raises:
        BuiltFolderError: they are missing or damaged.

    """
    again = f"remove {folder}, and run the same command again"
    table, _ = read_table(predictions_path(folder, test), _PREDICTION_COLUMNS, "cell of a comparison", again)
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows

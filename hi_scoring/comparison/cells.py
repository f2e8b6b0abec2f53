"""One cell's results in its folder. Owns their files: statistics of every sample, predictions, and what was tuned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors

from datasetkit.core.documents import read_json
from datasetkit.core.errors import BuiltFolderError
from datasetkit.hi_scoring.evaluation.metrics import Measured
from datasetkit.hi_scoring.evaluation.predictions import Evaluation
from datasetkit.hi_scoring.runs.files import write_arrays, write_facts, write_table
from datasetkit.hi_scoring.statistics import FloatArray

CELL_NAME = "cell.json"
_STATISTICS_NAME = "statistics.safetensors"
# Said once for all, since a column of nulls has no type of its own, and tables of several cells are to fit together.
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


@dataclass(frozen=True, eq=False)
class CellResult:
    """What came of one trial.

    Args:
        group: the row of the table that it belongs to.
        selection: name, layers and heads (null for whole layers) of what was tuned; None for the model as it was.
        modules: full names of what was adapted.
        measured: by test set (``test``, ``forgetting``).

    """

    name: str
    group: str
    selection: Mapping[str, Any] | None
    seed: int
    modules: tuple[str, ...]
    trainable: int
    parameters: int
    measured: Mapping[str, Measured]


def predictions_path(folder: Path, test: str) -> Path:
    """Where a cell keeps what the model said of a test set; see :mod:`datasetkit.hi_scoring.evaluation.predictions`."""
    return folder / f"predictions_{test}.parquet"


def is_finished(folder: Path) -> bool:
    """Whether a cell's results are all there."""
    return (folder / CELL_NAME).exists()


def save_cell(folder: Path, facts: Mapping[str, Any], evaluations: Mapping[str, Evaluation]) -> None:
    """Write predictions and statistics; the facts come last, and without them the cell counts as unfinished.

    Facts are the fields of :class:`CellResult` but for what was measured, as plain JSON values.
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
        BuiltFolderError: it is not whole.

    """
    try:
        facts = read_json(folder / CELL_NAME)
        tensors = load_tensors((folder / _STATISTICS_NAME).read_bytes())
        samples = facts.pop("samples")
        measured = {
            test: Measured(
                ids, {name.partition("/")[2]: rows for name, rows in tensors.items() if name.startswith(f"{test}/")}
            )
            for test, ids in samples.items()
        }
        return CellResult(**{**facts, "modules": tuple(facts["modules"])}, measured=measured)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise BuiltFolderError(f"{folder} holds no finished cell of a comparison: {error}; remove it") from error

"""Files of head scores. Owns their names, their durable writing, and the check that they belong together."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from safetensors.numpy import save as save_tensors

from datasetkit.core.errors import BuiltFolderError
from datasetkit.core.files import file_sha256, replace_file
from datasetkit.hi_scoring.runs.files import write_facts, write_table
from datasetkit.hi_scoring.runs.reading import read_arrays
from datasetkit.hi_scoring.scores.facts import AGAIN, FACTS_NAME, FORMAT, WHAT, read_score_facts

TENSORS_NAME = "scores.safetensors"
HEADS_NAME, LAYERS_NAME = "scores.parquet", "layers.parquet"
RESULT_NAMES = (FACTS_NAME, TENSORS_NAME, HEADS_NAME, LAYERS_NAME)


def write(
    folder: Path,
    tensors: Mapping[str, NDArray[np.float32]],
    facts: Mapping[str, Any],
    *,
    heads: pd.DataFrame,
    layers: pd.DataFrame,
) -> None:
    """Write scores, tables and facts; the facts are written last, and without them the rest counts as unfinished."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FACTS_NAME).unlink(missing_ok=True)
    data = save_tensors(dict(tensors))
    replace_file(folder / TENSORS_NAME, data)
    write_table(folder / HEADS_NAME, heads)
    write_table(folder / LAYERS_NAME, layers)
    told = {"format": FORMAT, **facts, TENSORS_NAME: {"sha256": hashlib.sha256(data).hexdigest()}}
    write_facts(folder / FACTS_NAME, told, ensure_ascii=False)


def read(folder: Path) -> tuple[dict[str, NDArray[np.float32]], dict[str, Any]]:
    """Read tensors and facts.

    Raises:
        BuiltFolderError: one is missing or damaged, they do not belong together, or have another format.

    """
    facts = read_score_facts(folder)
    tensors, _ = read_arrays(folder / TENSORS_NAME, WHAT, AGAIN)
    if facts.get(TENSORS_NAME) != {"sha256": file_sha256(folder / TENSORS_NAME)}:
        raise BuiltFolderError(f"{folder / TENSORS_NAME} is not the one that {FACTS_NAME} names; score it again")
    return tensors, facts

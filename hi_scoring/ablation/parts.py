"""What was measured of one condition, in a file of its own. Owns its form."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as save_tensors

from datasetkit.core.errors import BuiltFolderError
from datasetkit.core.files import replace_file
from datasetkit.hi_scoring.evaluation.metrics import Measured

SUFFIX = ".safetensors"


def save_part(path: Path, measured: Measured) -> None:
    """Write a condition's file, whole or not at all."""
    tensors = {name: np.ascontiguousarray(rows) for name, rows in measured.statistics.items()}
    replace_file(path, save_tensors(tensors, metadata={"sample_ids": json.dumps(list(measured.sample_ids))}))


def load_part(path: Path) -> Measured:
    """Read what :func:`save_part` wrote.

    Raises:
        BuiltFolderError: it is damaged.

    """
    try:
        with safe_open(path, framework="numpy") as part:
            sample_ids = json.loads(part.metadata()["sample_ids"])
            return Measured(sample_ids, {name: part.get_tensor(name) for name in part.keys()})  # noqa: SIM118 - no mapping
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise BuiltFolderError(f"{path} holds nothing measured that can be read: {error}; remove it") from error

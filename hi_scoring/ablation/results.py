"""What came of an ablation, as one object and in its files. Owns their names, and which of them is written last."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pandas as pd

from datasetkit.core.errors import BuiltFolderError
from datasetkit.hi_scoring.runs.files import write_facts, write_table

CURVES_NAME, CONTRASTS_NAME, FACTS_NAME = "ablations.parquet", "contrasts.parquet", "ablation.json"


@dataclass(frozen=True, eq=False)
class Ablations:
    """Tables, and what they were computed from.

    Args:
        curves: see :meth:`datasetkit.hi_scoring.ablation.table.Effects.curves`.
        contrasts: see :meth:`datasetkit.hi_scoring.ablation.table.Effects.contrasts`.
        facts: model, data, options, rankings, and of every trial its heads; ``n`` samples, and how many ``rows`` were
            read, used and dropped (``drops.jsonl`` says why); plain JSON values.

    """

    curves: pd.DataFrame
    contrasts: pd.DataFrame
    facts: Mapping[str, Any]

    def save(self, folder: Path) -> None:
        """Write three files; until the last is in place, what was there before counts as unfinished."""
        self.remove(folder)
        for name, table in ((CURVES_NAME, self.curves), (CONTRASTS_NAME, self.contrasts)):
            write_table(folder / name, table)
        write_facts(folder / FACTS_NAME, self.facts, ensure_ascii=False)

    @staticmethod
    def remove(folder: Path) -> None:
        """Remove what :meth:`save` wrote, the last first."""
        for name in (FACTS_NAME, CONTRASTS_NAME, CURVES_NAME):
            (folder / name).unlink(missing_ok=True)

    @staticmethod
    def facts_of(folder: Path) -> Mapping[str, Any] | None:
        """Read what finished tables in a folder were computed from; None where there are none."""
        try:
            found = json.loads((folder / FACTS_NAME).read_bytes())
        except (FileNotFoundError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    @classmethod
    def load(cls, folder: Path | str) -> Self:
        """Read what :meth:`save` wrote.

        Raises:
            BuiltFolderError: the folder holds no finished ablation.

        """
        folder = Path(folder)
        facts = cls.facts_of(folder)
        if facts is None:
            raise BuiltFolderError(f"{folder} holds no finished ablation: {FACTS_NAME} is missing; run it to its end")
        try:
            return cls(pd.read_parquet(folder / CURVES_NAME), pd.read_parquet(folder / CONTRASTS_NAME), facts)
        except (OSError, ValueError) as error:
            raise BuiltFolderError(
                f"{folder} holds tables that cannot be read: {error}; remove {FACTS_NAME}"
            ) from error

"""Knockouts of a dataset, kept in a folder. Owns the files, what is counted beside the curves, and the way back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from datasetkit.core.errors import BuiltFolderError
from datasetkit.hi_scoring.interventions.knockout_tables import KnockoutTables
from datasetkit.hi_scoring.runs.files import write_facts, write_table

FACTS_NAME = "knockout.json"
_TABLES = ("questions", "knockout", "curves", "tracking", "tracking_curves")
RESULT_NAMES = (FACTS_NAME, *(f"{name}.parquet" for name in _TABLES))
_FORMAT = 2


@dataclass(frozen=True, eq=False)
class Knockouts:
    """What was found.

    Args:
        tables: see there.
        facts: model, dataset, options, environment, and counts of questions; plain JSON values. Of each flow ``n``
            were measured, ``without`` lack one of its sets of positions, ``controlled`` of the measured ones have a
            control, and in ``overlapping`` of these some of its random edges are the flow's own.

    """

    tables: KnockoutTables
    facts: Mapping[str, Any]

    @classmethod
    def of(cls, tables: KnockoutTables, facts: Mapping[str, Any]) -> Self:
        """Count what the tables hold, and add it to the facts."""
        measured = tables.questions.num_rows
        right = sum(tables.questions["is_right"].to_pylist())
        blocked = right if facts["options"]["only_correct"] else measured
        found = tables.knockout.select(["flow", "layer", "control_p", "overlap"]).to_pandas()
        found = found[found["layer"] == 0]
        flows = {}
        for name in facts["options"]["flows"]:
            own = found[found["flow"] == name]
            controlled = own[own["control_p"].notna()]
            flows[name] = {
                "n": len(own),
                "without": blocked - len(own),
                "controlled": len(controlled),
                "overlapping": int((controlled["overlap"] > 0).sum()),
            }
        counts = {"questions": measured, "right": right, "blocked": blocked, "flows": flows}
        return cls(tables, {**facts, "counts": counts})

    def save(self, folder: Path) -> None:
        """Write all files; until the last is in place, what was there before counts as unfinished."""
        (folder / FACTS_NAME).unlink(missing_ok=True)
        for name in _TABLES:
            write_table(folder / f"{name}.parquet", getattr(self.tables, name))
        write_facts(folder / FACTS_NAME, {"format": _FORMAT, **self.facts}, ensure_ascii=False)

    @classmethod
    def load(cls, folder: Path | str) -> Self:
        """Read what :meth:`save` wrote.

        Raises:
            BuiltFolderError: the folder holds no knockouts, unfinished ones, or such as this version cannot read.

        """
        folder = Path(folder)
        try:
            facts = json.loads((folder / FACTS_NAME).read_bytes())
            tables = {name: pq.read_table(folder / f"{name}.parquet") for name in _TABLES}
        except (OSError, ValueError, pa.ArrowException) as error:
            raise BuiltFolderError(f"{folder} holds no finished knockouts that can be read: {error}") from error
        found = facts.pop("format", None) if isinstance(facts, dict) else None
        if found != _FORMAT:
            raise BuiltFolderError(f"{folder} holds knockouts of format {found}; this datasetkit reads {_FORMAT}")
        frames = {name: tables[name].to_pandas() for name in ("curves", "tracking_curves")}
        return cls(KnockoutTables(**{**tables, **frames}), facts)

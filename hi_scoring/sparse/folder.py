"""The folder of a run. Owns its layout, and that nothing counts before a run is finished.

A folder holds each condition's own results in ``conditions/NAME``; ``plan.json`` of the CoRe heads; ``costs.parquet``
and ``quality.parquet`` of all conditions; and, written last, ``finished.json``, which names the conditions of runs that
came to their end.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

import pandas as pd

from datasetkit.core.errors import BuiltFolderError
from datasetkit.hi_scoring.runs.files import write_facts, write_table
from datasetkit.hi_scoring.sparse.conditions import CORE, DENSE
from datasetkit.hi_scoring.sparse.plan import PLAN_NAME, SparsePlan
from datasetkit.hi_scoring.sparse.results import ConditionResult, is_finished, load_condition
from datasetkit.hi_scoring.sparse.tables import costs_table, quality_table

COMMAND = "datasetkit sparsify"
COSTS_NAME, QUALITY_NAME = "costs.parquet", "quality.parquet"
FINISHED_NAME = "finished.json"
_CONDITIONS_NAME = "conditions"


@dataclass(frozen=True, eq=False)
class Sparsity:
    """Finished conditions of one model and dataset.

    Args:
        plan: that keeps the CoRe heads.
        groups: results of ``dense``, ``core`` and ``random``; each of the last is a draw.

    """

    plan: SparsePlan
    groups: dict[str, tuple[ConditionResult, ...]]

    @cached_property
    def costs(self) -> pd.DataFrame:
        """See :func:`costs_table`."""
        return costs_table(self.groups)

    @cached_property
    def quality(self) -> pd.DataFrame:
        """See :func:`quality_table`."""
        return quality_table(self.groups)

    @cached_property
    def dense_by_reason(self) -> Counter[str]:
        """Pairs of a prompt and a layer that stayed dense in the CoRe heads' condition."""
        dense: Counter[str] = Counter()
        for result in self.groups[CORE]:
            dense.update(result.coverage["dense"])
        return dense

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read the conditions of all runs into a folder that came to their end.

        Raises:
            BuiltFolderError: there is none, or what it left is damaged.

        """
        names = _finished_names(folder)
        if not names:
            raise BuiltFolderError(f"{folder} holds no finished run of `{COMMAND}`; run it to its end")
        found = cls._read(folder, names)
        if _plan_in(folder) != found.plan:
            raise BuiltFolderError(f"{folder / PLAN_NAME} is not the plan that was measured; run `{COMMAND}` again")
        return found

    @classmethod
    def _read(cls, folder: Path, names: Iterable[str]) -> Self:
        results = [load_condition(condition_folder(folder, name)) for name in names]
        groups: dict[str, tuple[ConditionResult, ...]] = {}
        for result in sorted(results, key=lambda one: (one.group != DENSE, one.group, one.draw or 0)):
            groups[result.group] = (*groups.get(result.group, ()), result)
        if not {DENSE, CORE} <= groups.keys():
            raise BuiltFolderError(f"{folder} lacks the dense model's results or those of the CoRe heads")
        return cls(_plan_in(condition_folder(folder, CORE)), groups)

    @classmethod
    def finish(cls, folder: Path, names: Iterable[str]) -> Self:
        """Take note that a run came to its end.

        Args:
            folder: of the run.
            names: of its conditions, whose results are all there.

        Returns:
            the conditions of this run and of those that came to their end before, as far as they are still there.

        Raises:
            BuiltFolderError: results are missing or damaged.

        """
        former = [name for name in _finished_names(folder) if is_finished(condition_folder(folder, name))]
        every = list(dict.fromkeys([*former, *names]))
        found = cls._read(folder, every)
        found.plan.save(folder / PLAN_NAME)
        for name, table in ((COSTS_NAME, found.costs), (QUALITY_NAME, found.quality)):
            write_table(folder / name, table)
        write_facts(folder / FINISHED_NAME, {"conditions": every})
        return found


def condition_folder(folder: Path, name: str) -> Path:
    """Give where a condition's own results lie."""
    return folder / _CONDITIONS_NAME / name


def has_results(folder: Path) -> bool:
    """Whether any condition was measured in a folder."""
    return any(map(is_finished, (folder / _CONDITIONS_NAME).glob("*")))


def clear(folder: Path) -> None:
    """Remove all results; what says that they are finished goes first."""
    for name in (FINISHED_NAME, PLAN_NAME, COSTS_NAME, QUALITY_NAME):
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / _CONDITIONS_NAME, ignore_errors=True)


def _finished_names(folder: Path) -> list[str]:
    """Name the conditions of runs that came to their end; none where no run did."""
    file = folder / FINISHED_NAME
    if not file.exists():
        return []
    try:
        return [str(name) for name in json.loads(file.read_bytes())["conditions"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BuiltFolderError(f"{file} cannot be read: {error!r}; remove it, and run `{COMMAND}` again") from error


def _plan_in(folder: Path) -> SparsePlan:
    try:
        return SparsePlan.load(folder / PLAN_NAME)
    except OSError as error:
        raise BuiltFolderError(f"{folder} holds no {PLAN_NAME} that can be read; run `{COMMAND}` again") from error

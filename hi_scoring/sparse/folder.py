"""The folder of a run. Owns its layout, that results count only after a run is finished, and how they are shown.

A folder holds the results of each condition in ``conditions/NAME``; ``plan.json`` of the CoRe heads; ``costs.parquet``
and ``quality.parquet`` of all conditions; and, written last, ``finished.json``, which lists the conditions of finished
runs.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
import pandas as pd
from pydantic import Field
from rich.console import RenderableType
from rich.table import Table

from datasetkit.core.errors import BuiltFolderError
from datasetkit.core.results import Result
from datasetkit.hi_scoring.evaluation.metrics import METRICS, find_metric
from datasetkit.hi_scoring.report.tables import plain_table
from datasetkit.hi_scoring.report.text import (
    NOT_MEASURED,
    ON_A_PAGE,
    interval,
    number,
    p_value,
    percent,
    signed,
    written,
)
from datasetkit.hi_scoring.runs.facts import Facts, checked_facts, read_facts
from datasetkit.hi_scoring.runs.files import records_of, write_facts, write_table
from datasetkit.hi_scoring.sparse.conditions import CORE, DENSE
from datasetkit.hi_scoring.sparse.coverage import DenseReason
from datasetkit.hi_scoring.sparse.plan import PLAN_NAME, SparsePlan
from datasetkit.hi_scoring.sparse.results import ConditionResult, is_finished, load_condition
from datasetkit.hi_scoring.sparse.tables import costs_table, quality_table

COMMAND = "datasetkit sparsify"
COSTS_NAME, QUALITY_NAME = "costs.parquet", "quality.parquet"
FINISHED_NAME = "finished.json"
_CONDITIONS_NAME = "conditions"
_MIB = 2**20


class _ChosenFacts(Facts):
    """How the full heads of a measured plan were chosen."""

    share: float
    by: str


class _MeasuredPlanFacts(Facts):
    """The additional values of a measured plan."""

    chosen: _ChosenFacts


class _FinishedFacts(Facts):
    """The finished conditions; their names are those of folders."""

    conditions: list[Annotated[str, Field(pattern=r"^[\w-]+$")]]


@dataclass(frozen=True, eq=False, repr=False)
class Sparsity(Result):
    """Finished conditions of one model and dataset.

    Args:
        plan: the plan that keeps the CoRe heads.
        groups: results of ``dense``, ``core`` and ``random``; each one of the last group is a draw.

    """

    plan: SparsePlan
    groups: dict[str, tuple[ConditionResult, ...]]
    folder: Path = Path()

    def __repr__(self) -> str:
        return f"<Sparsity in {self.folder}: {len(self.plan.kept):,} heads keep full attention>"

    def report(self) -> Iterator[RenderableType]:
        """See :meth:`Result.report`: costs and quality."""
        yield from sparsity_tables(self)
        plan, folder = self.plan, self.folder
        [core] = self.costs[self.costs["group"] == CORE].to_dict("records")
        if not core["sparse"] > 0:
            yield (
                f"nothing was sparse: of {core['tokens']:,.0f} tokens of a prompt (median), text, the first "
                f"{plan.sink} and the last {plan.window} are most of it; give a smaller --window, or longer prompts"
            )
        yield from (f"wrote {folder}; {folder / PLAN_NAME} keeps {len(plan.kept):,} heads", ON_A_PAGE)

    def as_json(self) -> dict[str, Any]:
        """See :meth:`Result.as_json`."""
        kept = [list(head) for head in self.plan.kept]
        told = {"folder": str(self.folder), "plan": str(self.folder / PLAN_NAME), "kept": kept}
        return {**told, "costs": records_of(self.costs), "quality": records_of(self.quality)}

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
        """The numbers of pairs of a prompt and a layer that stayed dense in the CoRe heads' condition, by reason."""
        [core] = self.groups[CORE]
        return Counter(core.coverage["dense"])

    @classmethod
    def load(cls, folder: Path | str) -> Self:
        """Read the conditions of all finished runs in a folder.

        Raises:
            BuiltFolderError: there is no finished run, or its files are damaged.

        """
        folder = Path(folder)
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
        results.sort(key=lambda one: (one.group != DENSE, one.group, one.draw or 0))
        groups = {group: tuple(found) for group, found in groupby(results, lambda one: one.group)}
        if [len(groups.get(group, ())) for group in (DENSE, CORE)] != [1, 1]:
            raise BuiltFolderError(f"{folder} lacks the dense model's results or those of the CoRe heads")
        for one in results[1:]:
            if one.measures != results[0].measures:
                raise BuiltFolderError(
                    f"{folder} holds conditions that were measured on other prompts or with other metrics; remove it, "
                    f"and run `{COMMAND}` again"
                )
        return cls(_plan_in(condition_folder(folder, CORE)), groups, folder)

    @classmethod
    def finish(cls, folder: Path, names: Iterable[str]) -> Self:
        """Record that a run with complete results of all its conditions is finished.

        Returns:
            the conditions of this run and of earlier finished runs, as far as they still exist.

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
    """Return the folder of a condition's results."""
    return folder / _CONDITIONS_NAME / name


def has_results(folder: Path) -> bool:
    """Whether any condition was measured in a folder."""
    return any(map(is_finished, (folder / _CONDITIONS_NAME).glob("*")))


def clear(folder: Path) -> None:
    """Remove all results; the file that marks them as finished is removed first."""
    for name in (FINISHED_NAME, PLAN_NAME, COSTS_NAME, QUALITY_NAME):
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / _CONDITIONS_NAME, ignore_errors=True)


def _finished_names(folder: Path) -> list[str]:
    """Return the conditions of finished runs; empty if there are none."""
    file = folder / FINISHED_NAME
    if not file.exists():
        return []
    facts = read_facts(file, _FinishedFacts, f"run of `{COMMAND}`", f"remove it, and run `{COMMAND}` again")
    return list(dict.fromkeys(facts["conditions"]))


def _plan_in(folder: Path) -> SparsePlan:
    again = f"run `{COMMAND}` again"
    try:
        plan = SparsePlan.load(folder / PLAN_NAME)
    except OSError as error:
        raise BuiltFolderError(f"{folder} holds no {PLAN_NAME} that can be read; {again}") from error
    checked_facts(folder / PLAN_NAME, {"chosen": plan.chosen}, _MeasuredPlanFacts, "plan", again)
    return plan


def sparsity_tables(found: Sparsity) -> Iterator[Table]:
    """Yield the tables that ``datasetkit sparsify`` prints last: costs, quality, and what stayed dense."""
    yield _costs(found)
    yield _quality(found)
    if found.dense_by_reason:
        yield _dense(found.dense_by_reason, sum(result.coverage["sparse"] for result in found.groups[CORE]))


def _costs(found: Sparsity) -> Table:
    first, rows = found.costs.iloc[0], found.costs.to_dict("records")
    lost = ", ".join(f"{row['group']} {row['lost']:,}" for row in rows if row["lost"])
    left_out = f"; prompts left out because memory ran out: {lost}" if lost else ""
    table = plain_table(
        f"first token of {first['n']:,} prompts of {first['tokens']:,.0f} tokens (median)",
        "times as fast: median of per-prompt ratios, dense over sparse, in turns, 95 %; KL from dense, nats; same: "
        f"prompts with the same first token; sparse: layers of prompts{left_out}",
    )
    table.add_column("")
    for name in ("seconds", "times as fast", "MiB", "of dense", "KL", "same", "sparse"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        speedup = written(row["speedup"], ".2f")
        if np.isfinite(row["speedup_low"]):
            speedup += f" ({interval(row['speedup_low'], row['speedup_high'], '.2f')})"
        table.add_row(
            _named(row["group"], row["runs"]),
            number(row["seconds"]),
            speedup,
            written(row["peak"] / _MIB, ",.0f"),
            written(row["memory"], ".2f"),
            number(row["kl"]),
            *(percent(row[name]) if np.isfinite(row[name]) else NOT_MEASURED for name in ("same_token", "sparse")),
        )
    return table


def _quality(found: Sparsity) -> Table:
    table = plain_table(
        "quality of responses",
        "p corrected by Holm; against random, both the noise of samples and the spread of random sets count",
    )
    table.add_column("")
    for name in ("kept", "figure", "against", "change", "95 %", "p"):
        table.add_column(name, justify="right", no_wrap=True)
    shown = found.quality[found.quality["metric"].isin(list(METRICS))]
    for metric, rows in shown.groupby("metric", sort=False):
        label = find_metric(str(metric)).label
        for row in rows.to_dict("records"):
            cells = [label, _named(row["group"], row["runs"]), number(row["figure"])]
            if row["group"] != row["against"]:
                change = signed(row["change"])
                cells += [row["against"], change, interval(row["low"], row["high"]), p_value(row["p_holm"])]
            table.add_row(*cells)
            label = ""
    return table


def _dense(dense: Counter[str], sparse: int) -> Table:
    table = plain_table(f"layers of prompts that stayed dense, of {sparse + dense.total():,}")
    table.add_column("count", justify="right")
    table.add_column("why")
    for reason, count in dense.most_common():
        table.add_row(f"{count:,}", DenseReason(reason).explanation)
    return table


def _named(group: str, runs: int) -> str:
    return group if runs == 1 else f"{group} ({runs})"

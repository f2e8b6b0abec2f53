"""Results of knockouts in a folder. Owns the files, the counts next to the curves, and how results are shown."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
from rich.console import RenderableType
from rich.table import Table

from datasetkit.core.results import Result
from datasetkit.hi_scoring.interventions.knockout_tables import ALL, TABLES, WHAT, KnockoutTables, read_tables
from datasetkit.hi_scoring.interventions.tracking import TRACKED
from datasetkit.hi_scoring.report.tables import plain_table
from datasetkit.hi_scoring.report.text import FEW_SAMPLES, ON_A_PAGE, interval, number, percent, written
from datasetkit.hi_scoring.runs.drops import drop_lines, drops_in
from datasetkit.hi_scoring.runs.facts import Count, Facts, Size, read_facts
from datasetkit.hi_scoring.runs.files import records_of, write_facts, write_table

FACTS_NAME = "knockout.json"
RESULT_NAMES = (FACTS_NAME, *(f"{name}.parquet" for name in TABLES))
_FORMAT = 2
_PERCENT = "+.1f"
_AGAIN = "run it again with --overwrite"


class _FlowFacts(Facts):
    """Counts of one flow."""

    n: Count
    without: Count
    controlled: Count
    overlapping: Count


class _CountFacts(Facts):
    """Counts of questions."""

    questions: Count
    right: Count
    blocked: Count
    flows: dict[str, _FlowFacts]


class _OptionFacts(Facts):
    """The options of the run, as far as they are read again."""

    window: Size
    heads: list[Any] | None


class _KnockoutFacts(Facts):
    """The description of finished knockouts, as far as it is read again."""

    FORMAT: ClassVar[int | None] = _FORMAT

    options: _OptionFacts
    counts: _CountFacts


@dataclass(frozen=True, eq=False, repr=False)
class Knockouts(Result):
    """Results of knockouts.

    Args:
        facts: model, dataset, options, environment, and counts of questions; plain JSON values. For each flow ``n``
            questions were measured, ``without`` lack one of its sets of positions, ``controlled`` of the measured ones
            have a control, and in ``overlapping`` of these some of the control edges belong to the flow.

    """

    tables: KnockoutTables
    facts: Mapping[str, Any]
    folder: Path = Path()

    def __repr__(self) -> str:
        return f"<Knockouts in {self.folder}: {self.facts['counts']['blocked']:,} questions>"

    def report(self) -> Iterator[RenderableType]:
        """See :meth:`Result.report`: the largest drops for each flow, and answer tracking."""
        yield from knockout_tables(self)
        counts = self.facts["counts"]
        if wrong := counts["questions"] - counts["blocked"]:
            yield f"left out  {wrong:,} of {counts['questions']:,} questions: the model answered them wrong"
        yield from (f"dropped   {line}" for line in drop_lines(self.folder))
        if counts["blocked"] < FEW_SAMPLES:
            yield f"few questions  {counts['blocked']}: intervals mean little below about {FEW_SAMPLES}"
        yield from (f"wrote {self.folder} (knockouts of {counts['blocked']:,} questions)", ON_A_PAGE)

    def as_json(self) -> dict[str, Any]:
        """See :meth:`Result.as_json`."""
        told = {"folder": str(self.folder), **self.facts, "dropped": drops_in(self.folder)}
        return {**told, "curves": records_of(self.tables.curves)}

    @classmethod
    def of(cls, tables: KnockoutTables, facts: Mapping[str, Any]) -> Self:
        """Count the questions in the tables, and add the counts to the facts."""
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
        """Write all files; until the last one is in place, the folder counts as unfinished."""
        (folder / FACTS_NAME).unlink(missing_ok=True)
        for name in TABLES:
            write_table(folder / f"{name}.parquet", getattr(self.tables, name))
        write_facts(folder / FACTS_NAME, {"format": _FORMAT, **self.facts}, ensure_ascii=False)

    @classmethod
    def load(cls, folder: Path | str) -> Self:
        """Read what :meth:`save` wrote.

        Raises:
            BuiltFolderError: the folder holds no finished knockouts, or they are damaged or cannot be read by this
                version.

        """
        folder = Path(folder)
        facts = read_facts(folder / FACTS_NAME, _KnockoutFacts, WHAT, _AGAIN)
        del facts["format"]
        flows = {name for name, counts in facts["counts"]["flows"].items() if counts["n"]}
        return cls(read_tables(folder, flows, _AGAIN), facts, folder)


def knockout_tables(found: Knockouts) -> Iterator[Table]:
    """Yield the tables that ``datasetkit knockout`` prints last: the cost of each flow, and answer tracking."""
    yield _flows(found)
    yield _tracking(found)


def _flows(found: Knockouts) -> Table:
    """Show each flow where blocking it costs most; below, where it costs most compared with its control."""
    curves = found.tables.curves
    every = curves[curves["category"] == ALL]
    table = plain_table(
        "largest drops of the answer's probability, %",
        "\n".join(_notes(found, every)),
        gap=0,
    )
    table.add_column("flow", no_wrap=True)
    for name in ("n", "layer", "change", "95 %"):
        table.add_column(name, justify="right", no_wrap=True)
    beyond = _lowest(every, "difference")
    for flow, row in _lowest(every, "change").items():
        table.add_row(flow, *_cells(row, "n", "change"))
        if flow in beyond:
            mark = "*" if found.facts["counts"]["flows"][flow]["overlapping"] else ""
            table.add_row(f"  beyond random edges{mark}", *_cells(beyond[flow], "n_control", "difference"))
    return table


def _lowest(curves: pd.DataFrame, measure: str) -> dict[str, Mapping[Hashable, Any]]:
    """Return the row of the layer where each flow's measure is lowest, the lowest first; skip flows without it."""
    there = curves[curves[measure].notna()]
    rows = there.loc[there.groupby("flow", sort=False)[measure].idxmin()].sort_values(measure, kind="stable")
    return {row["flow"]: row for row in rows.to_dict("records")}


def _cells(row: Mapping[Hashable, Any], count: str, measure: str) -> tuple[str, str, str, str]:
    """Return the number of questions, the layer, the measure and its band."""
    ends = interval(row[f"{measure}_band_low"], row[f"{measure}_band_high"], _PERCENT)
    return f"{row[count]:,}", str(row["layer"]), written(row[measure], _PERCENT), ends


def _notes(found: Knockouts, curves: pd.DataFrame) -> Iterator[str]:
    counts = found.facts["counts"]
    flows = {name: flow for name, flow in counts["flows"].items() if flow["n"]}
    overlap = curves.groupby("flow")["overlap"].first()
    yield "95 %: simultaneous over layers (bootstrap of images), so it also holds for the layer that was picked"
    if any(flow["overlapping"] for flow in flows.values()):
        yield "* queries see too few other keys: some of the random edges belong to the flow"
    if none := [f"{name} ({percent(overlap[name])})" for name, flow in flows.items() if not flow["controlled"]]:
        yield f"no control: most random edges would belong to the flow: {', '.join(none)}"
    if any(0 < flow["controlled"] < flow["n"] for flow in flows.values()):
        yield "n of random edges below that of their flow: in the other questions most would belong to the flow"
    if any(flow["without"] for flow in flows.values()):
        yield f"n of a flow below {counts['blocked']:,}: the other questions lack such tokens"
    if lacking := [name for name in counts["flows"] if name not in flows]:
        yield (
            f"left out: no question has such tokens: {', '.join(lacking)} (key objects are those that a question "
            "names by object_ids or boxes)"
        )


def _tracking(found: Knockouts) -> Table:
    curves = found.tables.tracking_curves
    every = curves[curves["category"] == ALL].set_index(["layer", "token"])["p"]
    table = plain_table("probability of the answer's first token after each layer")
    table.add_column("after layer", justify="right")
    for name in TRACKED:
        table.add_column(name, justify="right")
    for layer in sorted(set(curves["layer"])):
        cells = (every.get((layer, name), np.nan) for name in TRACKED)
        table.add_row(str(layer - 1) if layer else "none", *(number(value) for value in cells))
    return table

"""Results of an ablation, as one object and as files. Owns the files' names and how results are shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pandas as pd
from rich.console import RenderableType
from rich.table import Table

from datasetkit.core.errors import BuiltFolderError
from datasetkit.core.results import Result
from datasetkit.hi_scoring.ablation.table import verdicts
from datasetkit.hi_scoring.evaluation.metrics import METRICS, find_metric
from datasetkit.hi_scoring.report.tables import plain_table
from datasetkit.hi_scoring.report.text import ON_A_PAGE, signed
from datasetkit.hi_scoring.runs.drops import drops_in
from datasetkit.hi_scoring.runs.facts import Count, Facts, read_facts
from datasetkit.hi_scoring.runs.files import records_of, write_facts, write_table
from datasetkit.hi_scoring.runs.reading import Columns, read_frame
from datasetkit.hi_scoring.statistics import LEVEL

CURVES_NAME, CONTRASTS_NAME, FACTS_NAME = "ablations.parquet", "contrasts.parquet", "ablation.json"
MARK = "*"
# The other metrics are in the files.
_SHOWN = ("answer_probability", "accuracy", "key_recall", "cider")
_RULES = ("top", "bottom", "random")
_WHAT = "ablation"
_NUMBERS: Columns = dict.fromkeys(("low", "high", "p"), "number")
_PLACE: Columns = {"ranking": "text", "mode": "text", "heads": "whole", "share": "number", "metric": "text"}
_CURVES: Columns = {
    **_PLACE,
    **_NUMBERS,
    "rule": "text",
    "draw": "whole or null",
    "runs": "whole",
    "shared": "number",
    "n": "whole",
    **dict.fromkeys(("unablated", "figure", "spread", "shift"), "number"),
}
_CONTRASTS: Columns = {
    **_PLACE,
    **_NUMBERS,
    **dict.fromkeys(("top", "random", "difference", "p_sets", "p_holm"), "number"),
    "worse": "flag",
}


class _OptionFacts(Facts):
    """The options of the run."""

    draws: Count


class _TrialFacts(Facts):
    """One trial."""

    condition: str


class _AblationFacts(Facts):
    """The description stored with finished tables, as far as it is read again."""

    n: Count
    options: _OptionFacts
    trials: list[_TrialFacts]


@dataclass(frozen=True, eq=False, repr=False)
class Ablations(Result):
    """Result tables, and what they were computed from.

    Args:
        curves: see :meth:`datasetkit.hi_scoring.ablation.table.Effects.curves`.
        contrasts: see :meth:`datasetkit.hi_scoring.ablation.table.Effects.contrasts`.
        facts: model, data, options, rankings, and the heads of every trial; ``n`` samples, and how many ``rows`` were
            read, used and dropped (``drops.jsonl`` has the reasons); plain JSON values.
        folder: the folder that they were read from.

    """

    curves: pd.DataFrame
    contrasts: pd.DataFrame
    facts: Mapping[str, Any]
    folder: Path = Path()

    def __repr__(self) -> str:
        return f"<Ablations in {self.folder}: {self._size}>"

    @property
    def _size(self) -> str:
        conditions = len({trial["condition"] for trial in self.facts["trials"]})
        return f"{conditions:,} conditions on {self.facts['n']:,} samples"

    def report(self) -> Iterator[RenderableType]:
        """See :meth:`Result.report`: the dose curves of every ranking."""
        yield from ablation_tables(self)
        yield from (f"wrote {self.folder} ({self._size})", ON_A_PAGE)

    def as_json(self) -> dict[str, Any]:
        """See :meth:`Result.as_json`."""
        told = {"folder": str(self.folder), **self.facts, "dropped": drops_in(self.folder)}
        return {**told, "curves": records_of(self.curves), "contrasts": records_of(self.contrasts)}

    def save(self, folder: Path) -> None:
        """Write three files; until the last one is in place, the folder counts as unfinished."""
        self.remove(folder)
        for name, table in ((CURVES_NAME, self.curves), (CONTRASTS_NAME, self.contrasts)):
            write_table(folder / name, table)
        write_facts(folder / FACTS_NAME, self.facts, ensure_ascii=False)

    @staticmethod
    def remove(folder: Path) -> None:
        """Remove the files that :meth:`save` wrote, the last one first."""
        for name in (FACTS_NAME, CONTRASTS_NAME, CURVES_NAME):
            (folder / name).unlink(missing_ok=True)

    @staticmethod
    def facts_of(folder: Path) -> Mapping[str, Any] | None:
        """Read what the finished tables in a folder were computed from; None if there are no finished tables."""
        try:
            return _read_facts(folder)
        except BuiltFolderError:
            return None

    @classmethod
    def load(cls, folder: Path | str) -> Self:
        """Read what :meth:`save` wrote.

        Raises:
            BuiltFolderError: the folder holds no finished ablation, or its files are damaged.

        """
        folder = Path(folder)
        facts, again = _read_facts(folder), f"remove {FACTS_NAME}, and run it again"
        place = ("ranking", "mode", "heads", "metric")
        curves = read_frame(
            folder / CURVES_NAME, _CURVES, _WHAT, again, keys=(*place, "rule", "draw"), grid=(*place, "rule")
        )
        contrasts = read_frame(folder / CONTRASTS_NAME, _CONTRASTS, _WHAT, again, keys=place, grid=place)
        whole = curves[curves["draw"].isna()]
        if set(whole["rule"]) != set(_RULES) or len(whole) != len(curves[[*place, "rule"]].drop_duplicates()):
            raise BuiltFolderError(f"{folder / CURVES_NAME} is damaged: rows of a rule are missing; {again}")
        tested = set(whole[whole["metric"].isin(METRICS)][list(place)].itertuples(index=False, name=None))
        if set(contrasts[list(place)].itertuples(index=False, name=None)) != tested:
            raise BuiltFolderError(f"{folder / CONTRASTS_NAME} does not have the same doses as {CURVES_NAME}; {again}")
        return cls(curves.astype({"draw": "Int64"}), contrasts, facts, folder)


def _read_facts(folder: Path) -> dict[str, Any]:
    return read_facts(folder / FACTS_NAME, _AblationFacts, _WHAT, "run it again, to its end")


def ablation_tables(found: Ablations) -> Iterator[Table]:
    """Yield the tables that ``datasetkit ablate`` prints last: a dose curve for each ranking and mode, and verdicts."""
    whole, asked_for = found.curves[found.curves["draw"].isna()], found.facts["options"]["draws"]
    for (ranking, mode), curve in whole.groupby(["ranking", "mode"], sort=False):
        contrasts = found.contrasts
        tested = contrasts[(contrasts["ranking"] == ranking) & (contrasts["mode"] == mode)]
        yield _curve(f"{mode} ablation of heads by {ranking}", curve, tested, asked_for)
    yield _verdicts(found.contrasts)


def _curve(title: str, curve: pd.DataFrame, tested: pd.DataFrame, asked_for: int) -> Table:
    told = f"shifts from the unablated model; {MARK} top heads exceed noise and random sets, p < {LEVEL} (Holm)"
    table = plain_table(title, told)
    table.add_column("metric")
    table.add_column("heads", no_wrap=True)
    doses = list(dict.fromkeys(curve["heads"]))
    for heads in doses:
        table.add_column(f"{heads:,}", justify="right", no_wrap=True)
    shifts = curve.set_index(["metric", "rule", "heads"])["shift"]
    corrected = tested.set_index(["metric", "heads"])["p_holm"]
    for metric in (name for name in _SHOWN if name in set(curve["metric"])):
        for rule in _RULES:
            marks = [MARK if rule == "top" and corrected[metric, heads] < LEVEL else " " for heads in doses]
            cells = [f"{signed(shifts[metric, rule, heads])}{mark}" for heads, mark in zip(doses, marks, strict=True)]
            table.add_row(find_metric(metric).label if rule == _RULES[0] else "", rule, *cells)
    drawn = curve[curve["rule"] == "random"].drop_duplicates("heads").set_index("heads")
    table.add_row(f"distinct sets of {asked_for:,}", "random", *(f"{drawn['runs'][heads]:,} " for heads in doses))
    table.add_row("heads also in top", "random", *(f"{drawn['shared'][heads]:,.1f} " for heads in doses))
    return table


def _verdicts(contrasts: pd.DataFrame) -> Table:
    judged = verdicts(contrasts)
    table = plain_table(
        "top heads matter more than random heads of the same layers",
        f"judged by: {find_metric(judged[0].metric).label}",
    )
    table.add_column("ranking")
    table.add_column("")
    for name in ("worse", "better", "tested"):
        table.add_column(name, justify="right")
    for verdict in judged:
        table.add_row(
            verdict.ranking, verdict.answer, f"{verdict.worse:,}", f"{verdict.better:,}", f"{verdict.tested:,}"
        )
    return table

"""What the functions about attention heads return. Owns how results of a folder show themselves, and as what JSON.

Each is what :mod:`datasetkit.hi_scoring` reads from its folder, with a report; ``ScoreResult.load(folder)`` reads it
again.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pandas as pd

from datasetkit.core.results import Result
from datasetkit.core.text import counted
from datasetkit.hi_scoring.ablation.results import Ablations
from datasetkit.hi_scoring.ablation.terminal import ablation_tables
from datasetkit.hi_scoring.comparison.compare import CELLS_NAME, Comparison
from datasetkit.hi_scoring.comparison.report.terminal import comparison_tables
from datasetkit.hi_scoring.comparison.table import contrasts_table, shifts_table
from datasetkit.hi_scoring.interventions.knockout_results import Knockouts
from datasetkit.hi_scoring.interventions.terminal import knockout_tables
from datasetkit.hi_scoring.joined.claims import Claim
from datasetkit.hi_scoring.joined.terminal import claims_table
from datasetkit.hi_scoring.runs.drops import DROPS_NAME, read_drops
from datasetkit.hi_scoring.scores.report.terminal import scores_tables
from datasetkit.hi_scoring.scores.results import HeadScores
from datasetkit.hi_scoring.scores.run import PAGE_NAME
from datasetkit.hi_scoring.sparse.conditions import CORE
from datasetkit.hi_scoring.sparse.folder import Sparsity
from datasetkit.hi_scoring.sparse.plan import PLAN_NAME
from datasetkit.hi_scoring.sparse.terminal import sparsity_tables

if TYPE_CHECKING:
    from rich.console import RenderableType

# Fewer make intervals and halves of the data say little.
FEW_SAMPLES = 30
# What results end with that have tables and no page.
_ON_A_PAGE = "`datasetkit report FOLDER ...` shows all results of a model on one page"


class ScoreResult(HeadScores, Result):
    """Scores of every head on every sample, ranked.

    Attributes:
        folder: where they are.
        by: SCORE:POSITIONS that heads are ranked by.
        shown: how many heads are listed.

    """

    folder: Path
    by: str
    shown: int

    @classmethod
    def load(cls, folder: Path | str) -> Self:
        """See :meth:`HeadScores.load`."""
        found = super().load(folder)
        found.folder, found.by, found.shown = Path(folder), f"hi:{found.options.positions[0]}", 10
        return found

    @property
    def page(self) -> Path:
        """The page about them."""
        return self.folder / PAGE_NAME

    def __repr__(self) -> str:
        layers, heads = self.shape
        return f"<ScoreResult in {self.folder}: {layers} layers of {heads} heads, {len(self.record_ids)} samples>"

    def report(self) -> Iterator[RenderableType]:
        """See :meth:`Result.report`: the best heads and layers, and how stable the ranking is."""
        yield from scores_tables(self, self.by, self.shown)
        samples = len(self.record_ids)
        if samples < FEW_SAMPLES:
            yield f"few samples    {samples}: intervals and rankings say little below some {FEW_SAMPLES}"
        yield from (f"without scores  {line}" for line in _dropped(self.folder, "row"))
        yield f"wrote {self.folder} (scores of {counted(samples, 'sample')})"
        yield f"open {self.page} in a browser"

    def as_json(self) -> dict[str, Any]:
        """See :meth:`Result.as_json`."""
        layers, heads = self.shape
        table, (score, _, place) = self.table(), self.by.partition(":")
        ranked = table[(table["score"] == score) & (table["positions"] == place)]
        return {
            "folder": str(self.folder),
            "page": str(self.page),
            "model": asdict(self.model),
            "data": self.dataset,
            "layers": layers,
            "heads": heads,
            "samples": len(self.record_ids),
            "ranked_by": self.by,
            "top": _records(ranked.nlargest(self.shown, "mean").drop(columns=["score", "positions"])),
            "dropped": _reasons(self.folder),
        }


@dataclass(frozen=True, eq=False, repr=False)
class KnockoutResult(Knockouts, Result):
    """Knockouts in a folder."""

    folder: Path = field(default=Path(), kw_only=True)

    @classmethod
    def load(cls, folder: Path | str) -> Self:
        """See :meth:`Knockouts.load`."""
        return replace(super().load(folder), folder=Path(folder))

    def __repr__(self) -> str:
        return f"<KnockoutResult in {self.folder}: {self.facts['counts']['blocked']:,} questions>"

    def report(self) -> Iterator[RenderableType]:
        """See :meth:`Result.report`: the largest falls of each flow, and answer tracking."""
        yield from knockout_tables(self)
        counts = self.facts["counts"]
        if wrong := counts["questions"] - counts["blocked"]:
            yield f"left out  {wrong:,} of {counts['questions']:,} questions: the model answers them wrong"
        yield from (f"dropped   {line}" for line in _dropped(self.folder))
        if counts["blocked"] < FEW_SAMPLES:
            yield f"few questions  {counts['blocked']}: intervals say little below some {FEW_SAMPLES}"
        yield f"wrote {self.folder} (knockouts of {counts['blocked']:,} questions)"
        yield _ON_A_PAGE

    def as_json(self) -> dict[str, Any]:
        """See :meth:`Result.as_json`."""
        told = {"folder": str(self.folder), **self.facts, "dropped": _reasons(self.folder)}
        return {**told, "curves": _records(self.tables.curves)}


@dataclass(frozen=True, eq=False, repr=False)
class AblationResult(Ablations, Result):
    """An ablation in a folder."""

    folder: Path = field(default=Path(), kw_only=True)

    @classmethod
    def load(cls, folder: Path | str) -> Self:
        """See :meth:`Ablations.load`."""
        return replace(super().load(folder), folder=Path(folder))

    def __repr__(self) -> str:
        return f"<AblationResult in {self.folder}: {self._conditions:,} conditions, {self.facts['n']:,} samples>"

    @property
    def _conditions(self) -> int:
        return len({trial["condition"] for trial in self.facts["trials"]})

    def report(self) -> Iterator[RenderableType]:
        """See :meth:`Result.report`: dose curves of every ranking."""
        yield from ablation_tables(self)
        yield f"wrote {self.folder} ({self._conditions:,} conditions on {self.facts['n']:,} samples)"
        yield _ON_A_PAGE

    def as_json(self) -> dict[str, Any]:
        """See :meth:`Result.as_json`."""
        told = {"folder": str(self.folder), **self.facts, "dropped": _reasons(self.folder)}
        return {**told, "curves": _records(self.curves), "contrasts": _records(self.contrasts)}


@dataclass(frozen=True, eq=False, repr=False)
class SparsityResult(Sparsity, Result):
    """Measurements of sparse prefill in a folder."""

    folder: Path = field(default=Path(), kw_only=True)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """See :meth:`Sparsity.load`."""
        return replace(super().load(Path(folder)), folder=Path(folder))

    def __repr__(self) -> str:
        return f"<SparsityResult in {self.folder}: {len(self.plan.kept):,} heads keep full attention>"

    def report(self) -> Iterator[RenderableType]:
        """See :meth:`Result.report`: costs, and what the model says."""
        yield from sparsity_tables(self)
        plan = self.plan
        [core] = self.costs[self.costs["group"] == CORE].to_dict("records")
        if not core["sparse"] > 0:
            yield (
                f"nothing was sparse: of {core['tokens']:,.0f} tokens of a prompt (median), text, the first "
                f"{plan.sink} and the last {plan.window} are too many; give a smaller --window, or longer prompts"
            )
        yield f"wrote {self.folder}; {self.folder / PLAN_NAME} keeps {len(plan.kept):,} heads"
        yield _ON_A_PAGE

    def as_json(self) -> dict[str, Any]:
        """See :meth:`Result.as_json`."""
        kept = [list(head) for head in self.plan.kept]
        told = {"folder": str(self.folder), "plan": str(self.folder / PLAN_NAME), "kept": kept}
        return {**told, "costs": _records(self.costs), "quality": _records(self.quality)}


@dataclass(frozen=True, eq=False, repr=False)
class ComparisonResult(Comparison, Result):
    """Tuned models in a folder, compared with the untuned one."""

    folder: Path = field(default=Path(), kw_only=True)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """See :meth:`Comparison.load`."""
        return replace(super().load(Path(folder)), folder=Path(folder))

    @cached_property
    def shifts(self) -> pd.DataFrame:
        """See :func:`datasetkit.hi_scoring.comparison.table.shifts_table`."""
        return shifts_table(self)

    @cached_property
    def contrasts(self) -> pd.DataFrame:
        """See :func:`datasetkit.hi_scoring.comparison.table.contrasts_table`."""
        return contrasts_table(self)

    @property
    def page(self) -> Path:
        """The page about them."""
        return self.folder / PAGE_NAME

    def __repr__(self) -> str:
        return f"<ComparisonResult in {self.folder}: {', '.join(self.groups)}>"

    def report(self) -> Iterator[RenderableType]:
        """See :meth:`Result.report`: figures, shifts and contrasts, and what was tuned."""
        yield from comparison_tables(self, self.shifts, self.contrasts)
        for group, cells in self.groups.items():
            first = cells[0]
            share = first.trainable / first.parameters
            yield f"{group}: {first.trainable:,} trainable parameters, {share:.4%} of {first.parameters:,}"
            yield from (f"  {cell.name}: {', '.join(cell.modules)}" for cell in cells)
        yield f"wrote {self.folder} (adapters: {CELLS_NAME}/NAME/adapter; tables: comparison.md, *.parquet)"
        yield f"open {self.page} in a browser"

    def as_json(self) -> dict[str, Any]:
        """See :meth:`Result.as_json`."""
        told = {"folder": str(self.folder), "page": str(self.page), "groups": list(self.groups)}
        return {**told, "shifts": _records(self.shifts), "contrasts": _records(self.contrasts)}


@dataclass(frozen=True, repr=False)
class JoinedReport(Result):
    """A page about all results of a model.

    Args:
        page: the file.
        claims: of the papers, and what was found of each.

    """

    page: Path
    claims: Sequence[Claim]

    def __repr__(self) -> str:
        return f"<JoinedReport in {self.page}: {len(self.claims)} claims>"

    def report(self) -> Iterator[RenderableType]:
        """See :meth:`Result.report`: a verdict on each claim."""
        yield claims_table(self.claims)
        yield f"open {self.page} in a browser"

    def as_json(self) -> dict[str, Any]:
        """See :meth:`Result.as_json`."""
        return {"page": str(self.page), "claims": [asdict(claim) for claim in self.claims]}


def _reasons(folder: Path) -> Mapping[str, int]:
    drops = read_drops(folder) if (folder / DROPS_NAME).is_file() else ()
    return Counter(str(drop.reason) for drop in drops)


def _dropped(folder: Path, what: str | None = None) -> Iterator[str]:
    """Yield a line for each reason that rows were left out for, the most frequent first."""
    reasons = Counter(drop.reason for drop in read_drops(folder)) if (folder / DROPS_NAME).is_file() else Counter()
    for reason, count in reasons.most_common():
        yield f"{counted(count, what) if what else f'{count:,}'}: {reason} ({reason.explanation})"


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a table's rows as plain values; what is not defined is null."""
    return list(json.loads(table.to_json(orient="records")))

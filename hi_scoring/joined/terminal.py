"""Verdicts as a table in the terminal. Owns its columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from datasetkit.core.results import Result
from datasetkit.hi_scoring.joined.claims import Claim
from datasetkit.hi_scoring.report.tables import plain_table


@dataclass(frozen=True, repr=False)
class JoinedReport(Result):
    """A page about all results of a model, and the verdict on each claim of the papers."""

    page: Path
    claims: Sequence[Claim]

    def __repr__(self) -> str:
        return f"<JoinedReport in {self.page}: {len(self.claims)} claims>"

    def report(self) -> Iterator[RenderableType]:
        """See :meth:`Result.report`: a verdict on each claim."""
        yield from (claims_table(self.claims), f"wrote {self.page}; open it in a browser")


def claims_table(claims: Sequence[Claim]) -> Table:
    """Return the table that ``datasetkit report`` prints last: one row per claim, with the reason below it."""
    table = plain_table("claims of the papers")
    table.add_column("verdict", no_wrap=True)
    table.add_column("claim, and why", overflow="fold")
    for one in claims:
        grounds = f"{one.why}{f' [{one.folder}]' if one.folder else ''}"
        table.add_row(one.answer, Text.assemble(one.claim, "\n", (grounds, "dim"), "\n"))
    return table

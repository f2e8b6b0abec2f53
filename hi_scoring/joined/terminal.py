"""Verdicts as a table in the terminal. Owns its columns."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from datasetkit.hi_scoring.joined.claims import Claim
from datasetkit.hi_scoring.report.tables import plain_table


def claims_table(claims: Sequence[Claim]) -> Table:
    """Give what ``datasetkit report`` ends with: a row for each claim; the grounds are on the page, and below each."""
    table = plain_table("claims of the papers")
    table.add_column("here", no_wrap=True)
    table.add_column("claim, and why", overflow="fold")
    for one in claims:
        grounds = f"{one.why}{f' [{one.folder}]' if one.folder else ''}"
        table.add_row(one.answer, Text.assemble(one.claim, "\n", (grounds, "dim"), "\n"))
    return table

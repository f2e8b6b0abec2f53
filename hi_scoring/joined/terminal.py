"""Verdicts as a table in the terminal. Owns its columns."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from hi_scoring.joined.claims import Claim


def claims_table(claims: Sequence[Claim]) -> Table:
    """Give what ``datasetkit report`` ends with: a row for each claim; the grounds are on the page, and below each."""
    table = Table(
        title="claims of the papers",
        title_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        show_lines=False,
    )
    table.add_column("here", no_wrap=True)
    table.add_column("claim, and why", overflow="fold")
    for one in claims:
        grounds = f"{one.why}{f' [{one.folder}]' if one.folder else ''}"
        table.add_row(one.answer, Text.assemble(one.claim, "\n", (grounds, "dim"), "\n"))
    return table

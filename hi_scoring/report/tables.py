"""Tables in the terminal. Owns their look."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text


def plain_table(title: str, caption: str = "", *, gap: int = 1) -> Table:
    """Begin a table without lines between rows, its title and caption at the left.

    Args:
        title: above it.
        caption: below it; blank for none.
        gap: blanks between columns. Without any, more columns fit into a terminal of 80.

    """
    return Table(
        title=Text(title),
        title_justify="left",
        caption=Text(caption) if caption else None,
        caption_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, gap, 0, 0),
        pad_edge=False,
    )

"""Tables in the terminal. Owns their style."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text


def plain_table(title: str, caption: str = "", *, gap: int = 1) -> Table:
    """Return an empty table without lines between rows, with its title and caption on the left.

    Args:
        title: text above it.
        caption: text below it; blank for none.
        gap: spaces between columns. With 0, more columns fit into a terminal of 80 columns.

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

"""Markdown that data cannot break. Owns escaping, tables, code and numbers of everything written in Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_SPECIAL = re.compile(r"([\\`*_{}\[\]#|~$])")


class Markdown(str):
    """Text that is Markdown already; whatever is not of this class is escaped before it is written."""

    __slots__ = ()


def escape(value: object) -> str:
    """Spell a value so that Markdown shows it as it is, in one line; Markdown is left alone."""
    if isinstance(value, Markdown):
        return value
    text = " ".join(str(value).split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _SPECIAL.sub(r"\\\1", text)


def code(text: str) -> Markdown:
    """Spell text as inline code that may stand in a table."""
    line = " ".join(text.split()).replace("|", "\\|")
    fence = "`" * (_longest_run(line) + 1)
    padding = " " if line.startswith("`") or line.endswith("`") else ""
    return Markdown(f"{fence}{padding}{line}{padding}{fence}")


def fenced(text: str, language: str) -> Markdown:
    """Spell text as a block of code."""
    fence = "`" * max(3, _longest_run(text) + 1)
    return Markdown(f"{fence}{language}\n{text.rstrip()}\n{fence}")


def number(value: int) -> Markdown:
    """Spell a count with commas between thousands."""
    return Markdown(f"{value:,}")


def percent(part: int, whole: int) -> Markdown:
    """Spell a share of ``whole``, which may be 0, in percent."""
    return Markdown(f"{100 * part / whole:.1f} %" if whole else "")


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> Markdown:
    """Lay out a table, its cells escaped; columns that hold nothing but numbers stand to the right.

    Returns:
        empty where there are no rows.

    """
    cells = [[escape(cell) for cell in row] for row in rows]
    if not cells:
        return Markdown()
    rules = [
        "---:" if all(re.fullmatch(r"[\d,.]* ?(%|MB)?", row[place]) for row in cells) else "---"
        for place in range(len(header))
    ]
    lines = [[escape(name) for name in header], rules, *cells]
    return Markdown("\n".join(f"| {' | '.join(line)} |" for line in lines))


def _longest_run(text: str) -> int:
    return max(map(len, re.findall(r"`+", text)), default=0)

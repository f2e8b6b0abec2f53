"""Markdown that data cannot break. Owns escaping, tables, code and numbers in all Markdown output."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_SPECIAL = re.compile(r"([\\`*_{}\[\]#|~$])")


class Markdown(str):
    """Text that is Markdown already; text of any other class is escaped before it is written."""

    __slots__ = ()


def escape(value: object) -> str:
    """Return a value escaped, so that Markdown shows it unchanged, in one line; Markdown is returned unchanged."""
    if isinstance(value, Markdown):
        return value
    text = " ".join(str(value).split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _SPECIAL.sub(r"\\\1", text)


def code(text: str) -> Markdown:
    """Return text as inline code, which may be used in a table."""
    line = " ".join(text.split()).replace("|", "\\|")
    fence = "`" * (_longest_run(line) + 1)
    padding = " " if line.startswith("`") or line.endswith("`") else ""
    return Markdown(f"{fence}{padding}{line}{padding}{fence}")


def fenced(text: str, language: str) -> Markdown:
    """Return text as a code block."""
    fence = "`" * max(3, _longest_run(text) + 1)
    return Markdown(f"{fence}{language}\n{text.rstrip()}\n{fence}")


def number(value: int) -> Markdown:
    """Return a count with thousands separators."""
    return Markdown(f"{value:,}")


def percent(part: int, whole: int) -> Markdown:
    """Return the share of ``whole``, which may be 0, in percent."""
    return Markdown(f"{100 * part / whole:.1f} %" if whole else "")


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> Markdown:
    """Return a table with escaped cells; columns of numbers are right-aligned.

    Returns:
        the table; empty without rows.

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

"""Short texts for people: counts of things, and errors in one line. Owns how they are spelt."""

from __future__ import annotations


def counted(count: int, what: str) -> str:
    """Write a count of things: ``1 seed``, ``1,200 samples``."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def one_line(value: object) -> str:
    """Join the lines of a text, such as an error's message; an error without any is named by its type."""
    return " ".join(str(value).split()) or type(value).__name__

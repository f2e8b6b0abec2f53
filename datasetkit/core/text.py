"""Short texts for people: counts of things, and errors in one line. Owns how they are spelt."""

from __future__ import annotations


def counted(count: int, what: str) -> str:
    """Write a count of things: ``1 seed``, ``1,200 samples``."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def one_line(value: object) -> str:
    """Join the lines of a text, such as an error's message; an error without any is named by its type."""
    return " ".join(str(value).split()) or type(value).__name__


def duration(seconds: float) -> str:
    """Write a duration: ``7.3 s``, ``2 min 5 s``, ``1 h 2 min``."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60:,} h {minutes % 60} min"

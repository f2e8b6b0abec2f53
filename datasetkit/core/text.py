"""Short texts for users: counts, one-line errors, meanings of constants. Owns their wording."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Self

# Tokens of the Hub and of AWS, user and password in URIs, and values after the names of secrets.
_SECRETS = (
    (re.compile(r"\b(hf_|api_org_|AKIA|ASIA)[\w.-]{8,}"), r"\1***"),
    (re.compile(r"(?<=://)[^/@\s'\"]+:[^/@\s'\"]+@"), "***@"),
    (re.compile(r"(?i)(\bbearer\s+)[\w.~+/=-]{8,}"), r"\1***"),
    (re.compile(r"(?i)\b([\w-]*(?:signature|token|secret|password|credential|api_?key|sig)=)[^&\s'\"]+"), r"\1***"),
)
_SECRET_NAMES = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "OPENAI_API_KEY")
_SHORTEST_SECRET = 8
_SPLIT_NAME = re.compile(r"\w+(\.\w+)*")
_kept: set[str] = set()


class Explained(StrEnum):
    """Constants in files, each with one plain sentence for cards and tables: ``NAME = "name", "what it means"``."""

    explanation: str

    def __new__(cls, value: str, explanation: str = "") -> Self:
        """Return a constant that equals its value, without regard to its meaning."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.explanation = explanation
        return member


def is_split_name(text: str) -> bool:
    """Whether a split can have this name: letters, digits and ``_``, with dots between them."""
    return _SPLIT_NAME.fullmatch(text) is not None


def counted(count: int, what: str) -> str:
    """Return a count with its noun: ``1 seed``, ``1,200 samples``."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def first_few(names: Iterable[object], most: int = 3) -> str:
    """Join names with commas, and add how many more there are."""
    every = list(map(str, names))
    more = f" and {len(every) - most:,} more" if len(every) > most else ""
    return f"{', '.join(every[:most])}{more}"


def set_of_words(text: str) -> frozenset[str]:
    """Return the words of a text: long lists of short constants read best as one string."""
    return frozenset(text.split())


def one_line(value: object) -> str:
    """Join the lines of a text, such as the message of an error; an error without a message is named by its type."""
    return " ".join(str(value).split()) or type(value).__name__


def keep_secret(token: str | None) -> None:
    """Make :func:`without_secrets` hide a token of this process."""
    if token is not None:
        _kept.add(token)


def error_text(error: BaseException) -> str | None:
    """Return the message of an error in one line; None if its ``__str__`` fails."""
    try:
        return one_line(error)
    except Exception:  # noqa: BLE001 - ``__str__`` of foreign errors may raise anything
        return None


def without_secrets(text: str) -> str:
    """Replace possible tokens, passwords and signatures, including those of this process, by ``***``."""
    for value in (*_kept, *(os.environ.get(name, "") for name in _SECRET_NAMES)):
        if len(value) >= _SHORTEST_SECRET:
            text = text.replace(value, "***")
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text


def first_line(value: object) -> str:
    """Return the first line of a text, such as the message of an error."""
    return str(value).strip().split("\n")[0]


def connection_fault(error: BaseException) -> str:
    """Return in one line why a server cannot be reached; a name that no resolver knows mostly means no network."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, socket.gaierror):
            return "no network, or the name cannot be resolved"
        cause = cause.__cause__ or cause.__context__
    return first_line(error)


def duration(seconds: float) -> str:
    """Return a duration: ``7.3 s``, ``2 min 5 s``, ``1 h 2 min``."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60:,} h {minutes % 60} min"


def pace(per_second: float) -> str:
    """Return a rate: ``0.42/s``, ``7.3/s``, ``1,200/s``."""
    return f"{per_second:,.0f}/s" if per_second >= 10 else f"{per_second:.2g}/s"


def listed(names: Sequence[str], count: int | None = None) -> str:
    """Return the first three names, and how many more there are of ``count``; None means the number of names."""
    more = (len(names) if count is None else count) - 3
    return ", ".join(names[:3]) + (f" and {more:,} more" if more > 0 else "")

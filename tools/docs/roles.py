"""Sphinx's roles in docstrings, which Markdown does not know: ``:class:`~a.b.Name``` is read as code, ``Name``."""

from __future__ import annotations

import re
from typing import Any

import griffe

_ROLE = re.compile(r":(?:attr|class|data|func|meth|mod):`(~?)([\w.]+)`")


class Roles(griffe.Extension):
    """Rewrites the docstrings that are read for the reference."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Write the roles of one docstring as code."""
        if obj.docstring is not None:
            obj.docstring.value = _ROLE.sub(_as_code, obj.docstring.value)


def _as_code(role: re.Match[str]) -> str:
    return f"`{role[2].rpartition('.')[2] if role[1] else role[2]}`"

"""What public functions return. Owns the base class of results: how they look in a terminal, a notebook and JSON."""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

_HTML = '<pre style="font-family:monospace;line-height:1.2;white-space:pre">{code}</pre>'
_COLUMNS = 110


class Result(ABC):
    """What a function of the public API found or wrote."""

    @abstractmethod
    def report(self) -> Iterable[RenderableType]:
        """Yield what the command line prints: tables of rich, and lines of text."""

    def as_json(self) -> dict[str, Any]:
        """Return it as plain JSON values, as ``--json`` prints them; here, the fields of a dataclass."""
        from pydantic_core import to_jsonable_python

        return dict(to_jsonable_python(self, fallback=str))

    def __str__(self) -> str:
        """Write the report as plain text."""
        return self._printed().export_text().rstrip("\n")

    def _repr_html_(self) -> str:
        """Show the report in a notebook."""
        return self._printed().export_html(inline_styles=True, code_format=_HTML)

    def _printed(self) -> Console:
        from rich.console import Console

        console = Console(file=io.StringIO(), record=True, width=_COLUMNS, force_jupyter=False)
        for item in self.report():
            console.print(item, markup=False, highlight=False)
        return console

"""Results of public functions. Owns their base class, and their display in a terminal, a notebook and JSON."""

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
    """Base class of the results of the public API."""

    @abstractmethod
    def report(self) -> Iterable[RenderableType]:
        """Yield what the command line prints: rich tables, and lines of text."""

    def as_json(self) -> dict[str, Any]:
        """Return the plain JSON values that ``--json`` prints: by default, the fields of the dataclass."""
        from pydantic_core import to_jsonable_python

        return dict(to_jsonable_python(self, fallback=str))

    def __str__(self) -> str:
        """Return the report as plain text."""
        return self._printed().export_text().rstrip("\n")

    def _repr_html_(self) -> str:
        """Return the report as HTML, for notebooks."""
        return self._printed().export_html(inline_styles=True, code_format=_HTML)

    def _printed(self) -> Console:
        from rich.console import Console

        console = Console(file=io.StringIO(), record=True, width=_COLUMNS, force_jupyter=False)
        for item in self.report():
            console.print(item, markup=False, highlight=False)
        return console

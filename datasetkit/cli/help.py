"""Help texts. Owns their headings, which group the options of a command and the commands of a group."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import click


class PanelOption(click.Option):
    """An option under the heading of its panel; None for the general heading."""

    def __init__(self, *args: Any, panel: str | None, **more: Any) -> None:
        super().__init__(*args, **more)
        self.panel = panel or "Options"


class PanelCommand(click.Command):
    """A command whose arguments and options are grouped under headings."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the arguments, and then the options of each panel."""
        records = [(one, one.get_help_record(ctx)) for one in self.get_params(ctx)]
        write_sections(
            formatter, [(getattr(one, "panel", "Options"), record) for one, record in records if record is not None]
        )


def write_sections(formatter: click.HelpFormatter, records: Iterable[tuple[str, tuple[str, str]]]) -> None:
    """Write names and texts under their headings: arguments and general options first, output options last."""
    sections: dict[str, list[tuple[str, str]]] = {}
    for heading, record in records:
        sections.setdefault(heading, []).append(record)
    order = {"Arguments": 0, "Options": 1, "Output": 3}
    for heading, rows in sorted(sections.items(), key=lambda section: order.get(section[0], 2)):
        with formatter.section(heading):
            formatter.write_dl(rows)

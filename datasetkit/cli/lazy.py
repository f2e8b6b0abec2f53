"""Commands that are imported when they are run, and their help. Owns the table of a group, and how help is laid out."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, get_type_hints

import click

PANEL = "panel"


@dataclass(frozen=True, slots=True)
class Lazy:
    """A command that is imported when it is run.

    Args:
        panel: heading that it stands under.
        path: ``package.module:function``; the function takes options, whose fields become parameters, and a screen.
        help: one line; the function's docstring follows it.

    """

    panel: str
    path: str
    help: str

    def load(self, name: str) -> click.Command:
        """Import the function and make the command; a group is one already."""
        module, _, attribute = self.path.partition(":")
        found = getattr(importlib.import_module(module), attribute)
        if isinstance(found, click.Command):
            return found
        from datasetkit.cli.commands import command

        kind = get_type_hints(found)["options"]
        return command(name, (kind,), found, f"{self.help}\n\n{inspect.cleandoc(found.__doc__)}")


class PanelOption(click.Option):
    """An option that stands under a heading of its own.

    Args:
        panel: the heading; None for that of all others.

    """

    def __init__(self, *args: Any, panel: str | None, **more: Any) -> None:
        super().__init__(*args, **more)
        self.panel = panel or "Options"


class PanelCommand(click.Command):
    """A command whose arguments and options stand under headings."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write arguments, then the options of each panel."""
        records = [(one, one.get_help_record(ctx)) for one in self.get_params(ctx)]
        _write(formatter, [(getattr(one, PANEL, "Options"), record) for one, record in records if record is not None])


class LazyGroup(click.Group):
    """A group of :class:`Lazy` commands, in the order of its table.

    Args:
        table: the commands by name.

    """

    def __init__(self, *args: Any, table: Mapping[str, Lazy], **more: Any) -> None:
        super().__init__(*args, **more)
        self.table = table

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return all names, for help texts and completion."""
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command that is run or asked for help; for the help of the group, nothing is imported."""
        lazy = self.table.get(cmd_name)
        return lazy.load(cmd_name) if lazy is not None else super().get_command(ctx, cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's
        """Write the commands under the headings of their panels."""
        _write(formatter, [(lazy.panel, (name, lazy.help)) for name, lazy in self.table.items()])


def _write(formatter: click.HelpFormatter, records: Iterable[tuple[str, tuple[str, str]]]) -> None:
    sections: dict[str, list[tuple[str, str]]] = {}
    for heading, record in records:
        sections.setdefault(heading, []).append(record)
    for heading, rows in sections.items():
        with formatter.section(heading):
            formatter.write_dl(rows)

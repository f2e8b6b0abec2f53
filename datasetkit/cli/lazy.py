"""Commands that are imported when they run. Owns the table of a group, so that its help needs no imports."""

from __future__ import annotations

import difflib
import importlib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_type_hints

import click

from datasetkit.cli.help import write_sections


@dataclass(frozen=True, slots=True)
class Lazy:
    """A command that is imported when it runs.

    Args:
        panel: heading in the help of the group.
        path: ``package.module:function``; the function takes options, whose fields become parameters, and a screen.
        help: first line of the help text; the docstring of the function follows.

    """

    panel: str
    path: str
    help: str

    def load(self, name: str) -> click.Command:
        """Import the function and return its command, or the group that the path names."""
        module, _, attribute = self.path.partition(":")
        found = getattr(importlib.import_module(module), attribute)
        if isinstance(found, click.Command):
            return found
        from datasetkit.cli.commands import command

        kind = get_type_hints(found)["options"]
        return command(name, (kind,), found, f"{self.help}\n\n{inspect.cleandoc(found.__doc__)}")


class LazyGroup(click.Group):
    """A group of :class:`Lazy` commands, in the order of its table by name."""

    def __init__(self, *args: Any, table: Mapping[str, Lazy], **more: Any) -> None:
        super().__init__(*args, **more)
        self.table = table

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return all names, for help texts and shell completion."""
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command that is to run or to print its help; the help of the group imports nothing."""
        lazy = self.table.get(cmd_name)
        if lazy is None and (like := difflib.get_close_matches(cmd_name, self.table)):
            ctx.fail(f"there is no command {cmd_name!r}; did you mean {like[0]}?")
        return lazy.load(cmd_name) if lazy is not None else super().get_command(ctx, cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's
        """Write the commands under the headings of their panels."""
        write_sections(formatter, [(lazy.panel, (name, lazy.help)) for name, lazy in self.table.items()])

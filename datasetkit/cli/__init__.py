"""The command ``datasetkit``. Owns what a person types and reads; everything else is done by the packages below."""

from typing import TYPE_CHECKING

from datasetkit.cli.signals import leave_at_once

if TYPE_CHECKING:
    import click

    app: click.Group


def main() -> None:
    """Run the command line as a process of its own."""
    leave_at_once()  # before anything takes long to import
    from datasetkit.cli.group import app

    app(prog_name="datasetkit")


def __getattr__(name: str) -> object:
    if name == "app":
        from datasetkit.cli import group

        return group.app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

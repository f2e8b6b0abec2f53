"""The command ``datasetkit``. Owns what a person types and reads; everything else is done by the packages below."""

import os

from datasetkit.cli.signals import AFTER_SIGNALS, leave_at_once

TYPE_CHECKING = False
if TYPE_CHECKING:
    import click

    app: click.Group


def main() -> None:
    """Run the command line as a process of its own."""
    leave_at_once()  # before anything takes long to import
    from datasetkit.cli.border import hide_unraisable
    from datasetkit.cli.group import app

    hide_unraisable()
    code = app.main(prog_name="datasetkit", standalone_mode=False)
    if code > AFTER_SIGNALS:
        os._exit(code)  # libraries that were stopped anywhere may not survive Python's own end, or wait for threads
    raise SystemExit(code)


def __getattr__(name: str) -> object:
    if name == "app":
        from datasetkit.cli import group

        return group.app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

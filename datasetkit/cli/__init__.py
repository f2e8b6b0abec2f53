"""The command ``datasetkit``. Owns what users type and read; the packages below do everything else."""

import os

from datasetkit.cli.signals import AFTER_SIGNALS, leave_at_once

TYPE_CHECKING = False
if TYPE_CHECKING:
    import click

    app: click.Group


def main() -> None:
    """Run the command line as a process."""
    leave_at_once()  # before any slow import
    from datasetkit.cli.border import hide_unraisable
    from datasetkit.cli.group import app

    hide_unraisable()
    code = app.main(prog_name="datasetkit", standalone_mode=False)
    if code > AFTER_SIGNALS:
        os._exit(code)  # interrupted libraries may crash while Python shuts down, or wait for threads
    raise SystemExit(code)


def __getattr__(name: str) -> object:
    if name == "app":
        from datasetkit.cli import group

        return group.app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""The one line that shows how far long work is. Owns its looks and its Ctrl-C."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rich.progress import TaskID


@contextmanager
def stage_line(*, shown: bool) -> Iterator[Callable[[str, int, int], None]]:
    """Show one line with what is being done and how far it is; on Ctrl-C say how to go on.

    Args:
        shown: whether there is a line; of several processes, one shows it for all.

    Yields:
        what shows a stage by name, how much of it is done, and of how much.

    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Line

    console = Console(stderr=True)
    line = Line(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not shown,
    )
    tasks: dict[str, TaskID] = {}

    def show(stage: str, done: int, total: int) -> None:
        line.start()
        if stage not in tasks:
            tasks[stage] = line.add_task(stage, total=total)
        line.update(tasks[stage], completed=done)

    def hide() -> None:
        if line.live.is_started:
            line.stop()

    try:
        yield show
    except KeyboardInterrupt:
        hide()
        typer.echo("interrupted; what is finished is kept. Run the same command again to go on", err=True)
        raise typer.Exit(130) from None
    finally:
        hide()

"""The one line that shows how far long work is: a build, a verification, scores. Owns its looks and its Ctrl-C."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rich.progress import TaskID

    from datasetkit.pipeline.build import Progress


# Stages that do more pictures a second than this hold nothing up.
_FAST = 1000


@contextmanager
def progress_line() -> Iterator[tuple[Callable[[tuple[str, ...]], None], Callable[[Progress], None]]]:
    """Show one line with count, rate, drops and the rate of each stage; on Ctrl-C say how to go on.

    Yields:
        what shows, until the first progress, that models of these names are loaded; and what shows progress.

    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Line
    from rich.table import Column
    from rich.text import Text

    fixed, cut = Column(no_wrap=True), Column(no_wrap=True, overflow="ellipsis", ratio=1)
    columns = (
        BarColumn(bar_width=12),
        MofNCompleteColumn(table_column=fixed),
        TextColumn("{task.fields[rate]} records/s, {task.fields[dropped]} records dropped", table_column=fixed),
        TimeRemainingColumn(table_column=fixed),
        TextColumn("{task.fields[stages]}", style="dim", table_column=cut),
    )
    console = Console(stderr=True)
    line = Line(*columns, console=console, expand=True)
    loading = console.status("")
    task = line.add_task("building", total=None, rate="-", dropped=0, stages="")
    started: list[float] = []

    def show_loading(models: tuple[str, ...]) -> None:
        loading.update(Text(f"loading {', '.join(models)}"))
        loading.start()

    def show(progress: Progress) -> None:
        loading.stop()
        line.start()
        if not started:
            started.append(time.monotonic())
        fresh = progress.done - progress.resumed
        rate = f"{fresh / (time.monotonic() - started[0]):.2g}" if fresh else "-"
        slowest_first = sorted(progress.rates.items(), key=lambda stage: stage[1])
        stages = " ".join(f"{name} {pace:.2g}/s" for name, pace in slowest_first if pace < _FAST)
        line.update(
            task, completed=progress.done, total=progress.total, dropped=progress.dropped, rate=rate, stages=stages
        )

    try:
        yield show_loading, show
    except KeyboardInterrupt:
        loading.stop()
        line.stop()
        typer.echo("interrupted; what is finished is kept. Run the same command again to go on", err=True)
        raise typer.Exit(130) from None
    finally:
        loading.stop()
        if line.live.is_started:
            line.stop()


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

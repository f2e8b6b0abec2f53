"""Output of commands, for users and scripts. Owns results on stdout, and progress and log lines on stderr."""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TextIO

import click
from pydantic import PrivateAttr

from datasetkit.cli.border import OURS, end, printing
from datasetkit.cli.signals import Stop
from datasetkit.core.text import duration, pace, without_secrets
from datasetkit.options.base import Options, Typed

if TYPE_CHECKING:
    from rich.progress import ProgressColumn

    from datasetkit.core.results import Result

Level = Literal["debug", "info", "warning", "error"]
# Loggers of libraries whose warnings do not concern our users.
_OTHERS = ("accelerate", "huggingface_hub", "peft", "transformers")
_EVERY_S = 30.0


class Screen(Options):
    """Output options of a command."""

    panel: ClassVar[str | None] = "Output"

    as_json: Annotated[bool, Typed(flag="--json")] = False
    """Print the result as one JSON object."""
    quiet: bool = False
    """Print errors only."""
    log_level: Level = "info"
    """Lowest level of messages on stderr and in the log file."""
    log_file: Path | None = None
    """Log file, to which messages are appended with their time."""
    debug: bool = False
    """Show the traceback of an error."""
    _stdout: TextIO | None = PrivateAttr(None)
    _stop: Stop = PrivateAttr(default_factory=Stop)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show log messages while a command runs, and turn any error into one line and an exit code."""
        levels = {name: logging.getLogger(name).level for name in (OURS, *_OTHERS)}
        handlers: list[logging.Handler] = []
        logger = logging.getLogger(OURS)
        logger.setLevel(self.log_level.upper())
        for name in _OTHERS:
            logging.getLogger(name).setLevel(logging.ERROR)
        self._stdout = sys.stdout
        try:
            if self.log_file is not None:
                handlers.append(logging.FileHandler(self.log_file, encoding="utf-8"))
                handlers[0].setFormatter(_Lines("%(asctime)s %(levelname)s %(name)s: %(message)s"))
            handlers.append(_Stderr(logging.ERROR if self.quiet else logging.NOTSET))
            for handler in handlers:
                logger.addHandler(handler)
            # Prints of plug-ins and libraries go to stderr: stdout is for the one JSON object.
            printed = contextlib.redirect_stdout(sys.stderr) if self.as_json else contextlib.nullcontext()
            with self._stop, warnings.catch_warnings(action="ignore"), printed:
                yield
        except click.exceptions.Exit:
            raise
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the border reports each of them
            is_logged = any(handler in logger.handlers for handler in handlers)  # False if the log file itself failed
            shown = {"as_json": self.as_json, "debug": self.debug, "is_logged": is_logged}
            raise click.exceptions.Exit(end(error, stdout=self._stdout, stop=self._stop, **shown)) from None
        finally:
            for handler in handlers:
                logger.removeHandler(handler)
                handler.close()
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)

    def show(self, result: Result, *, is_failure: bool = False) -> None:
        """Print a result, and exit with code 1 if it is a failure."""
        with printing():
            if self.as_json:
                click.echo(json.dumps(result.as_json(), ensure_ascii=False, default=str), file=self._stdout)
            elif not self.quiet:
                _print(result)
        if is_failure:
            raise click.exceptions.Exit(1)

    @contextmanager
    def progress(self, *, unit: str = "", kept: str = "finished parts are kept") -> Iterator[Bar]:
        """Show the progress of long work; after a signal, the message says how to resume.

        Args:
            unit: unit of the counts; "bytes" are shown as sizes.
            kept: what an interruption leaves, for the message.

        """
        bar = Bar(unit, self._stop, shown=not (self.quiet or self.as_json))
        self._stop.kept = f"; {kept}. Run the same command again to resume"
        try:
            yield bar
        finally:
            bar.hide()
        self._stop.kept = ""


def _print(result: Result) -> None:
    from rich.console import Console

    console = Console()
    for item in result.report():
        if isinstance(item, str):
            click.echo(item)
        else:
            with console.capture() as printed:  # rich itself would exit if stdout is closed
                console.print(item)
            click.echo(printed.get(), nl=False)


class _Lines(logging.Formatter):
    """Format messages without secrets, and errors with the traceback if it was requested."""

    def format(self, record: logging.LogRecord) -> str:
        """Write one message."""
        trace = getattr(record, "trace", "")
        return without_secrets(super().format(record)) + (f"\n{trace.rstrip()}" if trace else "")


class _Stderr(logging.Handler):
    """Write messages to the current stderr, which a progress bar may have replaced."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one message."""
        prefix = f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
        with contextlib.suppress(OSError):
            click.echo(prefix + without_secrets(record.getMessage()), err=True)


class Bar:
    """Progress of several stages: bars on a terminal, otherwise a plain line every 30 seconds.

    Args:
        unit: unit of the counts; "bytes" are shown as sizes.
        stop: knows whether a signal came; the work then ends at its next progress report, in all threads.
        shown: whether to show any progress.

    """

    def __init__(self, unit: str, stop: Stop, *, shown: bool) -> None:
        from rich.console import Console
        from rich.progress import Progress

        console = Console(stderr=True)
        self._unit = unit
        self._stop = stop
        is_bar = shown and console.is_interactive
        self._bars = Progress(*_columns(unit), expand=True, console=console, disable=not is_bar)
        self._is_plain = shown and not is_bar
        self._stages: dict[str, _Stage] = {}
        self._last = time.monotonic()

    def __call__(self, stage: str, done: int, total: int, detail: str = "") -> None:
        """Show a stage's progress; see :data:`~datasetkit.runtime.progress.OnProgress`."""
        if self._stop.by is not None:
            raise KeyboardInterrupt
        if stage not in self._stages:
            self._stages[stage] = _Stage(self._bars.add_task(stage, total=total, completed=done, detail=detail), done)
            self._bars.start()  # late, so that an early error is shown without bars
        known = self._stages[stage]
        self._bars.update(known.task, completed=done, total=total, detail=detail)
        if self._is_plain and time.monotonic() - self._last >= _EVERY_S:
            self._last = time.monotonic()
            with contextlib.suppress(OSError):
                click.echo(f"{stage}: {known.line(done, total, self._unit)}{detail and f', {detail}'}", err=True)

    def hide(self) -> None:
        """Remove the bars."""
        self._bars.stop()


class _Stage:
    """One stage, timed from its start."""

    def __init__(self, task: Any, done: int) -> None:
        self.task = task
        self._first = done
        self._began = time.monotonic()

    def line(self, done: int, total: int, unit: str) -> str:
        """Return counts, rate and time left, as one line."""
        from rich.filesize import decimal

        counts = f"{decimal(done)} of {decimal(total)}" if unit == "bytes" else f"{done:,} of {total:,} {unit}".rstrip()
        rate = (done - self._first) / max(time.monotonic() - self._began, 1e-3)
        if not rate:
            return counts
        speed = f"{decimal(int(rate))}/s" if unit == "bytes" else pace(rate)
        return f"{counts}, {speed}, {duration((total - done) / rate)} left"


def _columns(unit: str) -> tuple[ProgressColumn, ...]:
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )
    from rich.table import Column

    whole = Column(no_wrap=True)
    counts = (DownloadColumn(), TransferSpeedColumn()) if unit == "bytes" else (MofNCompleteColumn(table_column=whole),)
    cut = Column(no_wrap=True, overflow="ellipsis", ratio=1)
    return (
        TextColumn("{task.description}", markup=False, table_column=whole),
        BarColumn(bar_width=16),
        *counts,
        TimeRemainingColumn(table_column=whole),
        TextColumn("{task.fields[detail]}", style="dim", markup=False, table_column=cut),
    )

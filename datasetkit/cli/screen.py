"""What a person or a script sees of a command. Owns results on stdout, progress and log lines on stderr, and Ctrl-C."""

from __future__ import annotations

import contextlib
import json
import logging
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NoReturn, TextIO

import click
from pydantic import PrivateAttr

from datasetkit.core.errors import DatasetkitError
from datasetkit.core.text import duration, one_line
from datasetkit.options.base import Options, Typed

if TYPE_CHECKING:
    from rich.progress import ProgressColumn

    from datasetkit.core.results import Result

Level = Literal["debug", "info", "warning", "error"]
_OURS = "datasetkit"
# Loggers of libraries that tell their own authors of what is no concern of ours.
_OTHERS = ("accelerate", "huggingface_hub", "peft", "transformers")
_INTERRUPTED = 130
_EVERY_S = 30.0


class Screen(Options):
    """What is shown of a command."""

    panel: ClassVar[str | None] = "Output"

    as_json: Annotated[bool, Typed(flag="--json")] = False
    """Print the result as one JSON object."""
    quiet: bool = False
    """Print nothing but errors."""
    log_level: Level = "info"
    """Least level of messages on stderr and in the log file."""
    log_file: Path | None = None
    """File that messages are appended to, with their time."""
    debug: bool = False
    """Show the traceback of an error."""
    _stdout: TextIO | None = PrivateAttr(None)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show log messages while a command runs, and end an error in one line and a non-zero exit."""
        levels = {name: logging.getLogger(name).level for name in (_OURS, *_OTHERS)}
        handlers: list[logging.Handler] = [_Stderr(logging.ERROR if self.quiet else logging.NOTSET)]
        logger = logging.getLogger(_OURS)
        logger.setLevel(self.log_level.upper())
        for name in _OTHERS:
            logging.getLogger(name).setLevel(logging.ERROR)
        try:
            if self.log_file is not None:
                file = logging.FileHandler(self.log_file, encoding="utf-8")
                file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
                handlers.append(file)
            for handler in handlers:
                logger.addHandler(handler)
            self._stdout = sys.stdout
            # Whatever plug-ins and libraries print, stdout is for the one object.
            printed = contextlib.redirect_stdout(sys.stderr) if self.as_json else contextlib.nullcontext()
            with warnings.catch_warnings(action="ignore"), printed:
                yield
        except DatasetkitError as error:
            self._fail(one_line(error), error)
        except OSError as error:
            if error.filename is None:
                raise  # stdout is gone, or full
            self._fail(f"{error.filename}: {error.strerror}", error)
        except MemoryError as error:
            self._fail("memory ran out; give the command more, or have it hold fewer images at once", error)
        except KeyboardInterrupt:
            self.interrupted("interrupted")
        finally:
            for handler in handlers:
                logger.removeHandler(handler)
                handler.close()
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)

    def show(self, result: Result, *, is_failure: bool = False) -> None:
        """Print a result, and exit with code 1 where it is a failure."""
        if self.as_json:
            self._print_json(result.as_json())
        elif not self.quiet:
            from rich.console import Console

            console = Console()
            for item in result.report():
                if isinstance(item, str):
                    click.echo(item)
                else:
                    console.print(item)
        if is_failure:
            raise click.exceptions.Exit(1)

    @contextmanager
    def progress(self, *, unit: str = "", kept: str = "what is finished is kept") -> Iterator[Bar]:
        """Show how far long work is; on Ctrl-C say how to go on.

        A Ctrl-C in the code of another library may come out of it as another error, and threads see none at all: these
        end at their next progress.

        Args:
            unit: of what is counted; "bytes" are shown as sizes.
            kept: what an interruption leaves.

        """
        bar = Bar(unit, shown=not (self.quiet or self.as_json))
        former = signal.getsignal(signal.SIGINT)
        is_heard = threading.current_thread() is threading.main_thread() and former is not signal.SIG_IGN
        if is_heard:
            signal.signal(signal.SIGINT, bar.stop)
        try:
            yield bar
        except BaseException as error:
            bar.hide()
            if not (bar.is_stopped or isinstance(error, KeyboardInterrupt)):
                raise
            self.interrupted(f"interrupted; {kept}. Run the same command again to go on")
        finally:
            bar.hide()
            if is_heard:
                signal.signal(signal.SIGINT, former)

    def _print_json(self, value: Any) -> None:
        """Print one object on stdout, which nothing else is printed on meanwhile."""
        click.echo(json.dumps(value, ensure_ascii=False, default=str), file=self._stdout)

    def interrupted(self, message: str) -> NoReturn:
        """Report that a Ctrl-C ended the command, and exit as shells do."""
        if self.as_json:
            self._print_json({"error": message})
        click.echo(message, err=True)
        raise click.exceptions.Exit(_INTERRUPTED) from None

    def _fail(self, message: str, error: Exception) -> NoReturn:
        """End with an error: its line on stderr and in the log file, its traceback where it is asked for."""
        if self.as_json:
            self._print_json({"error": message})
        if self.debug:
            click.echo("".join(traceback.format_exception(error)), err=True, nl=False)
        logger = logging.getLogger(_OURS)
        logger.error(message, exc_info=error if self.debug else None)
        if not any(isinstance(handler, _Stderr) for handler in logger.handlers):
            click.echo(f"error: {message}", err=True)  # the log file itself is what went wrong
        raise click.exceptions.Exit(getattr(error, "exit_code", 1)) from None


class _Stderr(logging.Handler):
    """Writes messages to whatever stderr is at that time, as a progress bar takes it over."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one message."""
        prefix = f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
        click.echo(prefix + record.getMessage(), err=True)


class Bar:
    """Progress of several stages: bars on a terminal; elsewhere a plain line now and then.

    Args:
        unit: of what is counted; "bytes" are shown as sizes.
        shown: whether anything is.

    """

    def __init__(self, unit: str, *, shown: bool) -> None:
        from rich.console import Console
        from rich.progress import Progress

        console = Console(stderr=True)
        self._unit = unit
        is_bar = shown and console.is_interactive
        self._bars = Progress(*_columns(unit), expand=True, console=console, disable=not is_bar)
        self._is_plain = shown and not is_bar
        self._stages: dict[str, _Stage] = {}
        self._stopped = threading.Event()
        self._last = time.monotonic()

    def __call__(self, stage: str, done: int, total: int, detail: str = "") -> None:
        """Show a stage's progress; see :data:`~datasetkit.runtime.progress.OnProgress`."""
        if self.is_stopped:
            raise KeyboardInterrupt
        if stage not in self._stages:
            self._stages[stage] = _Stage(self._bars.add_task(stage, total=total, completed=done, detail=detail), done)
            self._bars.start()  # not before: an error that comes at once stands alone
        known = self._stages[stage]
        self._bars.update(known.task, completed=done, total=total, detail=detail)
        if self._is_plain and time.monotonic() - self._last >= _EVERY_S:
            self._last = time.monotonic()
            click.echo(f"{stage}: {known.line(done, total, self._unit)}{detail and f', {detail}'}", err=True)

    @property
    def is_stopped(self) -> bool:
        """Whether there was a Ctrl-C."""
        return self._stopped.is_set()

    def stop(self, *_: object) -> None:
        """Interrupt the work, in all threads."""
        self._stopped.set()
        raise KeyboardInterrupt

    def hide(self) -> None:
        """Remove the bars."""
        self._bars.stop()


class _Stage:
    """One stage since it began."""

    def __init__(self, task: Any, done: int) -> None:
        self.task = task
        self._first = done
        self._began = time.monotonic()

    def line(self, done: int, total: int, unit: str) -> str:
        """Write counts, rate and time left."""
        from rich.filesize import decimal

        counts = f"{decimal(done)} of {decimal(total)}" if unit == "bytes" else f"{done:,} of {total:,} {unit}".rstrip()
        rate = (done - self._first) / max(time.monotonic() - self._began, 1e-3)
        if not rate:
            return counts
        speed = f"{decimal(int(rate))}/s" if unit == "bytes" else f"{rate:.2g}/s"
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

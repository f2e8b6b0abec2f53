"""The border of the command line: any exception comes in, one line and an exit code go out. Owns the exit codes.

No secret is in that line. What no other rule knows is a fault of ours, and says so.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import sys
import threading
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TextIO

import click

from datasetkit.cli.signals import AFTER_SIGNALS, WORDS, Stop
from datasetkit.core.errors import DatasetkitError, is_out_of_memory
from datasetkit.core.text import error_text, keep_secret, one_line, without_secrets

OURS = "datasetkit"
_FAILED = 1
_PIPE_CLOSED = AFTER_SIGNALS + 13  # as shells report programs that SIGPIPE ended; Windows has no such signal
_MOST_SHOWN = 300
_FAULTS = {
    errno.ENOSPC: "no space is left on the disk",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file would be larger than is allowed here",
}


@dataclass(frozen=True, slots=True)
class Ending:
    """How a command ends.

    Args:
        message: one line; "" where nothing is to be said.
        code: exit code.
        is_error: whether something went wrong; a person who ends a command is no error.

    """

    message: str
    code: int
    is_error: bool = True


class StdoutError(Exception):
    """What a command prints cannot be written."""

    def __init__(self, error: OSError) -> None:
        super().__init__(f"stdout cannot be written: {_FAULTS.get(error.errno or 0, error.strerror)}")
        self.is_closed = error.errno == errno.EPIPE


@contextlib.contextmanager
def printing() -> Iterator[None]:
    """Take errors that name no file for those of stdout.

    Raises:
        StdoutError: nothing can be written there.

    """
    try:
        yield
    except OSError as error:
        if error.filename is not None:
            raise
        raise StdoutError(error) from error


def ending_of(error: BaseException, stop: Stop | None = None) -> Ending:
    """Map an exception to how a command ends.

    Args:
        error: that came out of it.
        stop: whether a signal came before it, which it may be due to.

    """
    if stop is not None and stop.by is not None:
        return Ending(WORDS[stop.by] + stop.kept, AFTER_SIGNALS + stop.by, is_error=False)
    if isinstance(error, KeyboardInterrupt | click.Abort):
        return Ending("interrupted", AFTER_SIGNALS + 2, is_error=False)
    if isinstance(error, StdoutError):
        return Ending("", _PIPE_CLOSED, is_error=False) if error.is_closed else Ending(str(error), _FAILED)
    return Ending(without_secrets(_message(error)), getattr(error, "exit_code", _FAILED))


def _message(error: BaseException) -> str:
    if isinstance(error, click.ClickException):
        context = getattr(error, "ctx", None)
        where = f"; see {context.command_path} --help" if context is not None else ""
        return one_line(error.format_message()).rstrip(".") + where
    if isinstance(error, DatasetkitError):
        return one_line(error)
    if is_out_of_memory(error):
        return "memory ran out; give the command more, or have it hold fewer images at once"
    if isinstance(error, RecursionError):
        return "something is nested too deeply to be read; --debug shows what"
    if isinstance(error, UnicodeEncodeError):
        return f"{error.object[:_MOST_SHOWN]!r} is not text that UTF-8 can hold; rename it"
    if isinstance(error, OSError) and error.errno is not None:
        what = _FAULTS.get(error.errno) or one_line(error.strerror or os.strerror(error.errno))
        return what if error.filename is None else f"{os.fsdecode(error.filename)}: {what}"
    told = _shortened(error)
    return (
        f"unexpected {type(error).__name__}: {told} in {_place(error)}; --debug shows the traceback; please report it"
    )


def _shortened(error: BaseException) -> str:
    told = error_text(error) or "without a text"
    return told if len(told) <= _MOST_SHOWN else f"{told[:_MOST_SHOWN]}..."


def _place(error: BaseException) -> str:
    """Return module and line of ours where an exception came from."""
    frames = [(frame.f_globals.get("__name__", "?"), line) for frame, line in traceback.walk_tb(error.__traceback__)]
    ours = [(name, line) for name, line in frames if str(name).partition(".")[0] == OURS]
    name, line = (ours or frames or [("?", 0)])[-1]
    return f"{name}:{line}"


def end(
    error: BaseException,
    *,
    as_json: bool,
    debug: bool,
    stdout: TextIO | None = None,
    stop: Stop | None = None,
    is_logged: bool = False,
) -> int:
    """Report how a command ends: on stderr, as JSON on stdout where that is asked for, and to the log.

    Args:
        error: that came out of it.
        as_json: whether stdout is for one JSON object.
        debug: whether the traceback is shown.
        stdout: where the object is printed; None for what is stdout now.
        stop: whether a signal came.
        is_logged: whether messages of our logger reach a person.

    Returns:
        the exit code.

    """
    _keep_stored_token()
    ending = ending_of(error, stop)
    if isinstance(error, StdoutError):
        _silence_stdout()
    elif as_json:
        with contextlib.suppress(OSError):
            click.echo(json.dumps({"error": ending.message}, ensure_ascii=False), file=stdout)
    trace = without_secrets("".join(traceback.format_exception(error))) if debug and ending.is_error else ""
    logger = logging.getLogger(OURS)
    with contextlib.suppress(OSError):
        if trace:
            click.echo(trace, err=True, nl=False)
        if ending.is_error and is_logged:
            logger.error(ending.message, extra={"trace": trace})
        elif ending.message:
            click.echo(("error: " if ending.is_error else "") + ending.message, err=True)
    return ending.code


def _keep_stored_token() -> None:
    """Have the Hub's token known for a secret, where its client was used: a server may repeat it in an answer."""
    if (client := sys.modules.get("huggingface_hub")) is not None:
        with contextlib.suppress(Exception):
            keep_secret(client.get_token())


def hide_unraisable() -> None:
    """Have what goes wrong in threads of libraries, and while Python ends, logged for whoever debugs, never printed.

    It is not how a command ends, and where memory runs out, libraries fail while they clean up.
    """
    if "--debug" not in sys.argv:
        sys.unraisablehook = lambda args: _log_unraisable(args.exc_value)
        threading.excepthook = lambda args: _log_unraisable(args.exc_value)


def _log_unraisable(error: BaseException | None) -> None:
    with contextlib.suppress(Exception):  # Python may have ended by half
        logging.getLogger(OURS).debug("a library failed aside: %r", error)


def _silence_stdout() -> None:
    """Have nothing written any more: Python would try again when it ends, and complain."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        descriptor = os.open(os.devnull, os.O_WRONLY)
        os.dup2(descriptor, sys.stdout.fileno())
        os.close(descriptor)

"""The border of the command line: turns any exception into one line and an exit code. Owns the exit codes.

That line never contains a secret. An exception that no rule covers is reported as a bug of datasetkit.
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
_PIPE_CLOSED = AFTER_SIGNALS + 13  # the exit code in shells after SIGPIPE, a signal that Windows lacks
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
        message: one line; "" for no message.
        code: exit code.
        is_error: whether something failed; it is not an error if the user ends a command.

    """

    message: str
    code: int
    is_error: bool = True


class StdoutError(Exception):
    """The output of a command cannot be written to stdout."""

    def __init__(self, error: OSError) -> None:
        super().__init__(f"stdout cannot be written: {_FAULTS.get(error.errno or 0, error.strerror)}")
        self.is_closed = error.errno == errno.EPIPE


@contextlib.contextmanager
def printing() -> Iterator[None]:
    """Treat errors that name no file as errors of stdout.

    Raises:
        StdoutError: stdout cannot be written.

    """
    try:
        yield
    except OSError as error:
        if error.filename is not None:
            raise
        raise StdoutError(error) from error


def ending_of(error: BaseException, stop: Stop | None = None) -> Ending:
    """Return how a command ends because of an exception.

    Args:
        error: the exception.
        stop: knows whether a signal came first, which may have caused the exception.

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
        return "memory ran out; give the command more memory, or use smaller batches"
    if isinstance(error, RecursionError):
        return "the input is nested too deeply; --debug shows where"
    if isinstance(error, UnicodeEncodeError):
        return f"{error.object[:_MOST_SHOWN]!r} cannot be encoded as UTF-8; rename it"
    if isinstance(error, OSError) and error.errno is not None:
        what = _FAULTS.get(error.errno) or one_line(error.strerror or os.strerror(error.errno))
        return what if error.filename is None else f"{os.fsdecode(error.filename)}: {what}"
    text = _shortened(error)
    return (
        f"unexpected {type(error).__name__}: {text} in {_origin(error)}; --debug shows the traceback; please report it"
    )


def _shortened(error: BaseException) -> str:
    text = error_text(error) or "without a message"
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."


def _origin(error: BaseException) -> str:
    """Return the module and line of datasetkit that an exception came from."""
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
    """Report how a command ends: on stderr, as JSON on stdout if requested, and in the log.

    Args:
        error: the exception that ended it.
        as_json: whether stdout gets one JSON object.
        debug: whether the traceback is shown.
        stdout: stream for the JSON object; None for the current stdout.
        stop: knows whether a signal came.
        is_logged: whether messages of our logger reach the user.

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
    """Register the stored Hub token as a secret if its client was used: a server may repeat it in a response."""
    if (client := sys.modules.get("huggingface_hub")) is not None:
        with contextlib.suppress(Exception):
            keep_secret(client.get_token())


def hide_unraisable() -> None:
    """Log errors in threads of libraries and during shutdown for debugging, instead of printing them.

    They do not determine how a command ends, and after memory runs out, libraries fail while they clean up.
    """
    if "--debug" not in sys.argv:
        sys.unraisablehook = lambda args: _log_unraisable(args.exc_value)
        threading.excepthook = lambda args: _log_unraisable(args.exc_value)


def _log_unraisable(error: BaseException | None) -> None:
    with contextlib.suppress(Exception):  # Python may be partly shut down
        logging.getLogger(OURS).debug("a library failed in the background: %r", error)


def _silence_stdout() -> None:
    """Redirect stdout to the null device: Python would otherwise try to write again at exit, and complain."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        descriptor = os.open(os.devnull, os.O_WRONLY)
        os.dup2(descriptor, sys.stdout.fileno())
        os.close(descriptor)

"""Errors that travel between processes. Owns what is kept of an error that cannot be pickled, and its traceback."""

from __future__ import annotations

import pickle
import traceback

from datasetkit.core.errors import EngineError
from datasetkit.core.text import error_text


class WorkerTraceback(Exception):  # noqa: N818 - the cause of an error, never raised
    """The traceback of an error in a worker, as text; it is the cause of the error that the driver raises."""

    def __str__(self) -> str:
        """Return the traceback after an empty line, so that ``--debug`` shows it readably."""
        return f"\n{self.args[0]}"


def portable(error: BaseException) -> tuple[BaseException, str]:
    """Return an error that can be pickled, the same one if possible, and its traceback."""
    trace = "".join(traceback.format_exception(error))
    try:
        found: BaseException = pickle.loads(pickle.dumps(error))  # noqa: S301 - of this process
    except Exception:  # noqa: BLE001 - errors of any package
        found = EngineError(f"a worker failed: {type(error).__name__}: {error_text(error)}")
    return found, trace

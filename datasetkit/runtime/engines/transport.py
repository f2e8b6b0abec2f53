"""What travels between driver and workers: work, messages and errors. Owns their form."""

from __future__ import annotations

import pickle
import platform
import traceback
from typing import Any

from datasetkit import __version__
from datasetkit.core.errors import EngineError
from datasetkit.core.text import error_text
from datasetkit.runtime.engines.protocol import Work

# What it is, and what belongs to it; see datasetkit.runtime.engines.pool.
Message = tuple[str, Any]


class WorkerTraceback(Exception):  # noqa: N818 - the cause of an error, never raised
    """The traceback of an error in a worker, as text; it is the cause of the error that the driver raises."""

    def __str__(self) -> str:
        """Return the traceback after an empty line, so that ``--debug`` shows it readably."""
        return f"\n{self.args[0]}"


def packed(work: Work) -> bytes:
    """Return work as it travels to workers."""
    return pickle.dumps((__version__, pickle.dumps(work)))


def unpacked(data: bytes) -> Work:
    """Return work in a worker.

    Raises:
        EngineError: the driver has another version of datasetkit, whose work may mean something else here.

    """
    version, inner = pickle.loads(data)  # noqa: S301 - from the driver
    if version != __version__:
        raise EngineError(
            f"the worker on {platform.node()} has datasetkit {__version__}, and the command was started by {version}; "
            "install the same version everywhere"
        )
    work: Work = pickle.loads(inner)  # noqa: S301 - from the driver
    return work


def portable(error: BaseException) -> tuple[BaseException, str]:
    """Return an error that can be pickled, the same one if possible, and its traceback."""
    trace = "".join(traceback.format_exception(error))
    try:
        found: BaseException = pickle.loads(pickle.dumps(error))  # noqa: S301 - of this process
    except Exception:  # noqa: BLE001 - errors of any package
        found = EngineError(f"a worker failed: {type(error).__name__}: {error_text(error)}")
    return found, trace

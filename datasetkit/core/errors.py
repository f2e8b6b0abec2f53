"""The error family. Owns what a caller can catch; every message says what came, what was allowed and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from datasetkit.core.text import error_text

if TYPE_CHECKING:
    from datasetkit.core.ledger import DropReason


class DatasetkitError(Exception):
    """Base of every error that this project raises on purpose."""

    exit_code = 1


class RecordError(DatasetkitError, ValueError):
    """A record, or a part of one, was given values that it cannot hold."""


class UnusableError(DatasetkitError, ValueError):
    """One image or annotation cannot be used; the run goes on without it.

    Args:
        reason: the constant under which the drop is counted.
        detail: what came and what was allowed, for the person who reads the ledger.

    """

    def __init__(self, reason: DropReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class UnreachableError(UnusableError):
    """One image could not be read because its source failed: a store that refuses, a disk or a share that is gone."""


class SourceError(DatasetkitError, ValueError):
    """A source as a whole cannot be read (broken JSON, missing folder): nothing can be built from it."""


class SourceFailedError(SourceError):
    """A source stopped answering while it was read; what is finished is kept, and the build goes on from there.

    Args:
        what: what failed.
        again: how to go on.

    """

    exit_code = 3

    def __init__(self, what: str, again: str = "call build with the same arguments, without overwrite") -> None:
        super().__init__(f"{what}; nothing is lost: when the source answers again, {again}")
        self.what = what


class AddressError(DatasetkitError):
    """An address of a remote place cannot be used."""


class RecipeError(DatasetkitError, ValueError):
    """A recipe has an unknown option or a value out of range."""


class OutputError(DatasetkitError):
    """The output folder holds something that this build must not touch."""


class BuiltFolderError(DatasetkitError, ValueError):
    """A folder that should hold a built dataset does not, or holds one of another schema version."""


class UnknownNameError(DatasetkitError, KeyError):
    """A registry was asked for a name that it does not hold."""

    def __str__(self) -> str:
        """Give the message as it was written (KeyError would quote it)."""
        return str(self.args[0])


class PluginError(DatasetkitError):
    """A part that is not ours cannot be imported or made, or went wrong; the message names it and its distribution."""


class ModelError(DatasetkitError, ValueError):
    """A model cannot be loaded, or is none of the kind that was asked for."""


class MissingPackageError(DatasetkitError, ImportError):
    """An optional package is missing or does not work here; the message gives the command that mends it."""


class HubError(DatasetkitError):
    """The Hub refused something, or cannot be reached; nothing that it held before is lost.

    Args:
        message: what happened and what to do.
        status: the HTTP status that the Hub answered with; None where it gave none.

    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


_SHORT_OF_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "cannot allocate memory",
    "not enough memory",
    "unable to allocate",
    "failed to map segment",  # a library that is imported
    "can't start new thread",
    "std::bad_alloc",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error is a shortage of memory; torch, Pillow and the loader of libraries have their own for it."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    told = (error_text(error) or "").lower()
    return any(words in told for words in _SHORT_OF_MEMORY)

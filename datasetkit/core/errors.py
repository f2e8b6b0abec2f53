"""The error classes. Owns what a caller can catch; messages say what came, what was allowed and what to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from datasetkit.core.text import error_text

if TYPE_CHECKING:
    from datasetkit.core.ledger import DropReason


class DatasetkitError(Exception):
    """Base class of all errors that this package raises on purpose; each can be pickled, for workers raise them."""

    exit_code = 1

    def __reduce__(self) -> tuple[Callable[..., DatasetkitError], tuple[Any, ...]]:
        """Restore message and attributes without calling ``__init__``, which may have other parameters."""
        return _restored, (type(self), self.args, self.__dict__)


def _restored(kind: type[DatasetkitError], args: tuple[Any, ...], attributes: dict[str, Any]) -> DatasetkitError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(attributes)
    return error


class RecordError(DatasetkitError, ValueError):
    """A record, or a part of one, was given invalid values."""


class UnusableError(DatasetkitError, ValueError):
    """One image or annotation cannot be used; the run goes on without it.

    Args:
        reason: the constant that counts the drop.
        detail: what came and what was allowed, for readers of the ledger.

    """

    def __init__(self, reason: DropReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class UnreachableError(UnusableError):
    """One image could not be read because its source failed: a store refused, or a disk or share is missing."""


class SourceError(DatasetkitError, ValueError):
    """A source cannot be read at all (broken JSON, missing folder), so that nothing can be built from it."""


class SourceFailedError(SourceError):
    """A source stopped answering during a build; finished parts are kept, and the build resumes from there.

    Args:
        what: what failed.
        again: how to resume.

    """

    exit_code = 3

    def __init__(self, what: str, again: str = "call build with the same arguments, without overwrite") -> None:
        super().__init__(f"{what}; finished parts are kept; when the source answers again, {again}")
        self.what = what


class AddressError(DatasetkitError):
    """The URI of a remote location cannot be used."""


class RecipeError(DatasetkitError, ValueError):
    """A recipe has an unknown option or a value out of range."""


class OutputError(DatasetkitError):
    """The output folder contains something that this build must not change."""


class BusyError(OutputError):
    """Another process is building in the output folder."""


class BuiltFolderError(DatasetkitError, ValueError):
    """A folder does not contain a built dataset, or one of an unsupported schema version."""


class UnknownNameError(DatasetkitError, KeyError):
    """A registry does not know the requested name."""

    def __str__(self) -> str:
        """Return the message as it was written (KeyError would quote it)."""
        return str(self.args[0])


class PluginError(DatasetkitError):
    """A plug-in cannot be imported or created, or failed; the message names it and its distribution."""


class ModelError(DatasetkitError, ValueError):
    """A model cannot be loaded, or is not of the requested kind."""


class MissingPackageError(DatasetkitError, ImportError):
    """An optional package is missing or does not work here; the message contains the command that fixes it."""


class EngineError(DatasetkitError):
    """Workers cannot be started, or one failed in a way that nothing else describes."""


class HubError(DatasetkitError):
    """The Hub refused a request or cannot be reached; nothing that was on the Hub is lost.

    Args:
        message: what happened and what to do.
        status: HTTP status of the Hub's response; None without one.

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
    "failed to map segment",  # from the import of a library
    "can't start new thread",
    "std::bad_alloc",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory ran out, which torch, Pillow and the dynamic linker report differently."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    text = (error_text(error) or "").lower()
    return any(words in text for words in _SHORT_OF_MEMORY)

"""Picture files of a folder. Owns the rule that no name leads out of the folder it belongs to."""

from __future__ import annotations

import stat
from pathlib import Path, PurePosixPath, PureWindowsPath

from datasetkit.errors import UnusableError
from datasetkit.images import ImageLimits
from datasetkit.ledger import DropReason


def path_inside(folder: Path, name: str) -> Path:
    """Join a name from untrusted metadata to its folder.

    Args:
        folder: resolved already.
        name: relative, with ``/`` or the system's own separator.

    Raises:
        UnusableError: ``path_escapes`` for an absolute name, one with ``..`` or one that a link leads outside.

    """
    relative = PurePosixPath(name)
    if relative.is_absolute() or PureWindowsPath(name).is_absolute() or ".." in relative.parts or "\0" in name:
        raise UnusableError(DropReason.PATH_ESCAPES, f"{name!r} must be a path below the source's folder")
    path = folder / relative
    try:
        target = path.resolve()
    except (OSError, RuntimeError, UnicodeEncodeError) as error:
        raise UnusableError(
            DropReason.UNREADABLE, f"{name!r} leads nowhere: links in a circle, or what no path can hold"
        ) from error
    if not target.is_relative_to(folder):
        raise UnusableError(DropReason.PATH_ESCAPES, f"{name!r} is a link that leads out of the source's folder")
    return path


def as_text(name: str) -> str:
    """Spell a name so that a UTF-8 file can hold it: what is no character is written as its code."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def read_picture(path: Path, limits: ImageLimits) -> bytes:
    """Read a picture file whose size is within the limit.

    Raises:
        UnusableError: ``missing``, ``unreadable`` or ``too_many_bytes``.

    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise UnusableError(DropReason.UNREADABLE, f"{path.name} is no file but a folder, a pipe or a device")
        if status.st_size > limits.max_bytes:
            raise UnusableError(
                DropReason.TOO_MANY_BYTES,
                f"{path.name} has {status.st_size:,} bytes; at most {limits.max_bytes:,} are allowed",
            )
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise UnusableError(DropReason.MISSING, f"{path.name} is not there") from None
    except OSError as error:
        raise UnusableError(DropReason.UNREADABLE, f"{path.name} cannot be opened: {error.strerror}") from error

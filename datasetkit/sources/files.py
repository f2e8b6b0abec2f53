"""Files of sources. Owns what their names reveal about splits and shards, and how an image's file is read."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Sequence
from contextlib import suppress
from operator import itemgetter
from pathlib import PurePosixPath

from datasetkit.core.documents import load_json
from datasetkit.core.errors import SourceError, UnreachableError, UnusableError
from datasetkit.core.label_map import LabelMap, read_label_map
from datasetkit.core.ledger import DropReason, PassedOverCounts, PassedOverKind
from datasetkit.core.limits import ImageLimits
from datasetkit.core.paths import Place, absolute, files_below, read_part
from datasetkit.core.remote import RemotePath
from datasetkit.core.text import set_of_words

CAPTION_COLUMNS = ("description", "caption", "text", "captions")
NO_CAPTION_COLUMN = "no column description, caption or text"
IMAGE_SUFFIXES = set_of_words(
    ".avif .bmp .gif .j2k .jfif .jp2 .jpe .jpeg .jpg .mpo .pbm .pgm .png .ppm .tif .tiff .webp"
)
_SPLITS = {
    "train": "train",
    "training": "train",
    "restval": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}
_NUMBERED = re.compile(r"([A-Za-z_]\w*)-\d{5}-of-\d{5}", re.ASCII)
_WRONG_NAMES = frozenset({errno.EINVAL, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG})
_NAMED = re.compile(r"[a-z]+", re.IGNORECASE)


def as_text(name: str) -> str:
    """Return a name in a form that a UTF-8 file can hold: bytes that are not characters are escaped."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def read_image(path: Place, limits: ImageLimits, root: Place | None = None) -> bytes:
    """Read an image file whose size is within the limit.

    Args:
        path: of the file.
        limits: maximum size.
        root: folder of the source; if it is gone or empty, the error is one of the source, not of the image.

    Raises:
        UnusableError: ``missing``, ``unreadable`` or ``too_many_bytes``.

    """
    if "\0" in str(path):
        raise UnusableError(DropReason.MISSING, f"{path.name!r} contains a null byte, which no file name can")
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise UnusableError(DropReason.UNREADABLE, f"{path.name} is not a file but a folder, a pipe or a device")
        if status.st_size > limits.max_bytes:
            raise UnusableError(
                DropReason.TOO_MANY_BYTES,
                f"{path.name} has {status.st_size:,} bytes; at most {limits.max_bytes:,} are allowed",
            )
        return read_part(path, 0, status.st_size)
    except (FileNotFoundError, NotADirectoryError):
        if root is not None and is_gone(root):
            detail = f"{path.name} is not there, and {root} is gone or empty"
            raise UnreachableError(DropReason.MISSING, detail) from None
        raise UnusableError(DropReason.MISSING, f"{path.name} is not there") from None
    except OSError as error:
        raise unreadable(error, f"{path.name} cannot be opened: {error.strerror}") from error


def unreadable(error: BaseException | None, detail: str) -> UnusableError:
    """Return the error of an unreachable source or of a broken file: readers raise bare errors for damaged data."""
    is_failure = isinstance(error, OSError) and error.errno not in {None, *_WRONG_NAMES}
    return (UnreachableError if is_failure else UnusableError)(DropReason.UNREADABLE, detail)


def is_gone(folder: Place) -> bool:
    """Return whether a source's folder no longer exists, or is empty like a share that is not mounted."""
    try:
        return not folder.is_dir() if isinstance(folder, RemotePath) else not any(folder.iterdir())
    except OSError:
        return True


def is_built_folder(folder: Place) -> bool:
    """Return whether ``datasetkit build`` wrote a folder."""
    return (folder / "manifest.json").is_file() and (folder / "ledger.jsonl").is_file()


def label_map_of(places: Sequence[Place]) -> LabelMap:
    """Return the label map of the built folders among these paths; an empty one unless there is exactly one."""
    found: dict[LabelMap, None] = {}
    for place in places:
        if place.is_dir() and is_built_folder(place):
            with suppress(KeyError, TypeError, ValueError):
                found[read_label_map(load_json((place / "manifest.json").read_bytes())["label_map"])] = None
    return next(iter(found)) if len(found) == 1 else ()


def split_of_folder(name: str) -> str | None:
    """Return the split that a file's first folder names, or None."""
    top, _, below = name.partition("/")
    return _SPLITS.get(top.lower()) if below else None


def split_of_shard(name: str) -> str | None:
    """Return the split in a shard's name: ``SPLIT-00000-of-00001``, else its first word or folder, or None."""
    stem = PurePosixPath(name).stem
    numbered = _NUMBERED.fullmatch(stem)
    if numbered:
        return numbered[1]
    word = _NAMED.match(stem)
    return (_SPLITS.get(word[0].lower()) if word else None) or split_of_folder(name)


def split_of_words(name: str) -> str | None:
    """Return the split that the last fitting word of a file's name names (``lvis_v1_val.json``), or None."""
    words = re.split(r"[^a-z]+", PurePosixPath(name).stem.lower())
    return next((_SPLITS[word] for word in reversed(words) if word in _SPLITS), None)


def split_of_value(value: object) -> str | None:
    """Return the split that a cell names, in a form that a file name can contain; None if it names none."""
    name = re.sub(r"\W+", "_", value.strip(), flags=re.ASCII).strip("_") if isinstance(value, str) else ""
    return _SPLITS.get(name.lower(), name) or None


def list_shards(
    places: Sequence[Place], suffix: str, passed_over: PassedOverCounts | None = None
) -> list[tuple[str, Place]]:
    """Find files by their suffix in folders, and accept files that are named directly.

    Args:
        places: files and folders, all of them local or all remote; hidden files and folders are skipped.
        suffix: the suffix, such as ``.tar``.
        passed_over: counts the other files of folders, except those of a built dataset.

    Returns:
        each file once, by its name relative to the innermost folder that holds all places, sorted by it.

    Raises:
        SourceError: a path does not exist, a folder has no such file, or some paths are local and some remote.

    """
    found: dict[Place, PurePosixPath] = {}
    for given in places:
        place = given if isinstance(given, RemotePath) else absolute(given)
        if place.is_dir():
            counts = PassedOverCounts() if passed_over is None or is_built_folder(place) else passed_over
            files = files_below(place, counts)
            inside = [path for name, path in files if name.endswith(suffix)]
            if not inside:
                raise SourceError(f"{place} holds no {suffix} file")
            for name, _ in files:
                if not name.endswith(suffix):
                    counts.add(PassedOverKind.OTHER_FILE, name)
            found.update((path, PurePosixPath(str(place))) for path in inside)
        elif place.is_file():
            found[place] = PurePosixPath(str(place)).parent
        else:
            raise SourceError(f"{place} is neither a file nor a folder; give {suffix} files or folders of them")
    if len({isinstance(place, RemotePath) for place in found}) > 1:
        raise SourceError("some files are local and some remote, so no folder holds them all; build them separately")
    root = os.path.commonpath(list(found.values()))
    named = ((as_text(PurePosixPath(str(path)).relative_to(root).as_posix()), path) for path in found)
    return sorted(named, key=itemgetter(0))

"""File names of images in exports. Owns which names of a source can be kept.

A name is kept if it is valid on every system, unique in the split, and has an image extension.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from pathlib import PurePosixPath

_ENDINGS = frozenset(
    [
        ".avif",
        ".bmp",
        ".gif",
        ".j2k",
        ".jfif",
        ".jp2",
        ".jpe",
        ".jpeg",
        ".jpg",
        ".mpo",
        ".pbm",
        ".pgm",
        ".png",
        ".ppm",
        ".tif",
        ".tiff",
        ".webp",
    ]
)
# Control characters, characters and device names that Windows refuses, hidden parts, and parts that end in a space or a
# dot.
_UNSAFE = re.compile(
    r'[\x00-\x1f\x7f<>:"\\|?*]|(^|/)\.|[ .](/|$)|(^|/)(CON|PRN|AUX|NUL|COM\d|LPT\d)(\.[^/]*)?(/|$)', re.IGNORECASE
)
_LONGEST_PART_BYTES = 255
_LONGEST_BYTES = 1024


def source_name(uri: str, name: str) -> str:
    """Return the name of an image file in its source, with its folder if known.

    Args:
        uri: location of the source.
        name: name of the image in the dataset.

    """
    return uri if _says_folder(uri, name) else name


def published_name(uri: str, name: str) -> str:
    """Return that name with the extension of the published bytes, which differs for re-encoded files."""
    return str(PurePosixPath(uri).with_name(name)) if _says_folder(uri, name) else name


def is_address(uri: str) -> bool:
    """Return whether the location of a source is a URI, not a path."""
    return "://" in uri


class FileNames:
    """Names of the images of one folder, unique on every system."""

    def __init__(self) -> None:
        self._files: set[str] = set()
        self._folders: set[str] = set()

    def take(self, wanted: str, otherwise: Callable[[], str]) -> str:
        """Return the name for an image.

        Args:
            wanted: preferred name with its folder, ``/`` between parts.
            otherwise: returns a safe fallback without a folder, which is made unique; called if it is needed.

        """
        name = wanted if _is_safe(wanted) and self._is_free(wanted) else otherwise()
        while not self._is_free(name):
            name = f"_{name}"
        folded = PurePosixPath(_folded(name))
        self._files.add(str(folded))
        self._folders.update(map(str, folded.parents))
        return name

    def _is_free(self, name: str) -> bool:
        folded = PurePosixPath(_folded(name))
        is_taken = str(folded) in self._files or str(folded) in self._folders
        return not is_taken and self._files.isdisjoint(map(str, folded.parents))


def _says_folder(location: str, name: str) -> bool:
    """Return whether the source is the path of the image file, and neither a URI nor a row of a table."""
    uri = PurePosixPath(location)
    is_file = not is_address(location) and uri.suffix.lower() in _ENDINGS
    return is_file and "/" not in name and uri.stem == PurePosixPath(name).stem


def _is_safe(name: str) -> bool:
    parts = name.split("/")
    is_sound = "" not in parts and not _UNSAFE.search(name)
    is_short = all(len(part.encode(errors="replace")) <= _LONGEST_PART_BYTES for part in parts)
    is_short = is_short and len(name.encode(errors="replace")) <= _LONGEST_BYTES
    return is_sound and is_short and PurePosixPath(name).suffix.lower() in _ENDINGS


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())

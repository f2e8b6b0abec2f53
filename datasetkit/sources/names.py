"""Files of a folder by the names that data uses for them. Owns which changes of a name are tried, and the advice.

A name of an existing file is used as it is. Otherwise changes are tried that cannot refer to another file, the fewest
first; a name that may refer to two files is never decided.
"""

from __future__ import annotations

import os
import stat
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from posixpath import splitext

from datasetkit.core.errors import UnreachableError, UnusableError
from datasetkit.core.ledger import DropReason, NoticeKind
from datasetkit.core.limits import ImageLimits
from datasetkit.core.paths import Place, files_below, leads_out, path_inside
from datasetkit.core.remote import RemotePath
from datasetkit.sources.files import IMAGE_SUFFIXES, as_text, is_gone, read_image

LOOKED_AT = 20
_Key = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file of a folder.

    Args:
        name: of the file, relative to the folder.
        folder: the folder.
        changes: what had to be changed in the name.

    """

    name: str
    folder: Place
    changes: tuple[NoticeKind, ...] = ()

    @property
    def path(self) -> Place:
        """The path of the file."""
        return self.folder / self.name


class FolderNames:
    """Files of a folder, found by the names that data uses for them.

    Args:
        folder: the folder; links in it are followed, since its owner created them.
        names: of all files below it, relative, ``/`` between parts; None lists them once a name is not found.

    """

    def __init__(self, folder: Place, names: Iterable[str] | None = None) -> None:
        self.folder = folder if isinstance(folder, RemotePath) else Path(os.path.abspath(folder))  # noqa: PTH100
        self._known = None if names is None else tuple(names)

    def find(self, name: str) -> FoundFile:
        """Find a file.

        Raises:
            UnusableError: ``missing`` if there is none, or several may be meant; ``path_escapes`` for a name that leads
                out of the folder; ``unreadable`` for a name that no path can have.

        """
        if self._known is not None and name in self._exact:
            return FoundFile(name, self.folder)
        if "\0" in name:
            raise UnusableError(DropReason.PATH_ESCAPES, f"{name!r} contains a null byte, which no file name can")
        if not leads_out(name) and self._is_there(name):
            return FoundFile(PurePosixPath(name).as_posix(), self.folder)
        return self._found_changed(name)

    def read(self, name: str, limits: ImageLimits) -> tuple[FoundFile, bytes]:
        """Find a file and read it; a remote file with the right name needs no further request.

        Raises:
            UnusableError: see :meth:`find` and :func:`~datasetkit.sources.files.read_image`.

        """
        if isinstance(self.folder, RemotePath) and not leads_out(name):
            try:
                found = FoundFile(PurePosixPath(name).as_posix(), self.folder)
                return found, read_image(found.path, limits, self.folder)
            except UnusableError as error:
                if error.reason is not DropReason.MISSING or isinstance(error, UnreachableError):
                    raise
        found = self.find(name)
        return found, read_image(found.path, limits, self.folder)

    def by_tail(self, name: str) -> FoundFile | None:
        """Find a file by the longest common end of its path and a name, folders included; None if several fit equally.

        Data sets name files below folders that downloads do not have: ``images/v1/patch0/a.jpg`` for ``patch0/a.jpg``.
        """
        parts = PurePosixPath(folded(_slashed(name))).parts
        alike = self._by_last.get(folded(_last(name)), ())
        tails = {file: _common_tail(PurePosixPath(folded(file)).parts, parts) for file in alike}
        most = max(tails.values(), default=0)
        longest = [file for file, tail in tails.items() if tail == most]
        return FoundFile(longest[0], self.folder, (NoticeKind.NAME_PREFIX,)) if len(longest) == 1 else None

    def advice(self, missed: Sequence[str], option: str = "the folder") -> str:
        """Return which change would find most of the first names that were not found, and how many of them.

        Args:
            missed: the names.
            option: the option that names the folder ("--images").

        """
        missed = missed[:LOOKED_AT]
        changes = Counter(change for name in missed if (change := self._change(name, option)) is not None)
        if not changes:
            held = f"{len(self._names):,} files, such as {as_text(self._names[0])}" if self._names else "no file"
            return f"{self.folder} holds {held}; give another folder as {option}"
        change, count = changes.most_common(1)[0]
        return f"{count} of the first {len(missed)} would be found {change}"

    def alike(self, names: Iterable[str]) -> dict[str, str]:
        """Return the files with the last part of one of the names, ignoring case and suffix, each with that name."""
        wanted = {file_stem(name): name for name in names}
        return {name: wanted[stem] for name in self._names if (stem := file_stem(name)) in wanted}

    @cached_property
    def _names(self) -> Sequence[str]:
        return [name for name, _ in files_below(self.folder)] if self._known is None else self._known

    @cached_property
    def _exact(self) -> frozenset[str]:
        return frozenset(self._names)

    @cached_property
    def _by_last(self) -> dict[str, list[str]]:
        """Return the files by the last part of their name, as it is compared."""
        files: dict[str, list[str]] = {}
        for name in self._names:
            files.setdefault(folded(_last(name)), []).append(name)
        return files

    @cached_property
    def _tiers(self) -> list[tuple[tuple[NoticeKind, ...], _Key, dict[str, list[str]]]]:
        """Return ways to compare names, strictest first, each with the files by the result."""
        tiers: list[tuple[tuple[NoticeKind, ...], _Key, dict[str, list[str]]]] = []
        for changes, key, of_file in (
            ((NoticeKind.NAME_UNICODE,), composed, composed),
            ((NoticeKind.NAME_CASE,), folded, folded),
            ((NoticeKind.NAME_ENDING,), composed, lambda name: composed(_without_ending(name))),
            ((NoticeKind.NAME_CASE, NoticeKind.NAME_ENDING), folded, lambda name: folded(_without_ending(name))),
        ):
            files: dict[str, list[str]] = {}
            for name in self._names:
                files.setdefault(of_file(name), []).append(name)
            tiers.append((changes, key, files))
        return tiers

    def _is_there(self, name: str) -> bool:
        """Return whether a name exists, even as a pipe: reading it then reports what it is."""
        if self._known is not None and PurePosixPath(name).as_posix() in self._exact:
            return True
        path = path_inside(self.folder, name)
        if isinstance(path, RemotePath):
            return PurePosixPath(name).as_posix() in self._exact
        try:
            return not stat.S_ISDIR(path.stat().st_mode)
        except (FileNotFoundError, NotADirectoryError):
            return path.is_symlink()
        except OSError:
            return True

    def _found_changed(self, name: str) -> FoundFile:
        variants = list(self._variants(name))
        for variant, changes in variants:
            if self._is_there(variant):
                return FoundFile(variant, self.folder, changes)
        for more, key, files in self._tiers:
            for variant, changes in variants:
                found = files.get(key(variant), [])
                if len(found) > 1:
                    several = ", ".join(map(as_text, found[:3]))
                    raise UnusableError(DropReason.MISSING, f"{name!r} is not there, and may refer to any of {several}")
                if found:
                    return FoundFile(found[0], self.folder, (*changes, *more))
        if not variants or leads_out(_slashed(name)):
            raise UnusableError(DropReason.PATH_ESCAPES, f"{name!r} must be a path below the folder that it belongs to")
        if not isinstance(self.folder, RemotePath) and (self.folder / variants[0][0]).is_dir():
            raise UnusableError(DropReason.UNREADABLE, f"{name!r} is not a file but a folder")
        if is_gone(self.folder):
            detail = f"{name!r} is not there, and {self.folder} is gone or empty"
            raise UnreachableError(DropReason.MISSING, detail)
        raise UnusableError(DropReason.MISSING, f"{name!r} is not there")

    def _variants(self, name: str) -> Iterator[tuple[str, tuple[NoticeKind, ...]]]:
        """Yield variants of a name that stay in the folder, each with what was changed; fewest changes first."""
        spellings: list[tuple[str, tuple[NoticeKind, ...]]] = [(name, ())]
        if "\\" in name:
            spellings.append((_slashed(name), (NoticeKind.NAME_BACKSLASHES,)))
        inside = [(found, changes) for one, changes in spellings if (found := self._inside(one, changes)) is not None]
        yield from (found for found, _ in inside)
        own = PurePosixPath(_slashed(str(self.folder))).parts
        for (spelling, _), changes in inside:
            parts = PurePosixPath(spelling).parts
            for count in range(1, len(parts)):
                if own[-count:] == parts[:count]:
                    yield "/".join(parts[count:]), (*changes, NoticeKind.NAME_PREFIX)

    def _inside(self, name: str, changes: tuple[NoticeKind, ...]) -> tuple[str, tuple[NoticeKind, ...]] | None:
        """Return a name relative to the folder, ``..`` resolved; None if it leads out."""
        folder = str(self.folder)
        if isinstance(self.folder, RemotePath):
            below = name.removeprefix(f"{folder}/")
            inside = os.path.normpath(below).replace(os.sep, "/")
        else:
            below = name
            inside = os.path.relpath(os.path.join(folder, name), folder).replace(os.sep, "/")  # noqa: PTH118
            if inside.startswith("../") and PurePosixPath(name).is_absolute():
                inside = os.path.relpath(name, self.folder.resolve()).replace(os.sep, "/")
        if leads_out(inside):
            return None
        is_absolute = below != name or PurePosixPath(name).is_absolute()
        return inside, (*changes, NoticeKind.NAME_ABSOLUTE) if is_absolute else changes

    def _change(self, name: str, option: str) -> str | None:
        """Return what would find one name: another folder, a prefix, a suffix."""
        parts = PurePosixPath(_slashed(name)).parts
        if alike := [file for file in self._names if folded(_last(file)) == folded(_last(name))]:
            file = PurePosixPath(max(alike, key=lambda one: _common_tail(PurePosixPath(one).parts, parts))).parts
            tail = max(_common_tail(file, parts), 1)
            actual, given = "/".join(file[:-tail]), "/".join(parts[:-tail]).replace("//", "/")
            if given:
                return f"with {actual}/ in place of {given}/" if actual else f"without the prefix {given}/"
            return f"in {self.folder / actual}; give it as {option}"
        if other := next((file for file in self._names if file_stem(file) == file_stem(name)), None):
            ending = PurePosixPath(name).suffix
            return f"with the ending {PurePosixPath(other).suffix}{f' in place of {ending}' if ending else ''}"
        if not isinstance(self.folder, RemotePath) and not leads_out(name):
            above = next((above for above in list(self.folder.parents)[:2] if (above / name).is_file()), None)
            return None if above is None else f"in {above}; give it as {option}"
        return None


def _slashed(name: str) -> str:
    return name.replace("\\", "/")


def _last(name: str) -> str:
    return _slashed(name).rstrip("/").rpartition("/")[2]


def composed(name: str) -> str:
    """Return a name in Unicode's form NFC."""
    return unicodedata.normalize("NFC", name)


def folded(name: str) -> str:
    """Return what names are compared by, regardless of case and Unicode's form."""
    return unicodedata.normalize("NFC", composed(name).casefold())


def _without_ending(name: str) -> str:
    stem, ending = splitext(name)
    return stem if ending.lower() in IMAGE_SUFFIXES else name


def file_stem(name: str) -> str:
    """Return the last part of a name without its suffix, for comparison."""
    return folded(_without_ending(_last(name)))


def _common_tail(first: Sequence[str], second: Sequence[str]) -> int:
    pairs = zip(reversed(first), reversed(second), strict=False)
    return next((count for count, (one, other) in enumerate(pairs) if one != other), min(len(first), len(second)))

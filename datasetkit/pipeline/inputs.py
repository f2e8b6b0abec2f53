"""The files that records are made of. Owns what is recorded about each, and how a changed one is recognised."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasetkit.core.files import file_sha256
from datasetkit.core.paths import Place
from datasetkit.core.protocols import Entry, Source
from datasetkit.core.remote import RemotePath, RemoteStatus
from datasetkit.export.output.accounts import Account

# Up to this many files of a remote folder are requested one by one; beyond that, the whole folder is listed.
_ASKED_FOR = 64
INDEX = "its index"


@dataclass(frozen=True, slots=True)
class FileState:
    """The state of a file: its size, its modification time or (if remote) its version, and its SHA-256."""

    size: int
    mtime_ns: int | None
    version: str | None
    sha256: str | None = None


class Inputs:
    """The current input files of a source; safe to use from several threads.

    Args:
        source: has the paths of the files.
        fingerprint: fingerprint of the source.

    """

    def __init__(self, source: Source, fingerprint: str) -> None:
        self.fingerprint = fingerprint
        self._files_of: Callable[[Entry], Mapping[str, Place]] = getattr(source, "inputs", lambda _: {})
        self._asked: Counter[RemotePath] = Counter()
        self._listed: dict[RemotePath, Mapping[str, RemoteStatus] | None] = {}
        self._lock = threading.Lock()
        self._hashed: dict[tuple[Place, FileState], str | None] = {}
        self._index: Mapping[str, Place] = getattr(source, "index_files", dict)()
        self._index_states = {name: self._state(place) for name, place in self._index.items()}
        self.absent: list[str] = []

    def of(self, entry: Entry) -> dict[str, FileState]:
        """Return the state of an entry's files before it is read."""
        states = {name: self._state(place) for name, place in self._files_of(entry).items()}
        return {name: state for name, state in states.items() if state is not None}

    def account(self, entries: Sequence[Entry], states: Mapping[str, FileState]) -> Account:
        """Record the files of a part.

        Args:
            entries: entries of the part.
            states: states of its files before they were read, with the SHA-256 of those that were read whole; without
                files that could not be read.

        """
        former, self._hashed = self._hashed, {}
        files: dict[str, Any] = {}
        for name, place in self.places(entries).items():
            state = self._index_states.get(name) if name in self._index else states.get(name)
            files[name] = None
            if state is not None:
                sha256 = state.sha256 or self._sha256(place, state, former)
                files[name] = [state.size, state.mtime_ns, state.version, sha256]
        return {"source": self.fingerprint, "entries": _digest(entries), "files": files}

    def changes(self, entries: Sequence[Entry], account: Account | None) -> dict[str, str]:
        """Compare a part's files with what was recorded about them; return the differences by name."""
        if account is None or not account["files"]:
            return {} if account and account["source"] == self.fingerprint else {INDEX: "differs"}
        places, noted = self.places(entries), account["files"]
        found = dict.fromkeys((name for name in places if name not in noted), "is new")
        found |= dict.fromkeys((name for name in noted if name not in places), "is gone")
        for name, place in places.items():
            if noted.get(name) is not None and (what := self._difference(name, place, FileState(*noted[name]))):
                found[name] = what
        return found or ({} if account["entries"] == _digest(entries) else {INDEX: "differs"})

    def _difference(self, name: str, place: Place, then: FileState) -> str | None:
        """Describe how a file differs; a file that cannot be read now counts as unchanged, so that nothing is lost."""
        now = self._index_states.get(name) if name in self._index else self._state(place)
        if now is None:
            self.absent.append(name)
            return None
        if now.size != then.size:
            return "has another size"
        if (now.mtime_ns, now.version) == (then.mtime_ns, then.version):
            return None
        return "has other content" if then.sha256 is None or self._sha256(place, now, {}) != then.sha256 else None

    def places(self, entries: Sequence[Entry]) -> dict[str, Place]:
        """Return the files of a part, those of the index first."""
        of_entries = {name: place for entry in entries for name, place in self._files_of(entry).items()}
        return {**self._index, **of_entries}

    def _state(self, place: Place) -> FileState | None:
        """Return the state of a file; None if that is impossible, for whatever reason."""
        try:
            if isinstance(place, RemotePath):
                status = self._status(place)
                return None if status is None else FileState(status.st_size, None, status.version)
            found = place.stat()
        except (OSError, ValueError):  # ValueError: a name that no file can have
            return None
        return FileState(found.st_size, found.st_mtime_ns, None)

    def _status(self, place: RemotePath) -> RemoteStatus | None:
        base, below = place.parted
        with self._lock:
            self._asked[base] += 1
            if below and self._asked[base] > _ASKED_FOR and base not in self._listed:
                try:
                    self._listed[base] = base.statuses()
                except OSError:  # reading files may be allowed where listing them is not
                    self._listed[base] = None
            listed = self._listed.get(base)
        return place.stat() if listed is None else listed.get(below)

    def _sha256(
        self, place: Place, state: FileState, former: Mapping[tuple[Place, FileState], str | None]
    ) -> str | None:
        """Hash a local file that no entry hashed, once for all entries; None if it has changed in the meantime."""
        if isinstance(place, RemotePath):
            return None
        key = (place, state)
        if key not in self._hashed:
            self._hashed[key] = former[key] if key in former else self._hash(place, state)
        return self._hashed[key]

    def _hash(self, path: Path, state: FileState) -> str | None:
        try:
            digest = file_sha256(path)
        except OSError:
            return None
        return digest if self._state(path) == state else None


def _digest(entries: Sequence[Entry]) -> str:
    """Hash what a source says about entries, as far as it is plain data and not excluded from comparisons."""
    digest = hashlib.sha256()
    for entry in entries:
        announced = (entry.record_id, entry.annotation_ids, entry.split, entry.handle)
        digest.update(json.dumps(announced, default=_plain).encode())
    return digest.hexdigest()


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return [getattr(value, field.name) for field in dataclasses.fields(value) if field.compare]
    return type(value).__name__

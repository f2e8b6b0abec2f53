"""A folder, open for one build. Owns its journal, ``OUT/.build``, and its locks.

``state.json`` there describes the build, and each part writes its shards, its ledger and finally a marker of
completion. The new dataset is assembled in ``OUT/.build/new`` and exchanged for the published one at the end. Locks are
those of the system, which releases them when a process ends, however it ends.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from datasetkit.core.errors import BusyError
from datasetkit.core.files import replace_file
from datasetkit.export.dataset.manifest import DATA_FOLDER, MANIFEST_NAME, Manifest
from datasetkit.export.output.accounts import keep_accounts
from datasetkit.export.output.folder_exchange import NEW, exchange, finish, is_begun
from datasetkit.export.output.found import JOURNAL, STATE, Found, Task, not_empty, read_state, reading_build
from datasetkit.export.output.identity import BuildIdentity
from datasetkit.export.output.journal import LocalJournal
from datasetkit.export.output.output import Output, new_name
from datasetkit.export.output.part_store import Move, PartStore, part_of
from datasetkit.runtime.engines.shards import Shard

JOURNALS = frozenset({JOURNAL, f"{JOURNAL}.new", f"{JOURNAL}.gone"})
_LOCK = "lock"
_SHARD_LOCK = re.compile(r"shard-(\d+)-of-(\d+)\.lock")


def is_unfinished(folder: Path) -> bool:
    """Whether a folder has no dataset yet, or is just being exchanged; a dataset that stays meanwhile is complete."""
    journal = folder / JOURNAL
    return journal.exists() and (is_begun(journal) or not (folder / MANIFEST_NAME).exists())


class BuildFolder(Output):
    """A folder, open for one build; it is created if missing. See :class:`~datasetkit.export.output.output.Output`."""

    place: Path

    def __init__(
        self, folder: Path, identity: BuildIdentity, *, overwrite: bool = False, shard: Shard | None = None
    ) -> None:
        self._journal = folder / JOURNAL
        self._fresh = folder / f"{JOURNAL}.new"
        self._gone = folder / f"{JOURNAL}.gone"
        self._lock: FileLock | None = None
        self._shard_lock: FileLock | None = None
        super().__init__(folder, self.open_parts(folder, ""), identity, overwrite=overwrite, own=shard)

    @classmethod
    def find(cls, place: Path) -> Found:
        """Read the contents of a folder; see :meth:`Output.find`."""
        state = place / JOURNAL / STATE
        with reading_build(place):
            is_whole = (place / MANIFEST_NAME).exists() and not is_unfinished(place)
            published = Manifest.read(place) if is_whole else None
            found = Found.of_state(read_state(state), published)
            others = {path.name for path in place.iterdir()} if place.exists() else set()
        if found.pending is None and found.published is None and others - (JOURNALS - {JOURNAL}):
            raise not_empty(place)
        return found

    @classmethod
    def open_parts(cls, place: Path, build: str) -> PartStore:
        """Open the parts of a running build; see :meth:`Output.open_parts`."""
        return PartStore(place, lambda _: LocalJournal(place / JOURNAL), build)

    def check_turn(self) -> None:
        """Do nothing: the system keeps a lock as long as this process runs; see :meth:`Output.check_turn`."""

    @property
    def papers(self) -> Path:
        """Folder of the new dataset; see :attr:`Output.papers`."""
        return self._journal / NEW

    def shard(self, path: str) -> Path:
        """Return the path of a shard of the new dataset; see :meth:`Output.shard`."""
        return self.papers / path

    @property
    def _has_journal(self) -> bool:
        return self._journal.exists()

    def _claim(self, *, overwrite: bool) -> Found:  # noqa: ARG002 - a lock costs nothing
        found = self.find(self.place)
        for leftover in (self._fresh, self._gone):
            shutil.rmtree(leftover, ignore_errors=True)
        if not self._journal.exists():
            return found
        self._take_lock()
        self._check_shards(self._own)
        if is_begun(self._journal):
            self.parts.enter(found.build or "")
            self.parts.load_all()
            with reading_build(self.place):
                self._finish_exchange()
        return self.find(self.place)

    def _prepare(self, own: Shard | None) -> None:
        names = self.parts.load_all()
        if (self.papers / DATA_FOLDER).is_dir():
            for move in self.parts.final_names()[1]:
                if not move.is_carried and (self.papers / move.target).exists():
                    (self.papers / move.target).replace(self._journal / move.shard.path)
        shutil.rmtree(self.papers, ignore_errors=True)
        kept = {STATE, _LOCK, *filter(_SHARD_LOCK.fullmatch, names), *self.parts.names()}
        for name in names - kept:
            part = part_of(name)
            if part is None or own is None or own.has(part):
                (self._journal / name).unlink(missing_ok=True)

    def _gather(self, moves: tuple[Move, ...]) -> None:
        (self.papers / DATA_FOLDER).mkdir(parents=True)
        for move in moves:
            if move.is_carried:
                _link(self.place / move.shard.path, self.papers / move.target)
            else:
                (self._journal / move.shard.path).replace(self.papers / move.target)

    def _exchange(self) -> None:
        exchange(self.place, self._journal)
        self._finish_exchange()

    def _finish_exchange(self) -> None:
        finish(self.place, self._journal)
        manifest = Manifest.read(self.place)
        keep_accounts(self.place, manifest, self.parts.accounts([part.index for part in manifest.parts]))
        self._remove_journal()

    def _start(self, task: Task) -> None:
        _ = self.former_card  # a card that cannot be kept is refused before anything is built
        self.task = task
        self.parts.enter(new_name())
        if self._lock is not None:
            for path in self._journal.glob("part-*.json"):
                path.unlink()
            self._write_state(task)
            return
        self.place.mkdir(parents=True, exist_ok=True)
        try:
            self._fresh.mkdir()
            replace_file(self._fresh / STATE, self._state_text(task))
            self._fresh.replace(self._journal)
            self._take_lock()
        except OSError as error:
            # Another process started meanwhile: it created, moved or cleared the same folder.
            if error.errno not in {errno.EEXIST, errno.ENOTEMPTY, errno.ENOENT}:
                raise
            raise self._busy() from None

    def _write_state(self, task: Task) -> None:
        replace_file(self._journal / STATE, self._state_text(task))

    def _take_lock(self, wait_s: float = 0.0) -> None:
        self._lock = self._locked(_LOCK, wait_s)

    def _take_shard(self, own: Shard) -> None:
        self._shard_lock = self._locked(f"shard-{own.index}-of-{own.count}.lock")

    def _locked(self, name: str, wait_s: float = 0.0) -> FileLock:
        lock = FileLock(self._journal / name, timeout=wait_s, thread_local=False)
        try:
            lock.acquire()
        except (Timeout, FileNotFoundError):  # the journal may just have been removed
            raise self._busy() from None
        return lock

    def _is_shard_held(self) -> bool:
        with suppress(BusyError):
            self._check_shards(None)
            return False
        return True

    def _check_shards(self, own: Shard | None) -> None:
        for path in self._journal.iterdir():
            found = _SHARD_LOCK.fullmatch(path.name)
            if found is None:
                continue
            shard = Shard(int(found[1]), int(found[2]))
            if own is not None and own.count == shard.count and own.index != shard.index:
                continue
            lock = FileLock(path, timeout=0, thread_local=False)
            try:
                lock.acquire()
            except Timeout:
                raise BusyError(
                    f"another process is building shard {shard} of {self.place}; wait until it ends, or give another "
                    "--out"
                ) from None
            lock.release()

    def _busy(self) -> BusyError:
        return BusyError(f"another process is building {self.place}; wait until it ends, or give another --out")

    def _release_lock(self) -> None:
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _release_shard(self) -> None:
        if self._shard_lock is not None:
            self._shard_lock.release()
            self._shard_lock = None

    def _remove_journal(self) -> None:
        if os.name == "nt":  # Windows cannot move a folder with an open file
            self._release_lock()
        self._journal.replace(self._gone)
        self._release_lock()
        shutil.rmtree(self._gone)


def _link(source: Path, target: Path) -> None:
    """Link a file under a second name, or copy it if the file system does not support hard links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)

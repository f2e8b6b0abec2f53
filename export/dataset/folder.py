"""The folder of a build: finished, pending and foreign contents. Owns the journal in OUT.

While a build runs, everything new is in ``OUT/.build``: ``state.json`` describes the build, and each part writes its
shards, its ledger and finally a marker of completion. The published dataset in OUT stays complete meanwhile: the new
one is assembled in ``OUT/.build/new`` and exchanged for it at the end, so that a killed build resumes from complete
parts, ends in the same bytes, and never leaves less than there was.

One process holds ``lock`` while it plans, and until it has published. The jobs of an array hold it only while they
plan; then each holds the lock of its shard, and other shards may be built at the same time.
"""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout

from datasetkit.core.documents import read_json
from datasetkit.core.errors import BuiltFolderError, BusyError, OutputError
from datasetkit.core.files import replace_file
from datasetkit.core.label_map import LabelMap
from datasetkit.core.ledger import Drop, PassedOver
from datasetkit.export.dataset.accounts import write_accounts
from datasetkit.export.dataset.card.render import render_card
from datasetkit.export.dataset.card.sections import owners_part
from datasetkit.export.dataset.exchange import exchange, finish, is_begun
from datasetkit.export.dataset.identity import BuildIdentity
from datasetkit.export.dataset.manifest import CARD_NAME, MANIFEST_NAME, Manifest
from datasetkit.export.dataset.part_store import PartStore
from datasetkit.export.dataset.statistics import Statistics
from datasetkit.runtime.engines.shards import Shard

_JOURNAL = ".build"
JOURNALS = frozenset({_JOURNAL, f"{_JOURNAL}.new", f"{_JOURNAL}.gone"})
_STATE = "state.json"
_LOCK = "lock"
_SHARD_LOCK = re.compile(r"shard-(\d+)-of-(\d+)\.lock")
# How long the jobs of an array wait for another one that plans, or publishes.
_WAIT_S, _EVERY_S = 60.0, 0.1
_BUILD = "build"  # the key of the build's name in the state

Task = Literal["build", "retry", "update"]


def is_unfinished(folder: Path) -> bool:
    """Whether a folder has no dataset yet, or is just being exchanged; a dataset that stays meanwhile is complete."""
    journal = folder / _JOURNAL
    return journal.exists() and (is_begun(journal) or not (folder / MANIFEST_NAME).exists())


@dataclass(frozen=True, slots=True)
class Found:
    """Contents of a folder.

    Args:
        published: manifest of the dataset; None without one.
        pending: identity of the unfinished build; None without one.
        task: its kind: build all parts, or rebuild those with failures, or those with changed input.
        build: the name of the unfinished build, which its parts have in their markers; None without one.

    """

    published: Manifest | None
    pending: BuildIdentity | None
    task: Task
    build: str | None = None

    def holds(self, identity: BuildIdentity) -> bool:
        """Whether the published dataset belongs to a build, ignoring the files of the source."""
        return self.published is not None and BuildIdentity.of(self.published).is_same_but_source(identity)

    def refusal(self, folder: Path, identity: BuildIdentity) -> OutputError | None:
        """Return why a build may not continue here, or None; a build that kept nothing may always be replaced."""
        if self.holds(identity) or (self.pending is not None and self.pending.is_same_but_source(identity)):
            return None
        other = self.pending or (BuildIdentity.of(self.published) if self.published else None)
        if other is None or (self.pending is None and self.published and not self.published.shards):
            return None
        return OutputError(
            f"{folder} contains another build ({other.difference(identity)}); give another --out, or --overwrite to "
            "replace it"
        )


def find_build(folder: Path) -> Found:
    """Read the contents of a folder.

    Raises:
        OutputError: it is not empty and contains no build.

    """
    journal = folder / _JOURNAL
    try:
        pending: BuildIdentity | None = None
        task: Task = "build"
        build: str | None = None
        if (journal / _STATE).exists():
            state = read_json(journal / _STATE)
            task = state.pop("task", task)
            build = state.pop(_BUILD, None)
            pending = BuildIdentity.from_json(state)
        is_whole = (folder / MANIFEST_NAME).exists() and not is_unfinished(folder)
        published = Manifest.read(folder) if is_whole else None
        others = {path.name for path in folder.iterdir()} if folder.exists() else set()
    except (NotADirectoryError, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise OutputError(f"{folder} contains no build ({error}); give another --out") from error
    if pending is None and published is None and others - (JOURNALS - {_JOURNAL}):
        raise OutputError(f"{folder} is not empty and contains no build; give another --out")
    return Found(published, pending, task, build)


def check_free(folder: Path, identity: BuildIdentity) -> Found:
    """Refuse a folder with another build, before models are loaded; their weights are not compared.

    Raises:
        OutputError: the folder contains another build, or something else.

    """
    found = find_build(folder)
    without = Found(
        None if found.published is None else replace(found.published, models=()),
        None if found.pending is None else replace(found.pending, models=()),
        found.task,
    )
    if refusal := without.refusal(folder, replace(identity, models=())):
        raise refusal
    return without


class BuildFolder:
    """OUT, open for one build; a context manager that keeps other processes out.

    OUT is created if missing. With ``overwrite`` another build in it is replaced; one that kept nothing always is. A
    job of an array gives its ``shard``, whose parts it builds while other jobs build theirs.

    Attributes:
        parts: store of the parts.
        published: manifest of the dataset in OUT; None without one.
        task: task to continue; None if the dataset in OUT is the requested one.

    Raises:
        OutputError: OUT contains another build and ``overwrite`` is off, or something else than a build, or a build
            that another process is working on.

    """

    def __init__(
        self, folder: Path, identity: BuildIdentity, *, overwrite: bool = False, shard: Shard | None = None
    ) -> None:
        self.folder = folder
        self.parts = PartStore(folder, folder / _JOURNAL)
        self.task: Task | None = None
        self._identity = identity
        self._journal = folder / _JOURNAL
        self._fresh = folder / f"{_JOURNAL}.new"
        self._gone = folder / f"{_JOURNAL}.gone"
        self._lock: FileLock | None = None
        self._shard = shard
        self._shard_lock: FileLock | None = None
        found = find_build(folder)
        for leftover in (self._fresh, self._gone):
            shutil.rmtree(leftover, ignore_errors=True)
        if self._journal.exists():
            self._take_lock()
            self._check_shards(shard)
            if is_begun(self._journal):
                self.parts.build = found.build or ""
                self.parts.load_all()
                self._finish_exchange()
                found = find_build(folder)
        self.published = found.published
        refusal = None if overwrite else found.refusal(folder, identity)
        if refusal is not None:
            self._release_lock()
            raise refusal
        self._pending = found.pending
        if overwrite or not (found.pending or found.holds(identity)):
            self._start("build")
        elif found.pending is not None and found.pending.is_same_but_source(identity):
            self.task = found.task
            self.parts.build = found.build or _new_name()
            replace_file(self._journal / _STATE, self._state_text(found.task))

    def __enter__(self) -> BuildFolder:
        return self

    def __exit__(self, *exception: object) -> None:
        self._release_lock()
        self._release_shard()

    @property
    def is_complete(self) -> bool:
        """Whether the dataset in OUT is the requested one, without unfinished work."""
        return self.task is None

    @property
    def is_blocked(self) -> bool:
        """Whether another build, which is to replace the dataset in OUT, was started there."""
        return self.task is None and self._journal.exists()

    def begin(self, task: Task) -> None:
        """Start to rebuild parts of the published dataset."""
        if self.is_blocked:
            raise OutputError(
                f"{self.folder}: a build that is to replace this dataset is not finished; resume it by its "
                "command, or give --overwrite to rebuild this one"
            )
        self._start(task)

    def resume(self) -> frozenset[int]:
        """Prepare the journal for resuming; return the numbers of the complete parts.

        From now on, a job of an array allows others to build their shards.
        """
        locks = [path.name for path in self._journal.iterdir() if _SHARD_LOCK.fullmatch(path.name)]
        shard = self._shard
        self.parts.resume((_STATE, _LOCK, *locks), (lambda _: True) if shard is None else shard.has)
        if shard is not None:
            self._shard_lock = self._locked(f"shard-{shard.index}-of-{shard.count}.lock")
            self._release_lock()
        return frozenset(self.parts.whole)

    def rejoin(self) -> bool:
        """End the work at a shard; return whether this process is the last one, and may publish.

        It is not if another shard is being built, or if another process has published meanwhile.
        """
        self._release_shard()
        try:
            self._take_lock(_WAIT_S)
            self._check_shards()
        except BusyError:
            self._release_lock()
            return False
        if find_build(self.folder).build != self.parts.build:
            self._release_lock()
            return False
        self.parts.resume((_STATE, _LOCK))
        return True

    def publish(
        self, stray: Iterable[Drop], passed_over: Iterable[PassedOver] = (), label_map: LabelMap = ()
    ) -> Manifest:
        """Assemble the new dataset in ``parts.new``; the published one stays until :meth:`close`."""
        return self.parts.put_together(self._identity, stray, tuple(passed_over), label_map)

    @property
    def former_card(self) -> str | None:
        """Card of the replaced build with what its owner wrote; None if the owner wrote nothing."""
        path = self.folder / CARD_NAME
        if self.published is None or not path.is_file():
            return None
        try:
            card = path.read_text(encoding="utf-8")
            return owners_part(card, render_card(self.published, Statistics.read(self.folder)))
        except (UnicodeDecodeError, BuiltFolderError) as error:
            raise OutputError(f"{path} cannot be kept: {error}; fix or delete it, or give another --out") from error

    def close(self) -> None:
        """Exchange the published dataset for the new one, and remove the journal: the build is complete."""
        exchange(self.folder, self._journal)
        self._finish_exchange()
        self.task = None
        self.published = Manifest.read(self.folder)

    def discard(self) -> None:
        """Remove the journal; the dataset in OUT is unchanged."""
        self._remove_journal()
        self.task = None

    def _finish_exchange(self) -> None:
        finish(self.folder, self._journal)
        write_accounts(self.folder, Manifest.read(self.folder), self.parts.account)
        self._remove_journal()

    def _start(self, task: Task) -> None:
        """Start a journal without parts; the published dataset is unchanged."""
        _ = self.former_card  # a card that cannot be kept is refused before anything is built
        self.task = task
        self.parts.build = _new_name()
        if self._lock is not None:
            for path in self._journal.glob("part-*.json"):
                path.unlink()
            replace_file(self._journal / _STATE, self._state_text(task))
            return
        try:
            self._fresh.mkdir(parents=True)
            replace_file(self._fresh / _STATE, self._state_text(task))
            self._fresh.replace(self._journal)
            self._take_lock()
        except OSError as error:
            # Another process started meanwhile: it created, moved or cleared the same folder.
            if error.errno not in {errno.EEXIST, errno.ENOTEMPTY, errno.ENOENT}:
                raise
            raise self._busy() from None

    def _state_text(self, task: Task) -> bytes:
        return json.dumps(self._identity.to_json() | {"task": task, _BUILD: self.parts.build}).encode()

    def _take_lock(self, wait_s: float = 0) -> None:
        """Keep other processes out; the system releases the lock when this process ends, however it ends."""
        self._lock = self._locked(_LOCK, wait_s)

    def _locked(self, name: str, wait_s: float = 0) -> FileLock:
        lock = FileLock(self._journal / name, timeout=wait_s, thread_local=False)
        try:
            lock.acquire()
        except (Timeout, FileNotFoundError):  # the journal may just have been removed
            raise self._busy() from None
        return lock

    def _check_shards(self, own: Shard | None = None) -> None:
        """Refuse to go on while shards are being built, except other ones of the same count as one's own."""
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
                self._release_lock()
                raise BusyError(
                    f"another process is building shard {shard} of {self.folder}; wait until it ends, or give another "
                    "--out"
                ) from None
            lock.release()

    def _busy(self) -> BusyError:
        return BusyError(f"another process is building {self.folder}; wait until it ends, or give another --out")

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


def _new_name() -> str:
    return secrets.token_hex(8)


def open_parts(folder: Path, build: str) -> PartStore:
    """Open the parts of a running build for a worker, which holds no lock."""
    return PartStore(folder, folder / _JOURNAL, build)


def wait_for_turn(open_folder: Callable[[], BuildFolder]) -> BuildFolder:
    """Open the folder of a build as soon as no other job of an array is planning in it.

    Raises:
        OutputError: see :class:`BuildFolder`; another process is building all of it.

    """
    end = time.monotonic() + _WAIT_S
    while True:
        try:
            return open_folder()
        except BusyError:
            if time.monotonic() > end:
                raise
        time.sleep(_EVERY_S)

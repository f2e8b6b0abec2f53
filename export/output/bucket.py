"""A prefix in an object store, open for one build. Owns its journal, ``OUT/.build``, and its locks.

``.build/state.json`` names the build, whose files are in a folder of that name: each part has its shards, its ledger
and finally a marker of completion there. Nothing is needed on this machine, so that another one may resume. All files
of an earlier build have other names, so that a process that works on it after it was replaced changes nothing. Locks
are those of :mod:`~datasetkit.export.output.leases`.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Collection
from pathlib import Path

from datasetkit.core.errors import BusyError, OutputError
from datasetkit.core.paths import BESIDE, Place
from datasetkit.core.remote import RemotePath
from datasetkit.export.dataset.manifest import DATA_FOLDER, MANIFEST_NAME, Manifest
from datasetkit.export.output.accounts import accounts_path, write_accounts
from datasetkit.export.output.bucket_exchange import PLAN, BucketExchange, remove_all
from datasetkit.export.output.bucket_journal import BucketJournal
from datasetkit.export.output.found import JOURNAL, STATE, Found, Task, not_empty, read_state, reading_build
from datasetkit.export.output.identity import BuildIdentity
from datasetkit.export.output.leases import Lease, Leases
from datasetkit.export.output.output import Output, new_name
from datasetkit.export.output.part_store import Move, PartStore
from datasetkit.runtime.engines.shards import Shard

_LOCKS = "locks"
_ALL = "all"
_SHARD_LOCK = re.compile(r"shard-(\d+)-of-(\d+)")


def has_unfinished(names: Collection[str]) -> bool:
    """Whether a prefix with these files has no dataset yet, or is just being exchanged."""
    is_begun = any(name.startswith(f"{JOURNAL}/") and name.endswith(f"/{PLAN}") for name in names)
    return f"{JOURNAL}/{STATE}" in names and (is_begun or MANIFEST_NAME not in names)


class BuildBucket(Output):
    """A prefix in an object store, open for one build; see :class:`~datasetkit.export.output.output.Output`."""

    place: RemotePath

    def __init__(
        self, place: RemotePath, identity: BuildIdentity, *, overwrite: bool = False, shard: Shard | None = None
    ) -> None:
        self._journal = place / JOURNAL
        self._leases = Leases(self._journal / _LOCKS, place)
        self._lease: Lease | None = None
        self._shard_lease: Lease | None = None
        self._is_pending = False
        self._moves: dict[str, Move] = {}
        self._local: tempfile.TemporaryDirectory[str] | None = None
        super().__init__(place, self.open_parts(place, ""), identity, overwrite=overwrite, own=shard)

    def __exit__(self, *exception: object) -> None:
        super().__exit__(*exception)
        self._remove_local()

    @classmethod
    def find(cls, place: RemotePath) -> Found:
        """Read the contents of a prefix; see :meth:`Output.find`."""
        with reading_build(place):
            state = read_state(place / JOURNAL / STATE)
            found = Found.of_state(state, None)
            is_begun = found.build is not None and _exchange(place, found.build).is_begun
            is_whole = not is_begun and (place / MANIFEST_NAME).is_file()
            found = Found.of_state(state, Manifest.read(place) if is_whole else None)
        if found.pending is None and found.published is None and place.children() - {JOURNAL, BESIDE}:
            raise not_empty(place)
        return found

    @classmethod
    def open_parts(cls, place: RemotePath, build: str) -> PartStore:
        """Open the parts of a running build; see :meth:`Output.open_parts`."""
        return PartStore(place, lambda name: BucketJournal(place / JOURNAL / name), build)

    def check_turn(self) -> None:
        """Check what is known of the locks; see :meth:`Output.check_turn`."""
        for lease in (self._lease, self._shard_lease):
            if lease is not None:
                lease.check(is_thorough=False)

    @property
    def papers(self) -> Path:
        """A temporary folder; see :attr:`Output.papers`."""
        if self._local is None:
            self._local = tempfile.TemporaryDirectory(prefix="datasetkit-")
        return Path(self._local.name)

    def shard(self, path: str) -> Place:
        """Return where a shard of the new dataset is; see :meth:`Output.shard`."""
        return self._moves[path].source

    @property
    def _has_journal(self) -> bool:
        return self._is_pending

    def _claim(self, *, overwrite: bool) -> Found:
        found = self.find(self.place)
        if found.pending is None and found.holds(self._identity) and not overwrite:
            self._clear()
            return found
        if self._own is not None:
            self._take_shard(self._own)
        self._lease = self._taken(_ALL, is_needless=self._may_join)
        self._check_shards(self._own)
        found = self.find(self.place)
        self._is_pending = found.pending is not None
        if self._lease is None:
            return found
        if found.build is not None and _exchange(self.place, found.build).is_begun:
            self._finish(found.build)
            self._remove_state()
            found = self.find(self.place)
        self._check_data(found)
        self._is_pending = found.pending is not None
        return found

    def _may_join(self) -> bool:
        """Whether this job of an array finds its build started, and nobody who plans or publishes.

        Whoever takes the lock after this looks for locks of shards first, and finds that of this job.
        """
        if self._own is None or self._leases.held(_ALL.__eq__, is_patient=False):
            return False
        found = self.find(self.place)
        is_begun = found.build is not None and _exchange(self.place, found.build).is_begun
        return found.continues(self._identity) and not is_begun

    def _clear(self) -> None:
        """Remove what a killed build left after it had published, unless somebody else is there."""
        if not self._journal.files(missing_ok=True):
            return
        self._lease = self._leases.try_take(_ALL)
        if self._lease is None:
            return
        if self.find(self.place).pending is None and not self._is_shard_held():
            self._remove_journal()
        self._release_lock()

    def _check_data(self, found: Found) -> None:
        """Refuse files that would be read as shards of the new dataset."""
        ours = set() if found.published is None else {shard.path for shard in found.published.shards}
        others = {f"{DATA_FOLDER}/{name}" for name in (self.place / DATA_FOLDER).children()} - ours
        if strange := [name for name in others if name.endswith(".parquet")]:
            raise OutputError(
                f"{self.place} has {min(strange)}, which is not of the dataset there and would be read as part of the "
                "new one; delete it, or give another --out"
            )

    def _prepare(self, own: Shard | None) -> None:  # noqa: ARG002 - whoever publishes removes what is not needed
        self.parts.load_all()

    def _gather(self, moves: tuple[Move, ...]) -> None:
        self._remove_local()
        self._moves = {move.target: move for move in moves}

    def _exchange(self) -> None:
        self._check_lock()
        manifest = Manifest.read(self.papers)
        name = f"{accounts_path(self.place)}".removeprefix(f"{self.place}/")
        (self.papers / name).parent.mkdir()
        write_accounts(self.papers / name, manifest, self.parts.accounts([part.index for part in manifest.parts]))
        _exchange(self.place, self.parts.build).begin(self.papers, [*self._moves.values()], self.published)
        self._finish(self.parts.build)
        self._remove_journal()

    def _finish(self, build: str) -> None:
        _exchange(self.place, build).finish(self._check_lock)

    def _start(self, task: Task) -> None:
        _ = self.former_card  # a card that cannot be kept is refused before anything is built
        if self._lease is None:
            self._take_lock()
            self._check_shards(self._own)
            found = self.find(self.place)
            if found.pending is not None or found.published != self.published:
                raise BusyError(f"another process has just built in {self.place}; run this again")
        self.task = task
        self.parts.enter(new_name())
        self._write_state(task)
        self._is_pending = True
        self._sweep()

    def _write_state(self, task: Task) -> None:
        (self._journal / STATE).write_bytes(self._state_text(task))

    def _check_lock(self) -> None:
        if self._lease is not None:
            self._lease.check(is_thorough=True)

    def _take_lock(self, wait_s: float = 0.0) -> None:
        self._lease = self._taken(_ALL, wait_s)

    def _take_shard(self, own: Shard) -> None:
        if self._shard_lease is None:
            self._shard_lease = self._taken(f"shard-{own.index}-of-{own.count}")

    def _taken(self, name: str, wait_s: float = 0.0, is_needless: Callable[[], bool] = lambda: False) -> Lease | None:
        try:
            return self._leases.take(name, wait_s, is_needless)
        except FileNotFoundError as error:
            raise OutputError(f"{self.place} cannot be written: there is no such bucket; create it first") from error

    def _is_shard_held(self) -> bool:
        return bool(self._leases.held(lambda name: _shard_of(name) is not None, is_patient=False))

    def _check_shards(self, own: Shard | None) -> None:
        def is_in_the_way(name: str) -> bool:
            shard = _shard_of(name)
            return shard is not None and (own is None or own.count != shard.count)

        for holder in self._leases.held(is_in_the_way, is_patient=True):
            raise self._leases.busy(holder)

    def _release_lock(self) -> None:
        if self._lease is not None:
            self._lease.release()
            self._lease = None

    def _release_shard(self) -> None:
        if self._shard_lease is not None:
            self._shard_lease.release()
            self._shard_lease = None

    def _remove_journal(self) -> None:
        self._remove_state()
        self._release_lock()

    def _remove_state(self) -> None:
        """Remove the state first: what else is there means nothing without it."""
        (self._journal / STATE).remove()
        self._is_pending = False
        self.parts.enter("")
        self._sweep()

    def _sweep(self) -> None:
        """Remove the files of all other builds."""
        self._leases.tidy()
        kept = (STATE, f"{_LOCKS}/", *([f"{self.parts.build}/"] if self.parts.build else []))
        remove_all(self._journal / name for name in self._journal.files(missing_ok=True) if not name.startswith(kept))

    def _remove_local(self) -> None:
        if self._local is not None:
            self._local.cleanup()
            self._local = None


def _shard_of(name: str) -> Shard | None:
    """Return the shard that a lock is of."""
    found = _SHARD_LOCK.fullmatch(name)
    return None if found is None else Shard(int(found[1]), int(found[2]))


def _exchange(place: RemotePath, build: str) -> BucketExchange:
    return BucketExchange(place, f"{JOURNAL}/{build}")

"""Locks in an object store, which knows no processes. Owns who holds a lock, and when another one may take it over.

A lock is a file that is written on the condition that there is none, ``NAME.000001.json``. Its holder renews it by
writing to a second file of its own. A lock that is not renewed for two minutes may be taken over: the file of the next
epoch, ``NAME.000002.json``, is created by one process only, and the former holder notices when it checks its lock,
which it does before it publishes. Waiting processes measure time by watching, so that no clocks are compared. The lock
of a process of the same machine that no longer runs is taken over at once.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from datasetkit.core.documents import load_json
from datasetkit.core.errors import BusyError
from datasetkit.core.remote import RemotePath

logger = logging.getLogger(__name__)

RENEW_S, STALE_S, POLL_S = 20.0, 120.0, 1.0
_LOCK = re.compile(r"(?P<name>.+)\.(?P<epoch>\d{6})\.json")


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lock.

    Args:
        token: differs between any two holders.
        host: name of the machine.
        machine: identifies the machine since its start, and the process namespace; empty if it is unknown.
        process: number of the process there.
        since: when the lock was taken, by the clock of the machine.

    """

    token: str
    host: str
    machine: str
    process: int
    since: str

    def __post_init__(self) -> None:
        is_text = all(isinstance(value, str) for value in (self.token, self.host, self.machine, self.since))
        if not is_text or not (isinstance(self.process, int) and 0 <= self.process < 2**31):
            raise ValueError(f"{self} is no holder of a lock")

    @classmethod
    def here(cls) -> Holder:
        """Return a new holder in this process."""
        since = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(secrets.token_hex(8), platform.node(), _machine(), os.getpid(), since)

    @property
    def is_gone(self) -> bool:
        """Whether it was a process of this machine that no longer runs."""
        if not self.machine or self.machine != _machine():
            return False
        try:
            os.kill(self.process, 0)
        except ProcessLookupError:
            return True
        except OSError:
            pass
        return False


@dataclass(frozen=True, slots=True)
class _State:
    """The state of a lock: its epoch, its holder, and what that wrote last."""

    epoch: int
    holder: Holder
    beat: bytes


class _Watch:
    """What was seen of locks, and since when."""

    def __init__(self, place: RemotePath) -> None:
        self._place = place
        self._seen: dict[tuple[str, int], tuple[_State, float]] = {}
        self._told: set[str] = set()

    def is_silent(self, name: str, state: _State) -> bool:
        """Whether the holder has not renewed the lock for too long."""
        _, since = self._seen.setdefault((name, state.epoch), (state, time.monotonic()))
        return not self.has_moved(name, state) and time.monotonic() - since >= STALE_S

    def tell(self, states: Iterable[_State]) -> None:
        """Log for whom this process is waiting, once for each."""
        for holder in (state.holder for state in states if state.holder.token not in self._told):
            self._told.add(holder.token)
            logger.info(
                "%s: waiting for process %d on %s to release it, or for %.0f s without a sign of life from it",
                self._place,
                holder.process,
                holder.host,
                STALE_S,
            )

    def has_moved(self, name: str, state: _State) -> bool:
        """Whether the holder has renewed the lock since it was first seen."""
        return self._seen[name, state.epoch][0] != state


class Leases:
    """The locks of one output.

    Args:
        folder: where their files are.
        place: the output, for messages.

    """

    def __init__(self, folder: RemotePath, place: RemotePath) -> None:
        self._folder = folder
        self._place = place

    def take(self, name: str, wait_s: float = 0.0, is_needless: Callable[[], bool] = lambda: False) -> Lease | None:
        """Take a lock as soon as nobody holds it, or its holder is silent.

        Args:
            name: of the lock.
            wait_s: how long to wait while the holder renews it.
            is_needless: whether the lock is not needed, or not any more.

        Returns:
            the lock, or None if it is not needed.

        Raises:
            BusyError: its holder renews it.

        """
        watch, end = _Watch(self._place), time.monotonic() + wait_s
        while not is_needless():
            state = self._state(name)
            if state is None or state.holder.is_gone or watch.is_silent(name, state):
                lease = self._create(name, 1 if state is None else state.epoch + 1)
                if lease is not None:
                    return lease
            elif watch.has_moved(name, state) and time.monotonic() >= end:
                raise self.busy(state.holder)
            watch.tell([] if state is None else [state])
            time.sleep(POLL_S)
        return None

    def try_take(self, name: str) -> Lease | None:
        """Take a lock if nobody holds it, or a process of this machine that no longer runs."""
        state = self._state(name)
        if state is not None and not state.holder.is_gone:
            return None
        return self._create(name, 1 if state is None else state.epoch + 1)

    def held(self, is_meant: Callable[[str], bool], *, is_patient: bool) -> list[Holder]:
        """Return the holders of all locks whose name is meant; locks whose holder is gone are removed.

        Args:
            is_meant: called with the name of a lock.
            is_patient: whether to wait until one of them is seen to renew its lock, or all are silent; locks of silent
                holders are then removed, too.

        """
        watch = _Watch(self._place)
        while True:
            found = {name: self._state(name) for name in {lock["name"] for lock in self._locks()} if is_meant(name)}
            states = {name: state for name, state in found.items() if state is not None}
            silent = {name for name, state in states.items() if watch.is_silent(name, state)}
            loud = {name for name, state in states.items() if watch.has_moved(name, state)}
            gone = {name for name, state in states.items() if state.holder.is_gone}
            if loud or not is_patient or states.keys() <= silent | gone:
                for name in silent | gone:
                    self.remove(name, states[name].epoch)
                return [state.holder for name, state in states.items() if name not in silent | gone]
            watch.tell(states.values())
            time.sleep(POLL_S)

    def tidy(self) -> None:
        """Remove what was written by holders that had lost their lock already."""
        names = {found["name"] for found in self._locks()}
        for file in self._folder.children():
            if file.rsplit(".", 2)[0] not in names:
                (self._folder / file).remove()

    def busy(self, holder: Holder) -> BusyError:
        """Return the error that somebody holds a lock."""
        return BusyError(
            f"another process is building {self._place} (process {holder.process} on {holder.host}, since "
            f"{holder.since}); wait until it ends, or give another --out"
        )

    def is_held(self, name: str, token: str) -> bool:
        """Whether a holder still holds a lock."""
        state = self._state(name, with_beat=False)
        return state is not None and state.holder.token == token

    def remove(self, name: str, epoch: int) -> None:
        """Remove a lock of an epoch, and those of all earlier ones."""
        files = sorted(self._folder.children())
        for file in files:
            found = re.fullmatch(rf"{re.escape(name)}\.(\d{{6}})\..+", file)
            if found is not None and int(found[1]) <= epoch:
                (self._folder / file).remove()

    def beat(self, name: str, epoch: int, token: str) -> RemotePath:
        """Return the file by which a holder renews its lock."""
        return self._folder / f"{name}.{epoch:06d}.{token}"

    def _locks(self) -> list[re.Match[str]]:
        return [found for name in sorted(self._folder.children()) if (found := _LOCK.fullmatch(name)) is not None]

    def _state(self, name: str, *, with_beat: bool = True) -> _State | None:
        epochs = [int(found["epoch"]) for found in self._locks() if found["name"] == name]
        if not epochs:
            return None
        epoch = max(epochs)
        try:
            holder = Holder(**load_json((self._folder / f"{name}.{epoch:06d}.json").read_bytes()))
        except FileNotFoundError:
            return None  # it was released a moment ago
        except (TypeError, ValueError):
            holder = Holder("", "an unknown machine", "", 0, "")
        beat = b""
        if with_beat:
            with suppress(FileNotFoundError):
                beat = self.beat(name, epoch, holder.token).read_bytes()
        return _State(epoch, holder, beat)

    def _create(self, name: str, epoch: int) -> Lease | None:
        """Create the lock of an epoch; return None if somebody else did."""
        holder, path = Holder.here(), self._folder / f"{name}.{epoch:06d}.json"
        data = json.dumps(asdict(holder)).encode()
        if not path.create(data):
            return None
        if not path.has_conditions or path.create(json.dumps(asdict(Holder.here())).encode()):
            path.write_bytes(data)
            logger.warning(
                "%s: this store has no conditional writes, so that two builds there at once may not notice each other; "
                "start only one",
                self._place,
            )
        return Lease(self, name, epoch, holder) if self.is_held(name, holder.token) else None


class Lease:
    """A lock that this process holds, and renews in a thread."""

    def __init__(self, leases: Leases, name: str, epoch: int, holder: Holder) -> None:
        self._leases = leases
        self._name, self._epoch, self._holder = name, epoch, holder
        self._is_lost = False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._renew, daemon=True)
        self._thread.start()

    def check(self, *, is_thorough: bool) -> None:
        """Check that the lock is still held.

        Args:
            is_thorough: whether to look now, rather than to rely on the last renewal.

        Raises:
            BusyError: another process has taken it over.

        """
        self._is_lost = self._is_lost or (is_thorough and not self._leases.is_held(self._name, self._holder.token))
        if self._is_lost:
            raise BusyError(
                "this process did not renew its lock for too long, and another one has taken over its work; parts that "
                "are finished are kept"
            )

    def release(self) -> None:
        """Let others take the lock; a store that fails now does not hide another error."""
        self._ended.set()
        self._thread.join()
        with suppress(OSError):
            if self._leases.is_held(self._name, self._holder.token):
                self._leases.remove(self._name, self._epoch)

    def _renew(self) -> None:
        beat, count = self._leases.beat(self._name, self._epoch, self._holder.token), 0
        while not self._ended.wait(RENEW_S):
            count += 1
            try:
                beat.write_bytes(str(count).encode())
                self._is_lost = not self._leases.is_held(self._name, self._holder.token)
            except OSError as error:
                logger.debug("a lock could not be renewed: %s", error)
            if self._is_lost:
                return


def _machine() -> str:
    """Identify this machine since its start, and the namespace of process numbers; empty where that is unknown."""
    try:
        started = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{started} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""

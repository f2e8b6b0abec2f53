"""OUT, open for one build: a folder, or a prefix in an object store. Owns what a build may continue and replace there.

What is not published yet is in a journal, ``.build`` in OUT: the state of the build, and the files of its parts. The
published dataset stays complete meanwhile, and is exchanged for the new one at the end, so that a killed build resumes
from complete parts, ends in the same bytes, and never leaves less than there was.

One process holds the lock of OUT while it plans, and until it has published. The jobs of an array hold it only while
they plan; then each holds the lock of its shard, and other shards may be built at the same time.
"""

from __future__ import annotations

import json
import re
import secrets
from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

from datasetkit.core.errors import BuiltFolderError, BusyError, OutputError
from datasetkit.core.label_map import LabelMap
from datasetkit.core.ledger import Drop, PassedOver
from datasetkit.core.paths import Place
from datasetkit.export.card.render import render_card
from datasetkit.export.card.sections import owners_part
from datasetkit.export.dataset.manifest import CARD_NAME, Manifest
from datasetkit.export.output.found import BUILD, Found, Task
from datasetkit.export.output.identity import BuildIdentity
from datasetkit.export.output.part_store import Move, PartStore
from datasetkit.export.statistics.statistics import Statistics
from datasetkit.runtime.engines.shards import Shard

# How long the jobs of an array wait for another one that plans, or publishes.
WAIT_S = 60.0


class Output(ABC):
    """OUT, open for one build; a context manager that keeps other processes out.

    With ``overwrite`` another build in it is replaced; one that kept nothing always is. A job of an array gives its
    ``own`` shard, whose parts it builds while other jobs build theirs.

    Attributes:
        place: the folder, or the URI.
        parts: store of the parts.
        published: manifest of the dataset in OUT; None without one.
        task: task to continue; None if the dataset in OUT is the requested one.

    Raises:
        OutputError: OUT contains another build and ``overwrite`` is off, or something else than a build, or a build
            that another process is working on.

    """

    def __init__(
        self, place: Place, parts: PartStore, identity: BuildIdentity, *, overwrite: bool, own: Shard | None
    ) -> None:
        self.place = place
        self.parts = parts
        self.task: Task | None = None
        self._identity = identity
        self._own = own
        is_open = False
        try:
            found = self._claim(overwrite=overwrite)
            self.published = found.published
            refusal = None if overwrite else found.refusal(place, identity)
            if refusal is not None:
                raise refusal
            if overwrite or not (found.pending or found.holds(identity)):
                self._start("build")
            elif found.continues(identity):
                if own is not None and found.source_fingerprint != identity.source_fingerprint:
                    raise OutputError(
                        f"{place} was begun with another state of the source, which has changed since then; run the "
                        "command without --shard, which builds the changed parts again"
                    )
                self.task = found.task
                self.parts.enter(found.build or new_name())
                self._write_state(found.task)
            is_open = True
        finally:
            if not is_open:
                self._release_lock()
                self._release_shard()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._release_lock()
        self._release_shard()

    @classmethod
    @abstractmethod
    def find(cls, place: Any) -> Found:
        """Read the contents of OUT.

        Raises:
            OutputError: it is not empty and contains no build.

        """

    @classmethod
    @abstractmethod
    def open_parts(cls, place: Any, build: str) -> PartStore:
        """Open the parts of a running build for a worker, which holds no lock."""

    @property
    def is_complete(self) -> bool:
        """Whether the dataset in OUT is the requested one, without unfinished work."""
        return self.task is None

    @property
    def is_blocked(self) -> bool:
        """Whether another build, which is to replace the dataset in OUT, was started there."""
        return self.task is None and self._has_journal

    def begin(self, task: Task) -> None:
        """Start to rebuild parts of the published dataset."""
        if self.is_blocked:
            raise OutputError(
                f"{self.place}: a build that is to replace this dataset is not finished; resume it by its "
                "command, or give --overwrite to rebuild this one"
            )
        self._start(task)

    def resume(self) -> frozenset[int]:
        """Prepare the journal for resuming; return the numbers of the complete parts.

        From now on, a job of an array allows others to build their shards.
        """
        self._prepare(self._own)
        if self._own is not None:
            self._take_shard(self._own)
            self._release_lock()
        return frozenset(self.parts.whole)

    @abstractmethod
    def check_turn(self) -> None:
        """Check that no other process has taken over, as far as this is known without looking.

        Raises:
            BusyError: another process has taken over.

        """

    def rejoin(self) -> bool:
        """End the work at a shard; return whether this process is the last one, and may publish.

        It is not if another shard is being built, or if another process has published meanwhile.
        """
        self._release_shard()
        try:
            self._take_lock(WAIT_S)
            is_last = not self._is_shard_held() and self.find(self.place).build == self.parts.build
        except BusyError:
            is_last = False
        if not is_last:
            self._release_lock()
            return False
        self._prepare(None)
        return True

    @property
    @abstractmethod
    def papers(self) -> Path:
        """Folder of this machine in which all files of the new dataset except its shards are assembled."""

    @abstractmethod
    def shard(self, path: str) -> Place:
        """Return where a shard of the new dataset is before :meth:`close`, given by its published path."""

    def publish(
        self, stray: Iterable[Drop], passed_over: Iterable[PassedOver] = (), label_map: LabelMap = ()
    ) -> Manifest:
        """Assemble shards, ledger and manifest of the new dataset; the published one stays until :meth:`close`.

        A build that is killed afterwards repeats this.
        """
        parts, moves = self.parts.final_names()
        self._gather(moves)
        return self.parts.write_papers(self.papers, parts, self._identity, stray, tuple(passed_over), label_map)

    @property
    def former_card(self) -> str | None:
        """Card of the replaced build with what its owner wrote; None if the owner wrote nothing."""
        path = self.place / CARD_NAME
        if self.published is None or not path.is_file():
            return None
        try:
            card = re.sub(r"\r\n?", "\n", path.read_bytes().decode())
            return owners_part(card, render_card(self.published, Statistics.read(self.place)))
        except (UnicodeDecodeError, BuiltFolderError) as error:
            raise OutputError(f"{path} cannot be kept: {error}; fix or delete it, or give another --out") from error

    def close(self) -> None:
        """Exchange the published dataset for the new one, and remove the journal: the build is complete."""
        self._exchange()
        self.task = None
        self.published = Manifest.read(self.place)

    def discard(self) -> None:
        """Remove the journal; the dataset in OUT is unchanged."""
        self._remove_journal()
        self.task = None

    def _state_text(self, task: Task) -> bytes:
        return json.dumps(self._identity.to_json() | {"task": task, BUILD: self.parts.build}).encode()

    @property
    @abstractmethod
    def _has_journal(self) -> bool:
        """Whether there is an unfinished build."""

    @abstractmethod
    def _claim(self, *, overwrite: bool) -> Found:
        """Take the lock where there is an unfinished build, finish an interrupted exchange, and return what is there.

        Raises:
            OutputError: see :meth:`find`; BusyError if another process holds a lock.

        """

    @abstractmethod
    def _start(self, task: Task) -> None:
        """Take the lock, and start a build without parts; the published dataset is unchanged."""

    @abstractmethod
    def _write_state(self, task: Task) -> None:
        """Record the build that is under way."""

    @abstractmethod
    def _prepare(self, own: Shard | None) -> None:
        """Read the complete parts, before any worker starts; files of parts that are not of the own shard are kept."""

    @abstractmethod
    def _gather(self, moves: tuple[Move, ...]) -> None:
        """Prepare :attr:`papers`, and the shards for the exchange."""

    @abstractmethod
    def _exchange(self) -> None:
        """Replace the published dataset, and remove the journal."""

    @abstractmethod
    def _remove_journal(self) -> None:
        """Remove the journal and release the lock."""

    @abstractmethod
    def _take_lock(self, wait_s: float = 0.0) -> None:
        """Keep other processes out.

        Raises:
            BusyError: another process holds the lock, also after this time.

        """

    @abstractmethod
    def _release_lock(self) -> None:
        """Let other processes in; nothing is done without the lock."""

    @abstractmethod
    def _take_shard(self, own: Shard) -> None:
        """Keep other processes from building a shard.

        Raises:
            BusyError: another process is building it.

        """

    @abstractmethod
    def _release_shard(self) -> None:
        """Let other processes build the shard; nothing is done without its lock."""

    @abstractmethod
    def _is_shard_held(self) -> bool:
        """Whether another process may be building a shard."""

    @abstractmethod
    def _check_shards(self, own: Shard | None) -> None:
        """Refuse to go on while shards are being built, except other ones of the same count as one's own.

        Raises:
            BusyError: a shard is being built.

        """


def new_name() -> str:
    """Return a name for a build."""
    return secrets.token_hex(8)

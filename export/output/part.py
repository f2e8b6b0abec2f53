"""One part of a build: the rows of consecutive entries. Owns their shards, one per split, and their counts.

A part is the unit of resuming: it is complete once its marker is in the store.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from datasetkit.core.files import file_sha256
from datasetkit.core.ledger import Drop, Notice, Scope, Tally
from datasetkit.export.dataset.manifest import Part, Shard
from datasetkit.export.dataset.shards import ShardWriter
from datasetkit.export.output.accounts import Account
from datasetkit.export.output.part_store import PartStore
from datasetkit.export.statistics.counter import StatisticsCounter, uncompressed_bytes


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result of one entry of the source.

    Args:
        row: the record as a row, or None if it was dropped.
        annotations_read: number of annotations of the entry.
        drops: drops of the record, of annotations or of detections.
        detections: number of boxes that models found in the image, dropped ones included.
        is_unreachable: whether the source failed, and not the image.
        inputs: state of the files of the record before they were read.

    """

    row: Mapping[str, Any] | None
    split: str
    annotations_read: int
    drops: tuple[Drop, ...]
    notices: tuple[Notice, ...]
    detections: int = 0
    is_unreachable: bool = False
    inputs: Mapping[str, Any] = field(default_factory=dict)


class PartWriter:
    """Writes a part; as a context manager it marks the part as complete unless the body raises.

    Attributes:
        account: recorded state of its input files.

    """

    def __init__(self, store: PartStore, index: int, *, overlay: bool) -> None:
        self._build = store.build
        self._attempt = store.attempt(index)
        self._overlay = overlay
        self._writers: dict[str, tuple[Path, ShardWriter]] = {}
        self._stack = ExitStack()
        self._tally = Tally()
        self._counter = StatisticsCounter()
        self._drops: list[Drop] = []
        self._notices: list[Notice] = []
        self.account: Account | None = None

    def __enter__(self) -> PartWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error_and_trace: Any) -> None:
        self._stack.__exit__(kind, *error_and_trace)
        try:
            if kind is None:
                self._commit()
        finally:
            self._attempt.discard()

    def _commit(self) -> None:
        shards = []
        for split, (path, writer) in sorted(self._writers.items()):
            size = writer.close()
            shards.append(Shard(path.name, split, size.rows, size.bytes, file_sha256(path)))
            self._counter.add_bytes(split, uncompressed_bytes(path))
        part = Part(self._attempt.index, tuple(shards), self._tally)
        self._attempt.commit(self._build, part, self._counter, self._drops, self._notices, self.account)

    def add(self, outcome: Outcome) -> None:
        """Write and count one outcome; outcomes arrive in the order of their entries."""
        self._tally.read["record"] += 1
        parts: dict[Scope, int] = {"annotation": outcome.annotations_read, "detection": outcome.detections}
        self._tally.read.update(parts)
        self._tally.kept.update(parts)
        for drop in outcome.drops:
            self._tally.add_drop(drop)
            if drop.scope != "record":
                self._tally.kept[drop.scope] -= 1
        self._drops.extend(outcome.drops)
        self._tally.notices.update(notice.kind for notice in outcome.notices)
        self._notices.extend(outcome.notices)
        if outcome.row is not None:
            self._tally.kept["record"] += 1
            if outcome.split not in self._writers:
                path = self._attempt.shard_path(outcome.split)
                writer = self._stack.enter_context(ShardWriter(path, overlay=self._overlay))
                self._writers[outcome.split] = path, writer
            self._writers[outcome.split][1].write(outcome.row)
            self._counter.add_row(outcome.split, outcome.row)

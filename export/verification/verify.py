"""Verification of a built dataset: every shard, every row, every count. Owns the order of the checks.

Faults are reported and the check continues: a bad row, shard or file hides no other. Workers check the shards of a
local folder; the result is the same with any number of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from datasetkit.core.errors import BuiltFolderError
from datasetkit.export.dataset.manifest import LEDGER_NAME, MANIFEST_NAME, Manifest, Shard, shard_path
from datasetkit.export.statistics.counter import StatisticsCounter
from datasetkit.export.verification.faults import Fault
from datasetkit.export.verification.files import DatasetFiles
from datasetkit.export.verification.papers import Contents, Ledger, check_papers
from datasetkit.export.verification.rows import Uniqueness
from datasetkit.export.verification.shards import (
    VIEWER_ROW_BYTES,
    Findings,
    Piece,
    ShardWork,
    pieces_of,
    unchecked,
)
from datasetkit.options.engines import WorkerOptions
from datasetkit.runtime.engines.here import Here
from datasetkit.runtime.engines.in_order import TaskProgress, in_order
from datasetkit.runtime.engines.protocol import Died, Seat
from datasetkit.runtime.progress import OnProgress

_AHEAD_PER_WORKER = 4


def verify_files(
    files: DatasetFiles, on_progress: OnProgress | None = None, workers: WorkerOptions | None = None
) -> Iterator[Fault]:
    """Check a local or remote dataset against its manifest, its card, its ledger and itself.

    Args:
        files: the dataset.
        on_progress: called with "verifying", the number of checked rows, and their total number.
        workers: where local shards are checked; None for one worker per processor. Remote shards are downloaded and
            checked one after the other, in this process.

    Returns:
        faults, file by file; empty if the dataset is sound.

    Raises:
        HubError: the Hub stopped responding.
        EngineError: no worker can be kept alive.

    """
    for fault in _check(files, on_progress, workers or WorkerOptions()):
        yield replace(fault, what=files.tell(fault.what))


def _check(files: DatasetFiles, on_progress: OnProgress | None, workers: WorkerOptions) -> Iterator[Fault]:
    if files.is_unfinished:
        yield Fault(
            files.tell(str(files.papers)), "contains an unfinished build; run the same `datasetkit build` again"
        )
        return
    try:
        manifest = Manifest.read(files.papers)
    except BuiltFolderError as error:
        yield Fault(MANIFEST_NAME, str(error))
        return
    if not manifest.shards:
        yield Fault(MANIFEST_NAME, f"lists no shard: the dataset contains no records; {LEDGER_NAME} says why")
    ledger = Ledger.read(files.papers)
    counts = Counter(shard.split for shard in manifest.shards)
    names = frozenset(shard_path(split, index, count) for split, count in counts.items() for index in range(count))
    yield from _check_names(files, manifest, names)
    check = _DatasetCheck(manifest)
    shards = [shard for shard in manifest.shards if shard.path in names]
    for piece, findings in _findings(ShardWork(files, manifest, ledger.changed), shards, on_progress, workers):
        yield from check.add(piece, findings)
    yield from check.finish()
    yield from check_papers(files, manifest, ledger, check.contents())


def _findings(
    work: ShardWork, shards: list[Shard], on_progress: OnProgress | None, workers: WorkerOptions
) -> Iterator[tuple[Piece, Findings]]:
    """Have the shards checked, and yield the findings in their order."""
    rows = sum(shard.rows for shard in shards)
    progress = TaskProgress("verifying", rows, on_progress)
    # A remote shard is downloaded when it is checked, so it is not divided, and stays in this process.
    is_local = work.files.is_local
    pieces = [piece for shard in shards for piece in (pieces_of(shard) if is_local else (Piece(shard),))]
    seats = workers.seats(len(pieces), rows)
    with workers.open(seats) if is_local else Here(Seat(0)) as engine:
        engine.start(work)
        for event in in_order(engine, pieces, progress.tell, _AHEAD_PER_WORKER * len(seats)):
            piece = event.task.payload
            progress.done(event.task, piece.rows)
            yield piece, unchecked(piece, event.how) if isinstance(event, Died) else event.result


def _check_names(files: DatasetFiles, manifest: Manifest, names: frozenset[str]) -> Iterator[Fault]:
    listed = [shard.path for shard in manifest.shards]
    for path in listed:
        if path not in names:
            yield Fault(MANIFEST_NAME, f"lists {path!r}, which is not the name of a shard and is not opened")
    for name in sorted(names - set(listed)):
        yield Fault(MANIFEST_NAME, f"does not list {name}; shards must be numbered without gaps")
    for name in sorted(files.data_names - names):
        yield Fault(name, "is not in the manifest; load_dataset may read it, too")


class _DatasetCheck:
    """Collects the findings of all shards, in order, and checks what all of them together must satisfy."""

    def __init__(self, manifest: Manifest) -> None:
        self._uniqueness = Uniqueness()
        self._counter: StatisticsCounter | None = StatisticsCounter()
        self._rows = dict.fromkeys(manifest.split_rows, 0)
        self._columns: tuple[str, ...] = ()
        self._large_rows = 0
        self._first_large_row = ""

    def add(self, piece: Piece, findings: Findings) -> Iterator[Fault]:
        """Add the findings of the next piece, and yield their faults."""
        shard = piece.shard
        yield from findings.faults
        self._rows[shard.split] += findings.rows
        self._columns = self._columns or findings.columns
        if findings.columns not in {(), self._columns}:
            self._counter = None
            yield Fault(shard.path, f"has the columns {[*findings.columns]}; the first shard has {[*self._columns]}")
        if findings.large_rows:
            self._first_large_row = self._first_large_row or f"{shard.path} row {findings.large_rows[0]}"
            self._large_rows += len(findings.large_rows)
        self._uniqueness.add(shard, findings.keys)
        if findings.counter is None:
            self._counter = None
        elif self._counter is not None:
            self._counter.update(findings.counter)

    def finish(self) -> Iterator[Fault]:
        """Report faults of all rows together."""
        yield from self._uniqueness.faults()
        if self._large_rows:
            yield Fault(
                self._first_large_row,
                f"is the first of {self._large_rows:,} rows of more than {VIEWER_ROW_BYTES:,} bytes, "
                "which the Hub's viewer does not show in full",
                is_warning=True,
            )

    def contents(self) -> Contents:
        """Return the contents of the shards."""
        statistics = self._counter.finish() if self._counter else None
        return Contents(self._rows, self._columns, statistics)

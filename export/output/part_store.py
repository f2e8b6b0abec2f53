"""The parts of a running build: shards, ledger and marker of each. Owns the files of parts in the journal of a build.

Every attempt at a part writes files of its own, ``part-00007.ATTEMPT*``. The part is complete once its marker,
``part-00007.json``, names an attempt: the marker is created by one attempt only, so that a worker that finishes late
changes nothing. It also names the build that it belongs to, and has the counts of the part's rows, so that publishing
reads no shard again. Parts of the published dataset may be carried over unchanged. Nothing here depends on who builds a
part, or in which order, or on where the journal is.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import secrets
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from datasetkit.core.documents import load_json
from datasetkit.core.errors import OutputError
from datasetkit.core.files import whole_file
from datasetkit.core.label_map import LabelMap
from datasetkit.core.ledger import Drop, Notice, PassedOver, Tally
from datasetkit.core.paths import Place, read_part
from datasetkit.export.dataset.manifest import DATA_FOLDER, LEDGER_NAME, Manifest, Part, Shard, shard_path
from datasetkit.export.dataset.plain_json import read_events
from datasetkit.export.dataset.reading import iter_shard
from datasetkit.export.output.accounts import Account
from datasetkit.export.output.found import BUILD, STATE
from datasetkit.export.output.identity import BuildIdentity
from datasetkit.export.output.journal import Journal
from datasetkit.export.output.part_marker import PartMarker, marker_name, stem_of
from datasetkit.export.statistics.counter import StatisticsCounter
from datasetkit.export.statistics.statistics import Statistics
from datasetkit.runtime.threads import map_in_order

logger = logging.getLogger(__name__)

Result = TypeVar("Result")
_OF_PART = re.compile(r"part-(\d+)\.")


class Attempt:
    """One attempt at a part.

    Args:
        journal: where its files are written.
        index: number of the part.

    """

    def __init__(self, journal: Journal, index: int) -> None:
        self._journal = journal
        self.index = index
        self.name = secrets.token_hex(4)
        self._shards: list[str] = []

    def shard_path(self, split: str) -> Path:
        """Return where the shard of a split is to be written."""
        name = f"{stem_of(self.index, self.name)}-{split}.parquet"
        self._shards.append(name)
        return self._journal.scratch(name)

    def commit(
        self,
        build: str,
        part: Part,
        counts: StatisticsCounter,
        drops: Iterable[Drop],
        notices: Iterable[Notice],
        account: Account | None,
    ) -> None:
        """Mark the part as complete, unless another attempt was faster.

        Args:
            build: the build that the part is of; a marker of an earlier one is replaced.
            part: what was written.
            counts: of its rows.
            drops: for the ledger.
            notices: for the ledger.
            account: recorded state of the input files.

        """
        for shard in part.shards:
            self._journal.keep(shard.path, shard.sha256)
        lines = [_drop_line(part.index, drop) for drop in drops]
        for notice in notices:
            event = {"part": part.index, "event": "notice", "record_id": notice.record_id, "kind": notice.kind}
            if notice.detail:
                event["detail"] = notice.detail
            lines.append(json.dumps(event, ensure_ascii=False) + "\n")
        self.note(build, part, counts, lines, account)

    def note(
        self, build: str, part: Part, counts: StatisticsCounter, lines: Iterable[str], account: Account | None
    ) -> None:
        """Write the ledger and the account of a part, and then its marker, which has the counts of its rows."""
        journal, marker = self._journal, marker_name(self.index)
        texts = json.dumps(account).encode(), "".join(lines).encode()
        journal.write(_account(self.index, self.name), texts[0])
        journal.write(_ledger(self.index, self.name), texts[1])
        account_sha256, ledger_sha256 = (hashlib.sha256(text).hexdigest() for text in texts)
        data = PartMarker(build, self.name, part, counts, ledger_sha256, account_sha256).to_bytes()
        if not journal.create(marker, data):
            if PartMarker.read(journal, self.index, build) is not None or _is_over(journal, build):
                self.abandon()
                return
            journal.remove(marker)
            journal.create(marker, data)

    def abandon(self) -> None:
        """Remove the files of the attempt, which no marker names."""
        for name in (*self._shards, _account(self.index, self.name), _ledger(self.index, self.name)):
            self._journal.remove(name)

    def discard(self) -> None:
        """Remove the shards that did not become files of the journal."""
        self._journal.discard()


def _is_over(journal: Journal, build: str) -> bool:
    """Whether the journal belongs to a later build by now, so that an attempt of this one comes too late."""
    with suppress(FileNotFoundError, KeyError, TypeError, ValueError):
        return bool(load_json(journal.read(STATE))[BUILD] != build)
    return False


@dataclass(frozen=True, slots=True)
class Move:
    """A shard on its way to its published name.

    Args:
        source: where it is.
        target: its published path, relative to the dataset.
        shard: the shard.
        is_carried: whether it is in the published dataset, which is to keep it.

    """

    source: Place
    target: str
    shard: Shard
    is_carried: bool


class _Files(NamedTuple):
    """The attempt whose files a part has, and the digests of two of them."""

    attempt: str
    ledger_sha256: str
    account_sha256: str


class PartStore:
    """Parts in a journal.

    Args:
        place: OUT, whose published dataset may provide parts.
        open_journal: opens the journal of a build.
        build: the build that the parts are of; empty until it is begun or resumed.

    Attributes:
        whole: complete parts by number.

    """

    def __init__(self, place: Place, open_journal: Callable[[str], Journal], build: str = "") -> None:
        self._place = place
        self._open_journal = open_journal
        self.enter(build)

    def enter(self, build: str) -> None:
        """Turn to a build; none of its parts is known yet."""
        self.build = build
        self._files = self._open_journal(build)
        self.whole: dict[int, Part] = {}
        self._markers: dict[int, _Files] = {}
        self.__dict__.pop("_published_spans", None)  # the dataset may have been replaced since

    def load_all(self) -> set[str]:
        """Read the markers of all parts; return the names of all files in the journal."""
        self.whole, self._markers = {}, {}
        sizes = self._files.sizes()
        markers = (re.fullmatch(r"part-(\d+)\.json", name) for name in sizes)
        for _ in self._each(self.load, [int(found[1]) for found in markers if found is not None]):
            pass
        for index in sorted(self.whole):
            if (lacking := next(self._lacking(index, sizes), None)) is not None:
                logger.warning("%s is missing or incomplete; part %d is built again", lacking, index)
                self.forget([index])
        return {*sizes}

    def attempt(self, index: int) -> Attempt:
        """Begin an attempt at a part."""
        return Attempt(self._files, index)

    def load(self, index: int) -> Part | None:
        """Read the marker of a part; return the part if it is complete, which is then among :attr:`whole`."""
        found = PartMarker.read(self._files, index, self.build)
        if found is None:
            return None
        self._markers[index] = _Files(found.attempt, found.ledger_sha256, found.account_sha256)
        self.whole[index] = found.part
        return found.part

    def _lacking(self, index: int, sizes: Mapping[str, int]) -> Iterator[Place]:
        """Yield the files of a part that are missing, and shards of another size.

        ``sizes`` may have been listed before another job of an array completed the part.
        """
        attempt = self._markers[index].attempt
        needed: dict[str, int | None] = {_ledger(index, attempt): None, _account(index, attempt): None}
        needed |= {shard.path: shard.bytes for shard in self.whole[index].shards if not _is_published(shard)}
        for name, size in needed.items():
            if not _fits(sizes.get(name), size) and not _fits(_size_of(self._files.place(name)), size):
                yield self._files.place(name)

    def statistics(self) -> Statistics:
        """Add up the counts that the complete parts left.

        Raises:
            OutputError: a part is no longer complete.

        """
        total = StatisticsCounter()
        for found in self._each(self._marker, sorted(self.whole)):
            total.update(found.counts)
        return total.finish()

    def accounts(self, indices: Sequence[int]) -> Iterator[Account | None]:
        """Read the recorded states of the input files of complete parts, in order, as they are needed."""
        return self._each(self._account, indices)

    def carry_over(self, part: Part, account: Account | None) -> None:
        """Carry over a part of the published dataset; its shards are linked when the new dataset is published.

        Raises:
            BuiltFolderError: a shard of it cannot be read.

        """
        lines = self._published_lines(part.index)
        counts = StatisticsCounter()
        for shard in part.shards:
            counts.add_shard(shard.split, self._shard(shard))
        self.attempt(part.index).note(self.build, part, counts, lines, account)
        self.load(part.index)

    def forget(self, indices: Iterable[int]) -> None:
        """Drop parts, so that they are rebuilt."""
        for index in indices:
            self._files.remove(marker_name(index))
            self.whole.pop(index, None)

    def kept_ids(self, part: Part) -> Iterator[str]:
        """Read the record ids of a new or published part."""
        for shard in part.shards:
            for row in iter_shard(self._shard(shard), ["record_id"]):
                yield row["record_id"]

    def image_splits(self, part: Part) -> Iterator[tuple[str, str]]:
        """Read the split of each record of a new or published part, with the SHA-256 of its image."""
        for shard in part.shards:
            for row in iter_shard(self._shard(shard), ["source.sha256"]):
                yield shard.split, row["source"]["sha256"]

    def dropped_records(self, index: int) -> dict[str, dict[str, Any]]:
        """Read the drops of records of a complete part from its ledger, by record id."""
        events = [load_json(line) for line in self._ledger_text(index).split("\n") if line]
        return {event["id"]: event for event in events if event["event"] == "dropped" and event["scope"] == "record"}

    def write_papers(
        self,
        folder: Path,
        parts: tuple[Part, ...],
        identity: BuildIdentity,
        stray: Iterable[Drop],
        passed_over: tuple[PassedOver, ...],
        label_map: LabelMap,
    ) -> Manifest:
        """Write ledger and manifest of the new dataset to a folder of this machine.

        ``parts`` are those of :meth:`final_names`.
        """
        stray_tally = Tally()
        with (
            whole_file(folder / LEDGER_NAME) as partial,
            partial.open("w", encoding="utf-8", newline="\n") as ledger,
        ):
            for text in self._each(self._ledger_text, [part.index for part in parts]):
                ledger.write(text)
            for drop in stray:
                stray_tally.read[drop.scope] += 1
                stray_tally.add_drop(drop)
                ledger.write(_drop_line(None, drop))
            for item in passed_over:
                event = {"part": None, "event": "passed_over", **item.to_json()}
                ledger.write(json.dumps(event, ensure_ascii=False) + "\n")
        manifest = identity.manifest(parts, stray_tally, passed_over, label_map)
        manifest.write(folder)
        return manifest

    def _published_lines(self, index: int) -> Iterator[str]:
        """Yield the lines of a part in the published ledger."""
        for start, end in self._published_spans.get(index, ()):
            yield read_part(self._place / LEDGER_NAME, start, end - start).decode()

    @cached_property
    def _published_spans(self) -> dict[Any, list[tuple[int, int]]]:
        """Where the lines of each part are in the published ledger: start and end of runs of lines, bytes."""
        spans: dict[Any, list[tuple[int, int]]] = {}
        end = 0
        for line, event in read_events(self._place / LEDGER_NAME):
            start, end = end, end + len(line.encode())
            own = spans.setdefault(event.get("part"), [])
            if own and own[-1][1] == start:
                start, _ = own.pop()
            own.append((start, end))
        return spans

    def final_names(self) -> tuple[tuple[Part, ...], tuple[Move, ...]]:
        """Return the parts with the published names of their shards, and the moves of these."""
        parts = [self.whole[index] for index in sorted(self.whole)]
        counts = Counter(shard.split for part in parts for shard in part.shards)
        numbers = dict.fromkeys(counts, 0)
        moves = []
        named = []
        for part in parts:
            shards: list[Shard] = []
            for shard in part.shards:
                path = shard_path(shard.split, numbers[shard.split], counts[shard.split])
                numbers[shard.split] += 1
                moves.append(Move(self._shard(shard), path, shard, _is_published(shard)))
                shards.append(replace(shard, path=path))
            named.append(replace(part, shards=tuple(shards)))
        return tuple(named), tuple(moves)

    def names(self) -> Iterator[str]:
        """Yield the names of the files of all complete parts."""
        for index, part in self.whole.items():
            attempt = self._markers[index].attempt
            yield from (marker_name(index), _ledger(index, attempt), _account(index, attempt))
            yield from (shard.path for shard in part.shards)

    def _each(self, function: Callable[[int], Result], indices: Sequence[int]) -> Iterator[Result]:
        """Apply a function that reads files to parts, in order; several at once where that is faster."""
        if self._files.parallel == 1:
            return map(function, indices)
        return map_in_order(function, indices, self._files.parallel)

    def _shard(self, shard: Shard) -> Place:
        """Return the path of a shard: in the journal, or published if its part is carried over."""
        return self._place / shard.path if _is_published(shard) else self._files.place(shard.path)

    def _marker(self, index: int) -> PartMarker:
        found = PartMarker.read(self._files, index, self.build)
        if found is None:
            raise OutputError(f"{self._files.place(marker_name(index))} changed while it was read; build again")
        return found

    def _account(self, index: int) -> Account | None:
        files = self._markers[index]
        account: Account | None = load_json(self._checked(index, _account(index, files.attempt), files.account_sha256))
        return account

    def _ledger_text(self, index: int) -> str:
        files = self._markers[index]
        return self._checked(index, _ledger(index, files.attempt), files.ledger_sha256).decode()

    def _checked(self, index: int, name: str, sha256: str) -> bytes:
        data = self._files.read(name)
        if hashlib.sha256(data).hexdigest() != sha256:
            marker = self._files.place(marker_name(index))
            raise OutputError(
                f"{self._files.place(name)} is damaged; delete {marker}, and run the same command, which builds part "
                f"{index} again"
            )
        return data


def part_of(name: str) -> int | None:
    """Return the number of the part that a file of a journal belongs to; None if it belongs to none."""
    found = _OF_PART.match(name)
    return None if found is None else int(found[1])


def _is_published(shard: Shard) -> bool:
    return shard.path.startswith(f"{DATA_FOLDER}/")


def _fits(found: int | None, size: int | None) -> bool:
    """Whether a file is there, and has the size that is wanted, if one is."""
    return found is not None and size in (None, found)


def _size_of(place: Place) -> int | None:
    try:
        return place.stat().st_size
    except FileNotFoundError:
        return None


def _account(index: int, attempt: str) -> str:
    return f"{stem_of(index, attempt)}.inputs"


def _ledger(index: int, attempt: str) -> str:
    return f"{stem_of(index, attempt)}.jsonl"


def _drop_line(part: int | None, drop: Drop) -> str:
    event = {"scope": drop.scope, "id": drop.item_id, "reason": drop.reason, "detail": drop.detail}
    return json.dumps({"part": part, "event": "dropped", **event}, ensure_ascii=False) + "\n"

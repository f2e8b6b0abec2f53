"""The parts of a running build: shards, ledger and marker of each. Owns the files of parts in the journal of OUT.

A part is complete once it has a marker, and parts of the published dataset may be carried over unchanged. Nothing here
depends on who builds a part, or in which order.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from datasetkit.core.documents import load_json, read_json
from datasetkit.core.files import replace_file, whole_file
from datasetkit.core.label_map import LabelMap
from datasetkit.core.ledger import Drop, Notice, PassedOver, Tally
from datasetkit.export.dataset.accounts import Account
from datasetkit.export.dataset.exchange import NEW
from datasetkit.export.dataset.identity import BuildIdentity
from datasetkit.export.dataset.manifest import DATA_FOLDER, LEDGER_NAME, Manifest, Part, Shard, shard_path
from datasetkit.export.dataset.plain_json import read_events
from datasetkit.export.dataset.reading import iter_shard


class PartStore:
    """Parts in a journal.

    Args:
        folder: OUT, whose published dataset may provide parts.
        journal: folder of the parts.

    Attributes:
        new: folder in which the new dataset is assembled.
        whole: complete parts by number.

    """

    def __init__(self, folder: Path, journal: Path) -> None:
        self._folder = folder
        self._journal = journal
        self.new = journal / NEW
        self.whole: dict[int, Part] = {}

    def resume(self, others: Iterable[str]) -> None:
        """Prepare the journal for resuming.

        Args:
            others: names of other files there, which are kept.

        """
        parts = self._read_parts()
        self.whole = {part.index: part for part in parts}
        for source, target in self._final_names()[1].items():
            if source.parent == self._journal and (self.new / target).exists():
                (self.new / target).replace(source)
        shutil.rmtree(self.new, ignore_errors=True)
        kept = {*others}
        for part in parts:
            files = (self._marker(part.index), self._ledger(part.index), self._account(part.index))
            kept |= {path.name for path in files}
        kept |= {shard.path for part in parts for shard in part.shards}
        for path in self._journal.iterdir():
            if path.name not in kept:
                path.unlink()

    def part_path(self, index: int, split: str) -> Path:
        """Return the path of the shard of a part and split until it is published."""
        return self._journal / f"part-{index:05d}-{split}.parquet"

    def finish_part(
        self, part: Part, drops: Iterable[Drop], notices: Iterable[Notice], account: Account | None = None
    ) -> None:
        """Mark a part as complete: write its ledger and the account of its input files, and then its marker."""
        lines = [_drop_line(part.index, drop) for drop in drops]
        for notice in notices:
            event = {"part": part.index, "event": "notice", "record_id": notice.record_id, "kind": notice.kind}
            if notice.detail:
                event["detail"] = notice.detail
            lines.append(json.dumps(event, ensure_ascii=False) + "\n")
        self._note(part, lines, account)

    def account(self, index: int) -> Account | None:
        """Read the recorded state of the input files of a complete part."""
        path = self._account(index)
        account: Account | None = read_json(path) if path.exists() else None
        return account

    def carry_over(self, part: Part, account: Account | None) -> None:
        """Carry over a part of the published dataset; its shards are linked when the new dataset is published."""
        self._note(part, self._published_lines.get(part.index, []), account)

    def forget(self, indices: Iterable[int]) -> None:
        """Drop parts, so that they are rebuilt."""
        for index in indices:
            self._marker(index).unlink(missing_ok=True)
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
        with self._ledger(index).open(encoding="utf-8") as lines:
            events = [load_json(line) for line in lines]
        return {event["id"]: event for event in events if event["event"] == "dropped" and event["scope"] == "record"}

    def put_together(
        self,
        identity: BuildIdentity,
        stray: Iterable[Drop],
        passed_over: tuple[PassedOver, ...],
        label_map: LabelMap,
    ) -> Manifest:
        """Assemble the new dataset: shards under their final names, ledger and manifest.

        A build that is killed afterwards repeats this.
        """
        parts, moves = self._final_names()
        (self.new / DATA_FOLDER).mkdir(parents=True)
        for source, target in moves.items():
            if source.parent == self._journal:
                source.replace(self.new / target)
            else:
                _link(source, self.new / target)
        stray_tally = Tally()
        with (
            whole_file(self.new / LEDGER_NAME) as partial,
            partial.open("w", encoding="utf-8", newline="\n") as ledger,
        ):
            for part in parts:
                ledger.write(self._ledger(part.index).read_text(encoding="utf-8"))
            for drop in stray:
                stray_tally.read[drop.scope] += 1
                stray_tally.add_drop(drop)
                ledger.write(_drop_line(None, drop))
            for item in passed_over:
                event = {"part": None, "event": "passed_over", **item.to_json()}
                ledger.write(json.dumps(event, ensure_ascii=False) + "\n")
        manifest = identity.manifest(parts, stray_tally, passed_over, label_map)
        manifest.write(self.new)
        return manifest

    @cached_property
    def _published_lines(self) -> dict[int, list[str]]:
        """Yield the lines of the published ledger, part by part."""
        lines: dict[Any, list[str]] = {}
        for line, event in read_events(self._folder / LEDGER_NAME):
            lines.setdefault(event.get("part"), []).append(line)
        return lines

    def _final_names(self) -> tuple[tuple[Part, ...], dict[Path, str]]:
        """Return the parts with the published names of their shards, and the required moves."""
        parts = [self.whole[index] for index in sorted(self.whole)]
        counts = Counter(shard.split for part in parts for shard in part.shards)
        numbers = dict.fromkeys(counts, 0)
        moves = {}
        named = []
        for part in parts:
            shards: list[Shard] = []
            for shard in part.shards:
                path = shard_path(shard.split, numbers[shard.split], counts[shard.split])
                numbers[shard.split] += 1
                moves[self._shard(shard)] = path
                shards.append(replace(shard, path=path))
            named.append(replace(part, shards=tuple(shards)))
        return tuple(named), moves

    def _shard(self, shard: Shard) -> Path:
        """Return the path of a shard: in the journal, or published if its part is carried over."""
        is_published = shard.path.startswith(f"{DATA_FOLDER}/")
        return (self._folder if is_published else self._journal) / shard.path

    def _note(self, part: Part, lines: Iterable[str], account: Account | None) -> None:
        replace_file(self._account(part.index), json.dumps(account).encode())
        replace_file(self._ledger(part.index), "".join(lines).encode())
        replace_file(self._marker(part.index), json.dumps(part.to_json()).encode())
        self.whole[part.index] = part

    def _read_parts(self) -> list[Part]:
        """Read the markers of the parts; a part with a damaged marker, or that of another part, counts as not built."""
        parts = []
        for path in self._journal.glob("part-*.json"):
            with suppress(KeyError, TypeError, ValueError, AttributeError, RecursionError):
                part = Part.from_json(read_json(path))
                if path == self._marker(part.index):
                    parts.append(part)
        return parts

    def _marker(self, index: int) -> Path:
        return self._journal / f"part-{index:05d}.json"

    def _account(self, index: int) -> Path:
        return self._journal / f"part-{index:05d}.inputs"

    def _ledger(self, index: int) -> Path:
        return self._journal / f"part-{index:05d}.jsonl"


def _drop_line(part: int | None, drop: Drop) -> str:
    event = {"scope": drop.scope, "id": drop.item_id, "reason": drop.reason, "detail": drop.detail}
    return json.dumps({"part": part, "event": "dropped", **event}, ensure_ascii=False) + "\n"


def _link(source: Path, target: Path) -> None:
    """Link a file under a second name, or copy it if the file system does not support hard links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)

"""The folder of a build: what is finished, what goes on, what must not be touched. Owns OUT's journal.

While a build runs, everything stands in ``OUT/.build``: ``state.json`` says what is being built, and each part leaves
its shards, its ledger and, last of all, a marker that says it is whole. Publishing moves the shards to their final
names and writes manifest and ledger; ``moves.json`` makes it possible to undo a publishing that was cut short, so that
a killed build always resumes from whole parts and ends in the same bytes.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from filelock import FileLock, Timeout

from datasetkit.core.errors import BuiltFolderError, OutputError
from datasetkit.core.files import replace_file, write_text
from datasetkit.core.ledger import Drop, DropReason, Notice, PassedOver, Tally
from datasetkit.export.dataset.card.render import render_card
from datasetkit.export.dataset.card.sections import owners_part
from datasetkit.export.dataset.identity import BuildIdentity
from datasetkit.export.dataset.manifest import (
    ASSETS_FOLDER,
    CARD_NAME,
    DATA_FOLDER,
    LEDGER_NAME,
    LICENSE_NAME,
    MANIFEST_NAME,
    PICTURES,
    RECIPE_NAME,
    STATISTICS_NAME,
    Manifest,
    Part,
    Shard,
    shard_path,
)
from datasetkit.export.dataset.statistics import Statistics

_JOURNAL = ".build"
_STATE = "state.json"
_MOVES = "moves.json"
_LOCK = "lock"
_PUBLISHED = (
    DATA_FOLDER,
    *(f"{ASSETS_FOLDER}/{name}" for name in PICTURES),
    CARD_NAME,
    LEDGER_NAME,
    RECIPE_NAME,
    STATISTICS_NAME,
    MANIFEST_NAME,
)


def is_unfinished(folder: Path) -> bool:
    """Whether a build in a folder is under way or was cut short."""
    return (folder / _JOURNAL).exists()


def find_identity(folder: Path) -> BuildIdentity | None:
    """Tell which build a folder holds; None where it is empty or not there.

    Raises:
        OutputError: it holds something else.

    """
    journal = folder / _JOURNAL
    try:
        if (journal / _STATE).exists():
            return BuildIdentity.from_json(json.loads((journal / _STATE).read_text(encoding="utf-8")))
        if (folder / MANIFEST_NAME).exists():
            return BuildIdentity.of(Manifest.read(folder))
        found = {path.name for path in folder.iterdir()} if folder.exists() else set()
    except (NotADirectoryError, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise OutputError(f"{folder} holds no build ({error}); give another --out") from error
    if found - {f"{_JOURNAL}.new", f"{_JOURNAL}.gone"}:
        raise OutputError(f"{folder} is not empty and holds no build; give another --out")
    return None


def check_free(folder: Path, identity: BuildIdentity) -> None:
    """Refuse a folder that holds another build, before models are loaded; their weights are not compared.

    A build that kept nothing is no loss: another one may take its place.

    Raises:
        OutputError: it holds another build, or something else.

    """
    found = find_identity(folder)
    if found is None or _kept_nothing(folder):
        return
    if not replace(found, models=()).is_same(replace(identity, models=())):
        raise _other_build(folder, found, identity)


def _kept_nothing(folder: Path) -> bool:
    """Whether a folder holds a finished build without a single record."""
    return not is_unfinished(folder) and not Manifest.read(folder).shards


def _other_build(folder: Path, found: BuildIdentity, identity: BuildIdentity) -> OutputError:
    return OutputError(
        f"{folder} holds another build ({found.difference(identity)}); give another --out, or --overwrite to replace it"
    )


class BuildFolder:
    """OUT, open for one build; a context manager that keeps other processes out.

    OUT is made if it is not there. With ``overwrite`` another build in it is replaced; one that kept nothing always is.

    Raises:
        OutputError: OUT holds another build and ``overwrite`` is off, something that is no build, or a build that
            another process is working on.

    """

    def __init__(self, folder: Path, identity: BuildIdentity, *, overwrite: bool = False) -> None:
        self.folder = folder
        self._identity = identity
        self._journal = folder / _JOURNAL
        self._new = folder / f"{_JOURNAL}.new"
        self._gone = folder / f"{_JOURNAL}.gone"
        self._lock: FileLock | None = None
        found = find_identity(folder)
        for leftover in (self._new, self._gone):
            shutil.rmtree(leftover, ignore_errors=True)
        if self._journal.exists():
            self._take_lock()
        is_other = found is None or overwrite or not found.is_same(identity)
        if found is not None and is_other and not overwrite and not _kept_nothing(folder):
            self._release_lock()
            raise _other_build(folder, found, identity)
        if is_other:
            self._start()

    def __enter__(self) -> BuildFolder:
        return self

    def __exit__(self, *exception: object) -> None:
        self._release_lock()

    @property
    def is_complete(self) -> bool:
        """Whether the build is published and nothing is under way."""
        return not self._journal.exists()

    def reopen(self, reasons: Iterable[DropReason]) -> int:
        """Take a complete build apart again: parts with drops for one of ``reasons`` are forgotten, all others kept.

        Returns:
            how many parts will be built again; where it is 0, nothing is changed.

        """
        wanted = set(reasons)
        if self.is_complete:
            manifest = Manifest.read(self.folder)
            if not any(_dropped_for(part, wanted) for part in manifest.parts):
                return 0
            self._take_apart(manifest)
        self._undo_moves()
        failed = [part for part in self._parts() if _dropped_for(part, wanted)]
        for part in failed:
            self._marker(part.index).unlink()
        return len(failed)

    def resume(self) -> frozenset[int]:
        """Bring the journal into a state to go on from; give the numbers of the parts that are whole."""
        self._undo_moves()
        self._remove_published()
        parts = self._parts()
        kept = {_STATE, _LOCK, CARD_NAME}
        kept |= {path.name for part in parts for path in (self._marker(part.index), self._ledger(part.index))}
        kept |= {self.part_path(part.index, shard.split).name for part in parts for shard in part.shards}
        for path in self._journal.iterdir():
            if path.name not in kept:
                path.unlink()
        return frozenset(part.index for part in parts)

    @property
    def former_card(self) -> str | None:
        """What the owner of the build that this one replaces made of its card."""
        path = self._journal / CARD_NAME
        return path.read_text(encoding="utf-8") if path.exists() else None

    def part_path(self, index: int, split: str) -> Path:
        """Where a part's shard of one split stands until it is published."""
        return self._journal / f"part-{index:05d}-{split}.parquet"

    def finish_part(self, part: Part, drops: Iterable[Drop], notices: Iterable[Notice]) -> None:
        """Note that a part is whole: its ledger first, its marker last."""
        lines = [_drop_line(part.index, drop) for drop in drops]
        for notice in notices:
            event = {"part": part.index, "event": "notice", "record_id": notice.record_id, "kind": notice.kind}
            if notice.detail:
                event["detail"] = notice.detail
            lines.append(json.dumps(event, ensure_ascii=False) + "\n")
        replace_file(self._ledger(part.index), "".join(lines).encode())
        replace_file(self._marker(part.index), json.dumps(part.to_json()).encode())

    def publish(self, stray: Iterable[Drop], passed_over: Iterable[PassedOver] = ()) -> Manifest:
        """Move the shards to their final names; write ledger and manifest.

        The journal stays until :meth:`close`, so that a build killed in between does this again.
        """
        parts, moves = self._final_names(self._parts())
        replace_file(self._journal / _MOVES, json.dumps(moves).encode())
        (self.folder / DATA_FOLDER).mkdir()
        for source, target in moves.items():
            (self._journal / source).replace(self.folder / target)
        stray_tally = Tally()
        with (self.folder / LEDGER_NAME).open("w", encoding="utf-8", newline="\n") as ledger:
            for part in parts:
                ledger.write(self._ledger(part.index).read_text(encoding="utf-8"))
            for drop in stray:
                stray_tally.read[drop.scope] += 1
                stray_tally.add_drop(drop)
                ledger.write(_drop_line(None, drop))
            passed_over = tuple(passed_over)
            for item in passed_over:
                event = {"part": None, "event": "passed_over", **item.to_json()}
                ledger.write(json.dumps(event, ensure_ascii=False) + "\n")
        manifest = self._identity.manifest(parts, stray_tally, passed_over)
        manifest.write(self.folder)
        return manifest

    def close(self) -> None:
        """Remove the journal: the build is complete."""
        if os.name == "nt":  # Windows moves no folder in which a file is open
            self._release_lock()
        self._journal.replace(self._gone)
        shutil.rmtree(self._gone)

    def _start(self) -> None:
        """Leave a journal without parts. What is published stays until :meth:`resume`, so a killed start is no loss."""
        if self._lock is not None:
            for part in self._parts():
                self._marker(part.index).unlink()
            replace_file(self._journal / _STATE, self._state_text().encode())
            return
        try:
            self._new_journal()
            self._swap_in_journal()
        except OSError as error:
            # Another process began between: it made, moved or cleared the same folder.
            if error.errno not in {errno.EEXIST, errno.ENOTEMPTY, errno.ENOENT}:
                raise
            raise self._busy() from None

    def _owners_card(self) -> str | None:
        """Give the published card without the front matter that was generated; None where nothing is its owner's."""
        path = self.folder / CARD_NAME
        if not path.is_file():
            return None
        try:
            card = path.read_text(encoding="utf-8")
            return owners_part(card, render_card(Manifest.read(self.folder), Statistics.read(self.folder)))
        except (UnicodeDecodeError, BuiltFolderError) as error:
            raise OutputError(f"{path} cannot be kept: {error}; mend or delete it, or give another --out") from error

    def _new_journal(self) -> None:
        card = self._owners_card()
        self._new.mkdir(parents=True)
        if card is not None:
            write_text(self._new / CARD_NAME, card)
        write_text(self._new / _STATE, self._state_text())

    def _swap_in_journal(self) -> None:
        self._new.replace(self._journal)
        self._take_lock()

    def _state_text(self) -> str:
        return json.dumps(self._identity.to_json())

    def _take_lock(self) -> None:
        """Keep other processes out; the system gives the lock back when this one ends, however it ends."""
        lock = FileLock(self._journal / _LOCK, timeout=0, thread_local=False)
        try:
            lock.acquire()
        except Timeout:
            raise self._busy() from None
        self._lock = lock

    def _busy(self) -> OutputError:
        return OutputError(f"another process is building {self.folder}; wait until it ends, or give another --out")

    def _release_lock(self) -> None:
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _remove_published(self) -> None:
        """Remove what the former build wrote; other files, also in ``assets``, are their owner's."""
        with suppress(BuiltFolderError):  # no manifest yet, or one that was cut short
            if LICENSE_NAME in Manifest.read(self.folder).files:
                (self.folder / LICENSE_NAME).unlink(missing_ok=True)
        for name in _PUBLISHED:
            path = self.folder / name
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        assets = self.folder / ASSETS_FOLDER
        if assets.is_dir() and not any(assets.iterdir()):
            assets.rmdir()

    def _take_apart(self, manifest: Manifest) -> None:
        self._new_journal()
        lines: dict[int, list[str]] = {part.index: [] for part in manifest.parts}
        with (self.folder / LEDGER_NAME).open(encoding="utf-8") as ledger:
            for line in ledger:
                number = json.loads(line)["part"]
                if number is not None:
                    lines[number].append(line)
        moves = {}
        for part in manifest.parts:
            for shard in part.shards:
                moves[self.part_path(part.index, shard.split).name] = shard.path
            write_text(self._new / self._ledger(part.index).name, "".join(lines[part.index]))
            write_text(self._new / self._marker(part.index).name, json.dumps(part.to_json()))
        write_text(self._new / _MOVES, json.dumps(moves))
        self._swap_in_journal()

    def _undo_moves(self) -> None:
        path = self._journal / _MOVES
        if not path.exists():
            return
        for source, target in json.loads(path.read_text(encoding="utf-8")).items():
            if (self.folder / target).exists():
                (self.folder / target).replace(self._journal / source)
        path.unlink()

    def _final_names(self, parts: Iterable[Part]) -> tuple[tuple[Part, ...], dict[str, str]]:
        parts = tuple(parts)
        counts = Counter(shard.split for part in parts for shard in part.shards)
        numbers = dict.fromkeys(counts, 0)
        moves = {}
        named = []
        for part in parts:
            shards: list[Shard] = []
            for shard in part.shards:
                path = shard_path(shard.split, numbers[shard.split], counts[shard.split])
                numbers[shard.split] += 1
                moves[self.part_path(part.index, shard.split).name] = path
                shards.append(replace(shard, path=path))
            named.append(replace(part, shards=tuple(shards)))
        return tuple(named), moves

    def _parts(self) -> list[Part]:
        """Read the parts' accounts; a part whose marker is damaged, or names another, counts as not built."""
        parts = []
        for path in self._journal.glob("part-*.json"):
            with suppress(KeyError, TypeError, ValueError, AttributeError, RecursionError):
                part = Part.from_json(json.loads(path.read_text(encoding="utf-8")))
                if path == self._marker(part.index):
                    parts.append(part)
        return sorted(parts, key=lambda part: part.index)

    def _marker(self, index: int) -> Path:
        return self._journal / f"part-{index:05d}.json"

    def _ledger(self, index: int) -> Path:
        return self._journal / f"part-{index:05d}.jsonl"


def _drop_line(part: int | None, drop: Drop) -> str:
    event = {"scope": drop.scope, "id": drop.item_id, "reason": drop.reason, "detail": drop.detail}
    return json.dumps({"part": part, "event": "dropped", **event}, ensure_ascii=False) + "\n"


def _dropped_for(part: Part, reasons: set[DropReason]) -> bool:
    return any(reason in reasons for reason in part.tally.dropped["record"])

"""The exchange of a published dataset in an object store for a new one. Owns its plan, and the order of its steps.

Everything new is in the folder of the build. ``exchange.json`` appears there when that is complete; from then on the
store copies each file to its published name, the manifest last, and the next build finishes an interrupted exchange. A
process that was taken over finds nothing to copy any more, so that it cannot damage what came after it.

A store has no renames: between the first and the last copy, readers may see new shards under the names of former ones,
with the former manifest. Former files under other names stay until the new manifest is there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from datasetkit.core.documents import load_json
from datasetkit.core.errors import OutputError
from datasetkit.core.files import file_sha256
from datasetkit.core.remote import RemotePath
from datasetkit.core.text import first_few
from datasetkit.export.dataset.manifest import (
    ASSETS_FOLDER,
    DATA_FOLDER,
    IMAGES,
    LICENSE_NAME,
    MANIFEST_NAME,
    PAPERS,
    Manifest,
)
from datasetkit.export.output.part_store import Move
from datasetkit.runtime.threads import map_in_order

PLAN, _NEW = "exchange.json", "new"
AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class _Copy:
    """A file that is to be published.

    Args:
        source: where it is, relative to OUT.
        target: its published name, relative to OUT.
        size_bytes: its size.
        sha256: its digest.

    """

    source: str
    target: str
    size_bytes: int
    sha256: str


class BucketExchange:
    """The exchange at the end of a build.

    Args:
        place: OUT.
        folder: path of the build's files, relative to OUT.

    """

    def __init__(self, place: RemotePath, folder: str) -> None:
        self._place = place
        self._folder = folder

    @property
    def is_begun(self) -> bool:
        """Whether the exchange was started; it is only to be finished then."""
        return (self._place / self._folder / PLAN).is_file()

    def begin(self, papers: Path, moves: Sequence[Move], former: Manifest | None) -> None:
        """Send what is not in the store yet, and then the plan.

        Args:
            papers: folder with all files that the new dataset has apart from its shards.
            moves: of the shards.
            former: manifest of the dataset that is replaced.

        """
        shards = self._copied(map_in_order(self._shard, moves, AT_ONCE))
        names = sorted(path.relative_to(papers).as_posix() for path in papers.rglob("*") if path.is_file())
        files = [self._sent(papers / name, name) for name in names]
        files.sort(key=lambda copy: copy.target == MANIFEST_NAME)
        coming = {move.target for move in moves} | {*names}
        plan = {
            "shards": [asdict(copy) for copy in shards],
            "files": [asdict(copy) for copy in files],
            "leaving": sorted(_ours(former) - coming),
        }
        (self._place / self._folder / PLAN).write_bytes(json.dumps(plan).encode())

    def finish(self, check: Callable[[], None]) -> None:
        """Make all steps of the plan; equal files are copied again, so that it may be repeated.

        ``check`` raises if another process has taken over.

        Raises:
            OutputError: a shard has another size than planned; the exchange may be repeated.

        """
        plan = load_json((self._place / self._folder / PLAN).read_bytes())
        shards, files = ([_Copy(**copy) for copy in plan[name]] for name in ("shards", "files"))
        check()
        try:
            for _ in map_in_order(self._copy, shards, AT_ONCE):
                pass
            self._check_sizes(shards)
            check()
            for copy in files:
                self._copy(copy)
        except FileNotFoundError:
            check()
            raise
        remove_all(self._place / name for name in plan["leaving"])

    def _shard(self, move: Move) -> _Copy:
        """Return the copy of a shard; one of the former dataset is put aside first if its name changes."""
        shard = move.shard
        source = shard.path if move.is_carried else f"{self._folder}/{shard.path}"
        if move.is_carried and shard.path != move.target:
            source = f"{self._folder}/{_NEW}/{move.target}"
            (self._place / shard.path).copy_to(self._place / source, shard.sha256)
        return _Copy(source, move.target, shard.bytes, shard.sha256)

    @staticmethod
    def _copied(copies: Iterable[_Copy]) -> list[_Copy]:
        return [copy for copy in copies if copy.source != copy.target]

    def _sent(self, path: Path, name: str) -> _Copy:
        copy = _Copy(f"{self._folder}/{_NEW}/{name}", name, path.stat().st_size, file_sha256(path))
        (self._place / copy.source).send(path, copy.sha256, lambda _: None)
        return copy

    def _copy(self, copy: _Copy) -> None:
        (self._place / copy.source).copy_to(self._place / copy.target, copy.sha256)

    def _check_sizes(self, shards: Sequence[_Copy]) -> None:
        found = (self._place / DATA_FOLDER).files()
        wrong = [copy.target for copy in shards if found.get(Path(copy.target).name) != copy.size_bytes]
        if wrong:
            raise OutputError(f"{self._place} has other bytes than were copied: {first_few(wrong)}; run this again")


def remove_all(paths: Iterable[RemotePath]) -> None:
    """Delete files, several at once."""
    for _ in map_in_order(RemotePath.remove, paths, AT_ONCE):
        pass


def _ours(former: Manifest | None) -> set[str]:
    """Return the names of all files that a former build wrote."""
    if former is None:
        return set()
    names = {shard.path for shard in former.shards} | {*PAPERS} | {f"{ASSETS_FOLDER}/{name}" for name in IMAGES}
    return names | ({LICENSE_NAME} & {*former.files})

"""Published files of a built folder. Owns the cheap check before a push, and the comparison of files with the Hub."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from huggingface_hub import RepoFile
from huggingface_hub.utils.sha import git_hash
from rich.filesize import decimal

from datasetkit.core.errors import BuiltFolderError
from datasetkit.core.paths import Place
from datasetkit.core.text import counted, first_few
from datasetkit.export.card.front_matter import read_front_matter
from datasetkit.export.dataset.manifest import (
    ASSETS_FOLDER,
    CARD_NAME,
    IMAGES,
    LEDGER_NAME,
    LICENSE_NAME,
    PAPERS,
    Manifest,
    Shard,
)
from datasetkit.export.output.folder import JOURNALS, is_unfinished
from datasetkit.export.verification.papers import manifest_faults
from datasetkit.runtime.progress import OnProgress, counter

_PIECE_BYTES = 2**20
_MOST_HELD_BYTES = 2**26


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file to publish: its published name; its path, URI or bytes; its size and hex digest."""

    path: str
    source: Place | bytes
    size_bytes: int
    sha256: str

    @classmethod
    def of_bytes(cls, path: str, data: bytes) -> LocalFile:
        """Return a file from bytes in memory."""
        return cls(path, data, len(data), hashlib.sha256(data).hexdigest())

    def read(self) -> bytes:
        """Return the content."""
        return self.source if isinstance(self.source, bytes) else self.source.read_bytes()

    def equals(self, published: RepoFile | None) -> bool:
        """Whether the Hub has the same bytes, by size and SHA-256 (large files) or git hash (all others)."""
        if published is None or published.size != self.size_bytes:
            return False
        if published.lfs is not None:
            return published.lfs.sha256 == self.sha256
        return published.blob_id == git_hash(self.read())


def change_lines(sent: Iterable[tuple[str, int]], deletions: Iterable[str]) -> Iterator[str]:
    """Yield one line per file that is sent, with its size, or deleted."""
    yield from (f"send    {path}  {decimal(size)}" for path, size in sent)
    yield from (f"delete  {path}" for path in deletions)


def sum_line(
    sent: tuple[int, int], deleted: int, skipped: tuple[int, int], *, is_plan: bool = False, how: str = ""
) -> str:
    """Return a line with the numbers of files and bytes that are sent or already there, and of deleted files."""
    sending, there = (f"{counted(count, 'file')} of {decimal(size)}" for count, size in (sent, skipped))
    gone, one = counted(deleted, "file"), skipped[0] == 1
    if is_plan:
        there = f"{there} {'is' if one else 'are'} already there"
        return f"would send {sending} and delete {gone}{how}; {there}. Nothing was sent"
    return f"sent {sending}, deleted {gone}; {there} {'was' if one else 'were'} already there"


def not_published_lines(names: Sequence[str]) -> Iterator[str]:
    """Yield one line on files of the folder that are not published; nothing if there are none."""
    if names:
        yield f"not published: {counted(len(names), 'other file')} of the folder ({first_few(names)})"


def files_to_publish(folder: Path, manifest: Manifest, on_progress: OnProgress | None) -> tuple[LocalFile, ...]:
    """Return the files of a built folder to publish: shards first, then the files that describe them, and nothing else.

    In ``assets`` and at the top, these are files that our commands write; see :func:`unpublished`.
    ``on_progress`` is called with ``"checking"``, the bytes read and the total bytes, block by block.

    Raises:
        BuiltFolderError: the build is not finished or kept nothing, a file is missing or a link, the YAML of the card
            cannot be read, or a shard does not match the manifest.

    """
    if is_unfinished(folder):
        raise BuiltFolderError(f"the build in {folder} is not finished; run the same `datasetkit build` again first")
    if not manifest.shards:
        raise BuiltFolderError(f"{folder} contains no records, so there is nothing to publish; {LEDGER_NAME} says why")
    for fault in manifest_faults(folder, manifest):
        raise BuiltFolderError(f"{folder} cannot be published: {fault}; rebuild it with --overwrite")
    check_card(folder)
    optional = (LICENSE_NAME, *(f"{ASSETS_FOLDER}/{name}" for name in sorted(IMAGES)))
    names = [*PAPERS, *(name for name in optional if name in manifest.files or os.path.lexists(folder / name))]
    sizes = [shard.bytes for shard in manifest.shards]
    sizes += [(folder / name).stat().st_size for name in names if (folder / name).is_file()]
    on_read = counter("checking", sum(sizes), on_progress)
    shards = [_checked_shard(folder, shard, on_read) for shard in manifest.shards]
    return (*shards, *(local_file(folder, name, on_read, is_held=True) for name in names))


def unpublished(folder: Path, published: Iterable[str]) -> tuple[str, ...]:
    """Return the files of a folder that are not published: hidden files, links, and all that no build writes.

    A linked folder counts as one; internal files of builds are not counted.
    """
    wanted, found = set(published), list[Path]()
    for root, folders, names in os.walk(folder, onerror=lambda error: found.append(Path(error.filename))):
        above = Path(root)
        links = [name for name in folders if (above / name).is_symlink()]
        found.extend(above / name for name in (*names, *links))
        left_out = {*links, *(JOURNALS if above == folder else ())}
        folders[:] = [name for name in folders if name not in left_out]
    paths = (path.relative_to(folder).as_posix() for path in found)
    return tuple(sorted(path for path in paths if path not in wanted))


def check_card(folder: Path) -> None:
    """Check that the card can be merged with that of a repository.

    Raises:
        BuiltFolderError: there is none, or its YAML cannot be read.

    """
    path = folder / CARD_NAME
    try:
        read_front_matter(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BuiltFolderError(f"{folder} has no {CARD_NAME}; `datasetkit card {folder}` writes it") from None
    except (UnicodeDecodeError, BuiltFolderError) as error:
        raise BuiltFolderError(f"{path} cannot be published: {error}; fix it, then push again") from error


def _checked_shard(folder: Path, shard: Shard, on_read: Callable[[int], None]) -> LocalFile:
    file = local_file(folder, shard.path, on_read)
    if (file.size_bytes, file.sha256) != (shard.bytes, shard.sha256):
        raise BuiltFolderError(
            f"{folder / shard.path} does not match the manifest (`datasetkit verify {folder}` lists the faults); "
            "rebuild it with --overwrite"
        )
    return file


def local_file(folder: Path, path: str, on_read: Callable[[int], None], *, is_held: bool = False) -> LocalFile:
    """Hash a file of a folder.

    Args:
        folder: the folder.
        path: path relative to the folder.
        on_read: called with the number of bytes read, block by block.
        is_held: whether the bytes of a small file are kept, so that exactly the checked bytes are sent; the Hub
            compares the hashes of large ones.

    Raises:
        BuiltFolderError: it is missing, not a file, or reached by a link, whose target might be private.

    """
    digest, size, parts = hashlib.sha256(), 0, PurePosixPath(path).parts
    held: list[bytes] = []
    for number in range(1, len(parts) + 1):
        if (folder.joinpath(*parts[:number])).is_symlink():
            raise BuiltFolderError(
                f"{folder.joinpath(*parts[:number])} is a link, and its target would be published; replace it by the "
                "file itself"
            )
    if (folder / path).exists() and not (folder / path).is_file():
        raise BuiltFolderError(f"{folder / path} is not a file; rebuild with --overwrite")
    try:
        with (folder / path).open("rb") as file:
            while piece := file.read(_PIECE_BYTES):
                digest.update(piece)
                size += len(piece)
                if is_held and size <= _MOST_HELD_BYTES:
                    held.append(piece)
                on_read(len(piece))
    except FileNotFoundError:
        raise BuiltFolderError(f"{folder} has no {path}; rebuild it with --overwrite") from None
    source = b"".join(held) if is_held and size <= _MOST_HELD_BYTES else folder / path
    return LocalFile(path, source, size, digest.hexdigest())

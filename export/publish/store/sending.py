"""Transfer of files to a remote folder. Owns what is sent and deleted, in an order that survives interruptions.

A journal next to the files lists the files of a transfer. It is written first and removed last, so that the next run
knows which files an interrupted run may have left.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from datasetkit.core.documents import load_json
from datasetkit.core.errors import OutputError
from datasetkit.core.remote import RemotePath
from datasetkit.export.publish.files import LocalFile
from datasetkit.export.publish.former import Foreign
from datasetkit.runtime.progress import OnProgress, counter


@dataclass(frozen=True, slots=True)
class Difference:
    """Changes to a remote folder.

    Args:
        files: all files that it will contain, in the order of sending.
        sent: files that it lacks, or has with other bytes.
        deletions: names of files of an earlier run that are no longer needed.
        journal: names of all files that this run, and those before it, may leave there; empty if none is needed.
        foreign: sent files that replace files which no run wrote.

    """

    files: tuple[LocalFile, ...]
    sent: tuple[LocalFile, ...]
    deletions: tuple[str, ...]
    journal: tuple[str, ...]
    foreign: Foreign

    @property
    def skipped(self) -> tuple[LocalFile, ...]:
        """The files that are already there."""
        sent = {file.path for file in self.sent}
        return tuple(file for file in self.files if file.path not in sent)


def read_journal(place: RemotePath, name: str, listed: Collection[str]) -> set[str]:
    """Return the files that an interrupted run may have left.

    Raises:
        OutputError: the journal is invalid.

    """
    if name not in listed:
        return set()
    try:
        return {str(path) for path in load_json((place / name).read_bytes())["files"]}
    except (ValueError, KeyError, TypeError) as error:
        raise OutputError(f"{place / name} is not a journal of datasetkit ({error!r}); delete it there") from error


def compare(
    place: RemotePath,
    listed: Mapping[str, int],
    files: Sequence[LocalFile],
    *,
    former: Collection[str],
    known: Mapping[str, str | None],
    unfinished: bool,
    replace: Collection[str] = (),
) -> Difference:
    """Compare a remote folder with its intended contents.

    Args:
        place: the folder.
        listed: its files with their sizes.
        files: all files that it should contain, in the order of sending.
        former: names of files that earlier runs wrote, unless metadata of the store contradict; other files are kept.
        known: SHA-256 by name, for stores that keep none as metadata.
        unfinished: whether there is a journal.
        replace: names of files that may be replaced, whoever wrote them.

    """

    def is_there(file: LocalFile) -> bool:
        if listed.get(file.path) != file.size_bytes:
            return False
        remote = place / file.path
        return (remote.sha256() if remote.keeps_digests else known.get(file.path)) == file.sha256

    def is_ours(path: str) -> bool:
        remote = place / path
        return path in former and not (remote.keeps_digests and remote.sha256() is None)

    wanted = {file.path for file in files}
    sent = tuple(file for file in files if not is_there(file))
    deletions = tuple(path for path in sorted((set(former) & listed.keys()) - wanted) if is_ours(path))
    journal = tuple(sorted(wanted.union(deletions))) if sent or deletions or unfinished else ()
    foreign = Foreign.among((file.path for file in sent if file.path in listed), is_ours, replace)
    return Difference(tuple(files), sent, deletions, journal, foreign)


def send(
    folder: Path, place: RemotePath, difference: Difference, journal_name: str, on_progress: OnProgress | None = None
) -> None:
    """Apply the changes that :func:`compare` found for the files in ``folder``.

    Raises:
        OutputError: the result differs, for example because two runs were sending at the same time.
        OSError: the store refuses something, or cannot be reached.

    """
    if not difference.journal:
        return
    journal = place / journal_name
    journal.write_bytes(json.dumps({"files": difference.journal}, indent=1).encode())
    on_sent = counter("sending", sum(file.size_bytes for file in difference.sent), on_progress)
    for file in difference.sent:
        (place / file.path).send(folder / file.path, file.sha256, on_sent)
    for path in difference.deletions:
        (place / path).remove()
    journal.remove()
    listed = place.files()
    wrong = [file.path for file in difference.files if listed.get(file.path) != file.size_bytes]
    wrong += [path for path in difference.deletions if path in listed]
    if wrong:
        raise OutputError(
            f"{place} differs from the sent files: {', '.join(wrong[:5])} ({len(wrong)} in all); push again"
        )

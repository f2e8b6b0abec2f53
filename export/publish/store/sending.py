"""Files on their way to a remote folder. Owns what is sent and deleted, and an order that survives any end.

A journal beside the files names what was on its way. It is written first and removed last: where it is, the next run
knows which files a run that was cut short may have left.
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
    """What brings a remote folder to what it shall hold.

    Args:
        files: all that it is to hold, in the order in which they are sent.
        sent: those of them that it has not, or has with other bytes.
        deletions: names of files of an earlier run that are no longer wanted.
        journal: names of all files that this run, and those before it, may leave there; empty where none is needed.
        foreign: which of those that are sent replace files that no run wrote.

    """

    files: tuple[LocalFile, ...]
    sent: tuple[LocalFile, ...]
    deletions: tuple[str, ...]
    journal: tuple[str, ...]
    foreign: Foreign

    @property
    def skipped(self) -> tuple[LocalFile, ...]:
        """The files that are there already."""
        sent = {file.path for file in self.sent}
        return tuple(file for file in self.files if file.path not in sent)


def read_journal(place: RemotePath, name: str, listed: Collection[str]) -> set[str]:
    """Name the files that a run which was cut short may have left.

    Raises:
        OutputError: the journal is none.

    """
    if name not in listed:
        return set()
    try:
        return {str(path) for path in load_json((place / name).read_bytes())["files"]}
    except (ValueError, KeyError, TypeError) as error:
        raise OutputError(f"{place / name} is no journal of datasetkit ({error!r}); delete it there") from error


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
    """Compare what a remote folder holds with what it shall hold.

    Args:
        place: the folder.
        listed: its files with their sizes.
        files: all that it shall hold, in the order in which they are to be sent.
        former: names of files that earlier runs wrote, as long as the store's own record of a file, where it keeps
            one, does not say otherwise; whatever else is there stays.
        known: sha256 by name, for stores that keep none beside a file.
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
    """Bring a remote folder to what it shall hold: what :func:`compare` found of the files in ``folder``.

    Raises:
        OutputError: it holds something else afterwards, as when two runs send at the same time.
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
        raise OutputError(f"{place} is not what was sent: {', '.join(wrong[:5])} ({len(wrong)} in all); push again")

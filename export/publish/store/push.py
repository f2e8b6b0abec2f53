"""Publishing a built folder in a remote store. Owns what a push sends, skips and deletes there.

Shards come first and ``manifest.json`` last. Stores have no commits: while a push replaces another dataset, readers may
see shards of both, and two simultaneous pushes to one destination mix.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from datasetkit.core.errors import OutputError
from datasetkit.core.remote import RemotePath
from datasetkit.export.dataset.manifest import MANIFEST_NAME, Manifest
from datasetkit.export.output.found import JOURNAL, STATE
from datasetkit.export.publish.files import files_to_publish
from datasetkit.export.publish.former import check_others, check_replace, former_files, is_name_of_ours
from datasetkit.export.publish.store.sending import Difference, compare, read_journal, send
from datasetkit.runtime.progress import OnProgress

_JOURNAL_NAME = ".datasetkit-push.json"


def plan(
    folder: Path, place: RemotePath, on_progress: OnProgress | None = None, *, replace: Sequence[str] = ()
) -> Difference:
    """Return what :func:`push` would do, or why it would be refused, without sending anything.

    Raises:
        BuiltFolderError, OutputError, OSError: see :func:`push`.

    """
    manifest = Manifest.read(folder)
    listed = place.files()
    if f"{JOURNAL}/{STATE}" in listed:
        raise OutputError(f"{place} has an unfinished build; finish it by its command, or push elsewhere")
    files = files_to_publish(folder, manifest, on_progress)
    paths = {file.path for file in files}
    check_replace(replace, paths)
    known = former_files((place / MANIFEST_NAME).read_bytes(), is_noted=False) if MANIFEST_NAME in listed else {}
    former = known.keys() | filter(is_name_of_ours, read_journal(place, _JOURNAL_NAME, listed))
    ordered = sorted(files, key=lambda file: file.path == MANIFEST_NAME)
    unfinished = _JOURNAL_NAME in listed
    found = compare(place, listed, ordered, former=former, known=known, unfinished=unfinished, replace=replace)
    check_others(listed.keys() - paths - set(found.deletions), manifest, place, OutputError)
    return found


def push(
    folder: Path, place: RemotePath, on_progress: OnProgress | None = None, *, replace: Sequence[str] = ()
) -> Difference:
    """Publish a built folder in a remote store; files there that no push wrote are kept.

    ``replace`` are paths of files that may be replaced, whoever wrote them.

    Raises:
        BuiltFolderError: the build is not finished, or a shard does not match the manifest.
        OutputError: files that no push wrote would mix with the shards, or be replaced, or a build is unfinished there.
        OSError: the store refuses something, or cannot be reached.

    """
    difference = plan(folder, place, on_progress, replace=replace)
    difference.foreign.check(place, OutputError)
    send(folder, place, difference, _JOURNAL_NAME, on_progress)
    return difference

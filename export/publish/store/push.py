"""Publishing a built folder in a remote store. Owns what a push sends, skips and deletes there.

Shards come first and ``manifest.json`` last. A store knows no commits: whoever reads while a push replaces another
dataset may see some shards of both, and two pushes to one place at the same time mix.
"""

from __future__ import annotations

from pathlib import Path

from datasetkit.core.errors import OutputError
from datasetkit.core.remote import RemotePath
from datasetkit.export.dataset.manifest import MANIFEST_NAME, Manifest
from datasetkit.export.publish.files import files_to_publish, is_shard_name
from datasetkit.export.publish.former import check_others, former_files
from datasetkit.export.publish.store.sending import Difference, compare, read_journal, send
from datasetkit.runtime.progress import OnProgress

_JOURNAL_NAME = ".datasetkit-push.json"


def plan(folder: Path, place: RemotePath, on_progress: OnProgress | None = None) -> Difference:
    """Tell what :func:`push` would do; nothing is sent.

    Raises:
        BuiltFolderError, OutputError, OSError: as :func:`push` would.

    """
    manifest = Manifest.read(folder)
    listed = place.files()
    files = files_to_publish(folder, manifest, on_progress)
    known = former_files((place / MANIFEST_NAME).read_bytes(), place, OutputError) if MANIFEST_NAME in listed else {}
    former = {name for name in known.keys() | read_journal(place, _JOURNAL_NAME, listed) if is_shard_name(name)}
    check_others(listed.keys() - former - {file.path for file in files}, manifest, place, OutputError)
    ordered = sorted(files, key=lambda file: file.path == MANIFEST_NAME)
    return compare(place, listed, ordered, former=former, known=known, unfinished=_JOURNAL_NAME in listed)


def push(folder: Path, place: RemotePath, on_progress: OnProgress | None = None) -> Difference:
    """Publish a built folder in a remote store; files there that no push wrote stay.

    Raises:
        BuiltFolderError: the folder is not finished, or a shard is not the manifest's.
        OutputError: files there would mix with the shards.
        OSError: the store refuses something, or cannot be reached.

    """
    difference = plan(folder, place, on_progress)
    send(folder, place, difference, _JOURNAL_NAME, on_progress)
    return difference

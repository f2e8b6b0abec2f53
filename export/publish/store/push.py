"""Publishing a built folder in a remote store. Owns what a push sends, skips and deletes there.

Shards come first and ``manifest.json`` last. A store knows no commits: whoever reads while a push replaces another
dataset may see some shards of both, and two pushes to one place at the same time mix.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

from datasetkit.core.errors import OutputError
from datasetkit.core.remote import RemotePath
from datasetkit.export.dataset.manifest import DATA_FOLDER, MANIFEST_NAME, Manifest
from datasetkit.export.publish.counting import OnProgress, counter
from datasetkit.export.publish.files import files_to_publish, is_shard_name
from datasetkit.export.publish.store.sending import Difference, compare, read_journal, send

_JOURNAL_NAME = ".datasetkit-push.json"


def plan(folder: Path, place: RemotePath, on_progress: OnProgress | None = None) -> Difference:
    """Tell what :func:`push` would do; nothing is sent.

    Raises:
        BuiltFolderError, OutputError, OSError: as :func:`push` would.

    """
    manifest = Manifest.read(folder)
    listed = place.files()
    total = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    files = files_to_publish(folder, manifest, counter("checking", total, on_progress))
    known = _former_shards(place, listed)
    former = {name for name in known.keys() | read_journal(place, _JOURNAL_NAME, listed) if is_shard_name(name)}
    _check_others(place, manifest, listed.keys() - former - {file.path for file in files})
    ordered = sorted(files, key=lambda file: file.path == MANIFEST_NAME)
    return compare(place, listed, ordered, former=former, known=known, unfinished=_JOURNAL_NAME in listed)


def push(folder: Path, place: RemotePath, on_progress: OnProgress | None = None) -> Difference:
    """Publish a built folder in a remote store.

    Args:
        folder: what ``datasetkit build`` wrote.
        place: the folder to write; files there that no push wrote stay.
        on_progress: told stage, bytes done and bytes in all, piece by piece.

    Returns:
        what was done.

    Raises:
        BuiltFolderError: the folder is not finished, or a shard is not the manifest's.
        OutputError: files there would mix with the shards.
        OSError: the store refuses something, or cannot be reached.

    """
    difference = plan(folder, place, on_progress)
    send(folder, place, difference, _JOURNAL_NAME, on_progress)
    return difference


def _former_shards(place: RemotePath, listed: Collection[str]) -> dict[str, str]:
    """Give the shards of the push before with their sha256, by its manifest."""
    if MANIFEST_NAME not in listed:
        return {}
    try:
        value = json.loads((place / MANIFEST_NAME).read_bytes())
        return {str(shard["path"]): str(shard["sha256"]) for part in value["parts"] for shard in part["shards"]}
    except (ValueError, KeyError, TypeError) as error:
        raise OutputError(
            f"{place / MANIFEST_NAME} is none of datasetkit ({error!r}), so nobody knows which files a push may "
            "replace; delete it there, or push to another place"
        ) from error


def _check_others(place: RemotePath, manifest: Manifest, others: Collection[str]) -> None:
    splits = tuple(f"{DATA_FOLDER}/{split}-" for split in manifest.split_rows)
    strange = [path for path in others if path.startswith(splits) and path.endswith(".parquet")]
    if strange:
        raise OutputError(
            f"{place} has {min(strange)}, which no push of datasetkit wrote and load_dataset would read as part of "
            "this dataset; rename or delete it there, or push to another place"
        )

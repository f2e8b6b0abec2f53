"""Publishing of a dataset that is in an object store. Owns the checks before a push that reads no shard."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path, PurePosixPath

from datasetkit.core.errors import BuiltFolderError
from datasetkit.core.paths import BESIDE
from datasetkit.core.remote import RemotePath
from datasetkit.export.dataset.manifest import ASSETS_FOLDER, IMAGES, LEDGER_NAME, LICENSE_NAME, PAPERS, Manifest, Shard
from datasetkit.export.output.bucket import has_unfinished
from datasetkit.export.output.found import JOURNAL
from datasetkit.export.publish.files import LocalFile, check_card, local_file
from datasetkit.export.publish.store.dataset import remote_files
from datasetkit.export.verification.papers import manifest_faults
from datasetkit.runtime.progress import OnProgress, counter
from datasetkit.runtime.threads import map_in_order

_AT_ONCE = 16


def stored_files(place: RemotePath, manifest: Manifest, on_progress: OnProgress | None) -> tuple[LocalFile, ...]:
    """Return the files of a dataset to publish, shards first; these are compared again when they are sent.

    Raises:
        BuiltFolderError: the build is not finished or kept nothing, a file is missing, the YAML of the card cannot be
            read, or the size or the recorded digest of a shard does not match the manifest.

    """
    listed = place.files()
    if has_unfinished(listed):
        raise BuiltFolderError(f"the build in {place} is not finished; run the same `datasetkit build` again first")
    if not manifest.shards:
        raise BuiltFolderError(f"{place} contains no records, so there is nothing to publish; {LEDGER_NAME} says why")
    if missing := [name for name in PAPERS if name not in listed]:
        raise BuiltFolderError(f"{place} has no {missing[0]}; rebuild it with --overwrite")
    names = [*PAPERS, *(name for name in _optional(manifest) if name in manifest.files or name in listed)]
    on_read = counter("checking", sum(listed.get(name, 0) for name in names), on_progress)
    with remote_files(place) as files:
        for fault in manifest_faults(files.papers, manifest):
            raise BuiltFolderError(f"{place} cannot be published: {fault}; rebuild it with --overwrite")
        check_card(files.papers)
        for name in names[len(PAPERS) :]:
            path = files.papers / name
            path.parent.mkdir(exist_ok=True)
            (place / name).fetch(path)
        papers = [local_file(files.papers, name, on_read, is_held=True) for name in names]

    def checked(shard: Shard) -> LocalFile:
        path = place / shard.path
        has_size = listed.get(shard.path) == shard.bytes
        digest = path.sha256() if has_size and path.keeps_digests else None
        if not has_size or digest not in {None, shard.sha256}:
            raise BuiltFolderError(
                f"{path} does not match the manifest (`datasetkit verify {place}` lists the faults); rebuild it with "
                "--overwrite"
            )
        return LocalFile(shard.path, path, shard.bytes, shard.sha256)

    shards = map_in_order(checked, manifest.shards, _AT_ONCE)
    # A ledger that is too large for memory is sent from the store, like a shard.
    return (*shards, *(replace(file, source=place / file.path) if _is_local(file) else file for file in papers))


def stored_others(place: RemotePath, published: Iterable[str]) -> tuple[str, ...]:
    """Return the files below a URI that are not published; internal files of builds are not counted."""
    others = place.files().keys() - {*published}
    return tuple(sorted(name for name in others if PurePosixPath(name).parts[0] not in {JOURNAL, BESIDE}))


def _optional(manifest: Manifest) -> tuple[str, ...]:
    images = (f"{ASSETS_FOLDER}/{name}" for name in sorted(IMAGES))
    return (LICENSE_NAME, *(name for name in images if name in manifest.files))


def _is_local(file: LocalFile) -> bool:
    return isinstance(file.source, Path)

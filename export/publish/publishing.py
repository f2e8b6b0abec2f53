"""The only way to publish a folder. Owns the options of each kind of destination, and results of pushes to stores."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from datasetkit.core.addresses import check_written, hub_address
from datasetkit.core.errors import OutputError
from datasetkit.core.paths import Place, as_place
from datasetkit.core.remote import RemotePath
from datasetkit.core.results import Result
from datasetkit.export.publish.files import change_lines, not_published_lines, sum_line, unpublished
from datasetkit.export.publish.former import Foreign
from datasetkit.export.publish.hub.adapter import Adapter
from datasetkit.export.publish.hub.built_dataset import BuiltDataset, StoredDataset
from datasetkit.export.publish.hub.contents import Contents
from datasetkit.export.publish.hub.push import push
from datasetkit.export.publish.hub.results import Plan, Pushed
from datasetkit.export.publish.store import push as store
from datasetkit.options.dataset import PushOptions
from datasetkit.runtime.progress import OnProgress

_FOR_HUB = {"private", "revision", "tag", "token", "commit_message", "create_pr"}


@dataclass(frozen=True, slots=True)
class StorePush(Result):
    """Plan or result of a push to an object store.

    Args:
        sent: path and size in bytes of each file that the store lacks, or has with other bytes.
        skipped: path and size in bytes of each file that the store has.
        foreign: files that no push wrote: replaced ones, or, in a plan, those for which the push is refused.
        not_published: other files of the folder.

    """

    url: str
    sent: tuple[tuple[str, int], ...]
    skipped: tuple[tuple[str, int], ...]
    deletions: tuple[str, ...]
    is_plan: bool
    foreign: Foreign = field(default_factory=Foreign)
    not_published: tuple[str, ...] = ()

    def report(self) -> Iterator[str]:
        """Yield the sums; for a plan, first each file."""
        if self.is_plan:
            yield from change_lines(self.sent, self.deletions)
            yield from not_published_lines(self.not_published)
            yield from self.foreign.lines(is_plan=True)
        sent, skipped = ((len(files), sum(size for _, size in files)) for files in (self.sent, self.skipped))
        yield sum_line(sent, len(self.deletions), skipped, is_plan=self.is_plan)
        if not self.is_plan:
            yield from self.foreign.lines(is_plan=False)
            yield from not_published_lines(self.not_published)
            yield self.url


def publish(options: PushOptions, on_progress: OnProgress | None = None) -> Plan | Pushed | StorePush:
    """Publish a built folder, or a tuned adapter, which becomes a model repository.

    Raises:
        OutputError: an option is for the Hub only.
        AddressError: the destination cannot be written to, or is a repository of another type.
        DatasetkitError, OSError: errors of the push.

    """
    is_on_hub = hub_address(options.repository, "model" if options.adapter else "dataset") is not None
    place = None if is_on_hub else as_place(options.repository)
    if isinstance(options.folder, RemotePath):
        _check_from_store(options, place)
    if isinstance(place, RemotePath) and isinstance(options.folder, Path):
        check_written(place.protocol, place)
        if options.adapter:
            raise OutputError(f"--adapter is for the Hub; {place} accepts datasets only")
        if any(getattr(options, name) != PushOptions.model_fields[name].default for name in _FOR_HUB):
            names = ", ".join(f"--{name.replace('_', '-')}" for name in sorted(_FOR_HUB))
            raise OutputError(f"{names} are for the Hub; {place} does not support them")
        act = store.plan if options.dry_run else store.push
        done = act(options.folder, place, on_progress, replace=options.replace)
        sent, skipped = (tuple((file.path, file.size_bytes) for file in files) for files in (done.sent, done.skipped))
        others = unpublished(options.folder, (file.path for file in done.files))
        return StorePush(str(place), sent, skipped, done.deletions, options.dry_run, done.foreign, others)
    return push(
        options.folder,
        options.repository,
        read=_reader(options),
        token=None if options.token is None else options.token.get_secret_value(),
        on_progress=on_progress,
        **options.model_dump(include=_FOR_HUB - {"token"} | {"dry_run", "replace"}),
    )


def _reader(options: PushOptions) -> Callable[[Any], Contents]:
    if options.adapter:
        return Adapter.read
    return BuiltDataset.read if isinstance(options.folder, Path) else StoredDataset.read


def _check_from_store(options: PushOptions, destination: Place | None) -> None:
    """Refuse everything except a dataset for the Hub.

    Raises:
        OutputError: it is an adapter, or the destination is not on the Hub.

    """
    if options.adapter:
        raise OutputError(f"{options.folder} is remote; --adapter is for a folder on this machine")
    if destination is not None:
        raise OutputError(
            f"a dataset in an object store is pushed to the Hub only, not to {destination}; build into that place, or "
            "copy it with the tools of the store"
        )

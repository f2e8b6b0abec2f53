"""The one way to publish a folder, wherever to. Owns which options each place takes, and the account of a store's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasetkit.core.errors import OutputError
from datasetkit.core.paths import as_place
from datasetkit.core.remote import RemotePath
from datasetkit.core.results import Result
from datasetkit.export.publish.files import change_lines, sum_line
from datasetkit.export.publish.hub.adapter import Adapter
from datasetkit.export.publish.hub.built_dataset import BuiltDataset
from datasetkit.export.publish.hub.push import push
from datasetkit.export.publish.hub.repository import MAIN_BRANCH
from datasetkit.export.publish.hub.results import Plan, Pushed
from datasetkit.export.publish.store import push as store
from datasetkit.runtime.progress import OnProgress


@dataclass(frozen=True, slots=True)
class StorePush(Result):
    """What a push to an object store did, or would do.

    Args:
        sent: path and size in bytes of each file that the store has not, or has with other bytes.
        skipped: path and size in bytes of each file that it has.

    """

    url: str
    sent: tuple[tuple[str, int], ...]
    skipped: tuple[tuple[str, int], ...]
    deletions: tuple[str, ...]
    is_plan: bool

    def report(self) -> Iterator[str]:
        """Yield the sums; of a plan, each file before them."""
        if self.is_plan:
            yield from change_lines(self.sent, self.deletions)
        sent, skipped = ((len(files), sum(size for _, size in files)) for files in (self.sent, self.skipped))
        yield sum_line(sent, len(self.deletions), skipped, is_plan=self.is_plan)
        if not self.is_plan:
            yield self.url


def publish(
    folder: Path,
    repository: str,
    *,
    adapter: bool = False,
    dry_run: bool = False,
    on_progress: OnProgress | None = None,
    **for_hub: Any,
) -> Plan | Pushed | StorePush:
    """Publish a built folder, or a tuned adapter, which becomes a model repository.

    For the options see ``Built.push``; a store takes none of those ``for_hub``.

    Raises:
        OutputError: an option is for the Hub alone.
        DatasetkitError, OSError: what the push of that place raises.

    """
    place = as_place(repository)
    if isinstance(place, RemotePath):
        if adapter:
            raise OutputError(f"--adapter is for the Hub; {place} takes datasets alone")
        if for_hub.pop("create_pr", False) or any(option is not None for option in for_hub.values()):
            raise OutputError(
                "--private, --public, --revision, --tag, --token, --commit-message and --create-pr are for the Hub; "
                f"{place} has nothing like them"
            )
        done = (store.plan if dry_run else store.push)(folder, place, on_progress)
        sent, skipped = (tuple((file.path, file.size_bytes) for file in files) for files in (done.sent, done.skipped))
        return StorePush(str(place), sent, skipped, done.deletions, dry_run)
    read = Adapter.read if adapter else BuiltDataset.read
    for_hub["revision"] = for_hub.get("revision") or MAIN_BRANCH
    return push(folder, repository, read=read, dry_run=dry_run, on_progress=on_progress, **for_hub)

"""The one way to publish a folder, wherever to. Owns which options each place takes, and the account of a store's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datasetkit.core.errors import OutputError
from datasetkit.core.paths import as_place
from datasetkit.core.remote import RemotePath
from datasetkit.core.results import Result
from datasetkit.core.text import counted
from datasetkit.runtime.progress import OnProgress

if TYPE_CHECKING:
    from datasetkit.export.publish.hub.results import Plan, Pushed
    from datasetkit.export.publish.store.sending import Difference


@dataclass(frozen=True, slots=True)
class StorePush(Result):
    """What a push to an object store did, or would do.

    Args:
        place: the folder there.
        difference: what is sent, deleted and there already.
        is_plan: whether nothing was sent.

    """

    place: RemotePath
    difference: Difference
    is_plan: bool

    def report(self) -> Iterator[str]:
        """Yield what is sent and deleted, each file of a plan by itself."""
        from datasetkit.export.publish.files import change_lines, files_of

        change = self.difference
        sent, skipped = (
            files_of(len(files), sum(file.size_bytes for file in files)) for files in (change.sent, change.skipped)
        )
        deleted, one = counted(len(change.deletions), "file"), len(change.skipped) == 1
        if self.is_plan:
            yield from change_lines([(file.path, file.size_bytes) for file in change.sent], change.deletions)
            there = f"{skipped} {'is' if one else 'are'} there already"
            yield f"would send {sent} and delete {deleted}; {there}. Nothing was sent"
        else:
            yield f"sent {sent}, deleted {deleted}; {skipped} {'was' if one else 'were'} there already"
            yield str(self.place)

    def as_json(self) -> dict[str, Any]:
        """Return what is sent, deleted and there already, files with their bytes."""
        sent, skipped = (
            {file.path: file.size_bytes for file in files} for files in (self.difference.sent, self.difference.skipped)
        )
        deleted = list(self.difference.deletions)
        return {"is_plan": self.is_plan, "url": str(self.place), "sent": sent, "skipped": skipped, "deleted": deleted}


def publish(
    folder: Path,
    repository: str,
    *,
    adapter: bool = False,
    private: bool | None = None,
    revision: str | None = None,
    tag: str | None = None,
    token: str | None = None,
    commit_message: str | None = None,
    create_pr: bool = False,
    dry_run: bool = False,
    on_progress: OnProgress | None = None,
) -> Plan | Pushed | StorePush:
    """Publish a built folder, or a tuned adapter.

    Args:
        folder: what ``datasetkit build`` wrote, or the folder of an adapter.
        repository: ``user/name`` on the Hub, or a URI such as ``s3://bucket/prefix``.
        adapter: whether it is an adapter, which becomes a model repository.
        private: who may see a new repository on the Hub; None leaves it to the Hub.
        revision: branch on the Hub; None takes ``main``.
        tag: for the commit on the Hub.
        token: for the Hub; None takes the one that ``hf auth login`` stored, or ``HF_TOKEN``.
        commit_message: title of the commit on the Hub; None names what is pushed.
        create_pr: whether the commit is proposed as a pull request to ``main``.
        dry_run: whether nothing is sent.
        on_progress: called with stage, bytes done and bytes in all.

    Raises:
        OutputError: an option is for the Hub alone.
        DatasetkitError, OSError: see :func:`datasetkit.export.publish.hub.push.push` and
            :func:`datasetkit.export.publish.store.push.push`.

    """
    place = as_place(repository)
    if isinstance(place, RemotePath):
        if adapter:
            raise OutputError(f"--adapter is for the Hub; {place} takes datasets alone")
        if create_pr or any(option is not None for option in (private, revision, tag, token, commit_message)):
            raise OutputError(
                "--private, --public, --revision, --tag, --token, --commit-message and --create-pr are for the Hub; "
                f"{place} has nothing like them"
            )
        from datasetkit.export.publish.store import push as store

        return StorePush(place, (store.plan if dry_run else store.push)(folder, place, on_progress), dry_run)
    from datasetkit.export.publish.hub import push as hub
    from datasetkit.export.publish.hub.adapter import Adapter
    from datasetkit.export.publish.hub.built_dataset import BuiltDataset
    from datasetkit.export.publish.hub.repository import MAIN_BRANCH

    return (hub.plan if dry_run else hub.push)(
        folder,
        repository,
        read=Adapter.read if adapter else BuiltDataset.read,
        private=private,
        revision=revision or MAIN_BRANCH,
        tag=tag,
        token=token,
        commit_message=commit_message,
        create_pr=create_pr,
        on_progress=on_progress,
    )

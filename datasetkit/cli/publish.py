"""``datasetkit push``: publish a built folder, or a tuned adapter. Owns its progress bars and how a plan is printed."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from datasetkit.core.errors import OutputError
from datasetkit.core.text import counted

if TYPE_CHECKING:
    from datasetkit.core.remote import RemotePath
    from datasetkit.export.dataset.card.pushed import PushedCard
    from datasetkit.export.publish.files import LocalFile
    from datasetkit.export.publish.hub.push import Plan, Pushed
    from datasetkit.export.publish.store.sending import Difference


def push(
    folder: Annotated[Path, typer.Argument(help="Folder that a build wrote; with --adapter, of a tuned adapter.")],
    repository: Annotated[
        str, typer.Argument(metavar="USER/NAME|ADDRESS", help="Repository on the Hub, or s3://bucket/prefix.")
    ],
    adapter: Annotated[
        bool, typer.Option("--adapter", help="Publish an adapter as a model repository on the Hub.")
    ] = False,
    private: Annotated[
        bool | None,
        typer.Option(
            "--private/--public", help="Who may see a new repository.  [default: as the Hub has it]", show_default=False
        ),
    ] = None,
    revision: Annotated[
        str | None, typer.Option(metavar="BRANCH", help="Branch to push to; made if it is not there.  [default: main]")
    ] = None,
    tag: Annotated[str | None, typer.Option(help="Tag for the new commit; one of another commit is an error.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be sent, and send nothing.")] = False,
) -> None:
    """Publish a dataset on the Hugging Face Hub, in one commit, or in an object store such as S3.

    With --adapter, publish a tuned adapter on the Hub: weights, configuration, facts and card, and nothing else that
    lies in the folder.

    The token is the one that `hf auth login` stored, or HF_TOKEN. A push that was interrupted is made again by the same
    command and sends only what is missing. An object store has its credentials where its own tools look for them, as
    AWS_ACCESS_KEY_ID; AWS_ENDPOINT_URL names a store that is not Amazon's.
    """
    from datasetkit.core.paths import as_place
    from datasetkit.core.remote import RemotePath

    place = as_place(repository)
    if isinstance(place, RemotePath):
        if adapter:
            raise OutputError(f"--adapter is for the Hub; {place} takes datasets alone")
        if (private, revision, tag) != (None, None, None):
            raise OutputError(
                f"--private, --public, --revision and --tag are for the Hub; {place} has nothing like them"
            )
        lines = _push_remote(folder, place, dry_run=dry_run)
    else:
        lines = _push_to_hub(folder, repository, private, revision, tag, adapter=adapter, dry_run=dry_run)
    for line in lines:
        typer.echo(line)


def _push_to_hub(
    folder: Path,
    repository: str,
    private: bool | None,
    revision: str | None,
    tag: str | None,
    *,
    adapter: bool,
    dry_run: bool,
) -> Iterator[str]:
    from datasetkit.export.publish.hub.adapter import Adapter
    from datasetkit.export.publish.hub.built_dataset import BuiltDataset
    from datasetkit.export.publish.hub.push import plan, push
    from datasetkit.export.publish.hub.repository import MAIN_BRANCH

    branch = revision or MAIN_BRANCH
    read = Adapter.read if adapter else BuiltDataset.read
    with _bars() as show:
        if dry_run:
            return _plan_lines(
                plan(folder, repository, read=read, private=private, revision=branch, tag=tag, on_progress=show)
            )
        pushed = push(folder, repository, read=read, private=private, revision=branch, tag=tag, on_progress=show)
        return _pushed_lines(pushed, "is the folder's" if adapter else "names its address")


def _push_remote(folder: Path, place: RemotePath, *, dry_run: bool) -> Iterator[str]:
    from datasetkit.export.publish.store.push import plan, push

    with _bars() as show:
        if dry_run:
            return _difference_lines(plan(folder, place, show))
        return _sent_lines(push(folder, place, show), place)


def _difference_lines(difference: Difference) -> Iterator[str]:
    yield from _change_lines([(file.path, file.size_bytes) for file in difference.sent], difference.deletions)
    yield (
        f"would send {_files_of(difference.sent)} and delete {_files(len(difference.deletions))}; "
        f"{_files_of(difference.skipped)} {_are(len(difference.skipped))} there already. Nothing was sent"
    )


def _sent_lines(difference: Difference, place: RemotePath) -> Iterator[str]:
    yield (
        f"sent {_files_of(difference.sent)}, deleted {_files(len(difference.deletions))}; "
        f"{_files_of(difference.skipped)} {_were(len(difference.skipped))} there already"
    )
    yield str(place)


def _files_of(files: Sequence[LocalFile]) -> str:
    return f"{_files(len(files))} of {_size(sum(file.size_bytes for file in files))}"


def _change_lines(sent: Iterable[tuple[str, int]], deletions: Iterable[str]) -> Iterator[str]:
    for path, size in sent:
        yield f"send    {path}  {_size(size)}"
    for path in deletions:
        yield f"delete  {path}"


def _plan_lines(planned: Plan) -> Iterator[str]:
    if planned.creates_repository:
        yield f"make    repository {planned.repo_id}"
    if planned.creates_branch:
        yield f"make    branch {planned.revision}"
    yield from _change_lines(planned.sent, planned.deletions)
    yield from _kept_lines(planned.card)
    if planned.tag is not None:
        yield f"tag     {planned.tag}"
    sent, skipped = sum(size for _, size in planned.sent), sum(size for _, size in planned.skipped)
    yield (
        f"would send {_files(len(planned.sent))} of {_size(sent)} and delete {_files(len(planned.deletions))} in "
        f"{counted(planned.commits, 'commit')}; {_files(len(planned.skipped))} of "
        f"{_size(skipped)} {_are(len(planned.skipped))} there already. Nothing was sent"
    )


def _pushed_lines(pushed: Pushed, unmerged: str) -> Iterator[str]:
    yield (
        f"sent {_files(pushed.sent_files)} of {_size(pushed.sent_bytes)}, deleted {_files(pushed.deleted_files)}; "
        f"{_files(pushed.skipped_files)} of {_size(pushed.skipped_bytes)} {_were(pushed.skipped_files)} there already"
    )
    yield from _kept_lines(pushed.card)
    done = "is merged with the one that was there" if pushed.card.is_merged else unmerged
    yield f"commit {pushed.commit} holds the folder, compared file by file; the card {done}"
    if pushed.had_tag:
        yield "the tag was there already, at this commit"
    yield pushed.url


def _kept_lines(card: PushedCard) -> Iterator[str]:
    """Name what of the folder's card does not arrive."""
    for name in card.kept:
        yield f"keep    {name} of the card on the Hub; the folder's is another"


def _files(count: int) -> str:
    return counted(count, "file")


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def _were(count: int) -> str:
    return "was" if count == 1 else "were"


def _size(count: int) -> str:
    from rich.filesize import decimal

    return decimal(count)


@contextmanager
def _bars() -> Iterator[Callable[[str, int, int], None]]:
    """Show one bar a stage, by bytes; on Ctrl-C say how to go on."""
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    bars = Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True))
    tasks = {}
    stopped = threading.Event()

    def stop(*_: object) -> None:
        stopped.set()
        raise KeyboardInterrupt

    def show(stage: str, done: int, total: int) -> None:
        if stopped.is_set():
            raise KeyboardInterrupt  # a thread that sends a file would otherwise go on to its end
        if stage not in tasks:
            bars.start()
            tasks[stage] = bars.add_task(f"{stage:8}", total=total)
        bars.update(tasks[stage], completed=done)

    had_bars = not are_progress_bars_disabled()
    disable_progress_bars()
    former = signal.signal(signal.SIGINT, stop)
    try:
        yield show
    except KeyboardInterrupt:
        bars.stop()
        typer.echo("interrupted; what was sent is kept. Run the same command again to go on", err=True)
        raise typer.Exit(130) from None
    finally:
        signal.signal(signal.SIGINT, former)
        if bars.live.is_started:
            bars.stop()
        if had_bars:
            enable_progress_bars()

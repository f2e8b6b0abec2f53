"""``datasetkit push``: publish a built folder on the Hub. Owns its progress bars and how a plan is printed."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from export.hub import Plan, Pushed


def push(
    folder: Annotated[Path, typer.Argument(help="Folder that a build wrote.")],
    repository: Annotated[str, typer.Argument(metavar="USER/NAME", help="Dataset repository on the Hub.")],
    private: Annotated[
        bool | None,
        typer.Option(
            "--private/--public", help="Who may see a new repository.  [default: as the Hub has it]", show_default=False
        ),
    ] = None,
    revision: Annotated[
        str, typer.Option(metavar="BRANCH", help="Branch to push to; made if it is not there.")
    ] = "main",
    tag: Annotated[str | None, typer.Option(help="Tag for the new commit; one that is there is an error.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be sent, and send nothing.")] = False,
) -> None:
    """Publish a dataset on the Hugging Face Hub, in one commit.

    The token is the one that `hf auth login` stored, or HF_TOKEN. A push that was interrupted is made again by the same
    command and sends only what is missing.
    """
    from export.hub import plan
    from export.hub import push as push_folder

    with _bars() as show:
        if dry_run:
            planned = plan(folder, repository, private=private, revision=revision, tag=tag, on_progress=show)
        else:
            pushed = push_folder(folder, repository, private=private, revision=revision, tag=tag, on_progress=show)
    for line in _plan_lines(planned) if dry_run else _pushed_lines(pushed):
        typer.echo(line)


def _plan_lines(planned: Plan) -> Iterator[str]:
    if planned.creates_repository:
        yield f"make    repository {planned.repo_id}"
    if planned.creates_branch:
        yield f"make    branch {planned.revision}"
    for path, size in planned.sent:
        yield f"send    {path}  {_size(size)}"
    for path in planned.deletions:
        yield f"delete  {path}"
    if planned.tag is not None:
        yield f"tag     {planned.tag}"
    sent, skipped = sum(size for _, size in planned.sent), sum(size for _, size in planned.skipped)
    yield (
        f"would send {_files(len(planned.sent))} of {_size(sent)} and delete {_files(len(planned.deletions))} in "
        f"{planned.commits} commit{'' if planned.commits == 1 else 's'}; {_files(len(planned.skipped))} of "
        f"{_size(skipped)} are there already. Nothing was sent"
    )


def _pushed_lines(pushed: Pushed) -> Iterator[str]:
    yield (
        f"sent {_files(pushed.sent_files)} of {_size(pushed.sent_bytes)}, deleted {_files(pushed.deleted_files)}; "
        f"{_files(pushed.skipped_files)} of {_size(pushed.skipped_bytes)} were there already"
    )
    yield f"commit {pushed.commit} holds the folder, compared file by file"
    yield pushed.url


def _files(count: int) -> str:
    return f"{count:,} file{'' if count == 1 else 's'}"


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

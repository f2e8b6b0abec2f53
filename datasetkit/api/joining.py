"""``datasetkit.report``. Owns the way from result folders to one page."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING

from datasetkit.core.errors import BuiltFolderError
from datasetkit.core.pages import check_page
from datasetkit.options.head_commands import ReportCommand

if TYPE_CHECKING:
    from datasetkit.hi_scoring.joined.terminal import JoinedReport


def report(
    *folders: str | PathLike[str] | Sequence[str | PathLike[str]], out: str | PathLike[str] = "report.html"
) -> JoinedReport:
    """Summarize all results of a model on one page, with a verdict on each claim of the papers.

    Args:
        folders: result folders of one model, written by :func:`datasetkit.score`, ``knockout``, ``ablate``,
            ``sparsify``, ``compare`` or ``tune``.
        out: HTML file to write; a page that datasetkit wrote is replaced.

    Returns:
        the claims, and the evidence on each.

    Raises:
        BuiltFolderError: a folder contains no results, or unfinished ones.
        RecipeError: the folders belong to different models, or one is given twice.
        OutputError: ``out`` is something else than a page of datasetkit.

    Example:
        >>> dk.report("scores", "ablated").claims[0].answer
        'holds'

    """
    every = [one for item in folders for one in (item if isinstance(item, list | tuple) else [item])]
    return run_report(ReportCommand.checked({"folders": every, "out": out}))


def run_report(command: ReportCommand) -> JoinedReport:
    """Run a report command; see :func:`report`."""
    for folder in command.folders:
        if not folder.is_dir():
            raise BuiltFolderError(
                f"there is no folder {folder}; give result folders, such as those of score or ablate"
            )
    from datasetkit.hi_scoring.joined.claims import claims
    from datasetkit.hi_scoring.joined.folders import read_folders
    from datasetkit.hi_scoring.joined.page import write_page
    from datasetkit.hi_scoring.joined.terminal import JoinedReport

    check_page(command.out, "report.html")
    found = read_folders(command.folders)
    verdicts = claims(found)
    command.out.parent.mkdir(parents=True, exist_ok=True)
    write_page(command.out, found, verdicts)
    return JoinedReport(command.out, verdicts)

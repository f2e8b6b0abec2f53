"""``datasetkit.report``. Owns the way from folders of results to one page."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING

from datasetkit.core.errors import BuiltFolderError
from datasetkit.options.head_commands import ReportCommand

if TYPE_CHECKING:
    from datasetkit.hi_scoring.joined.terminal import JoinedReport


def report(
    *folders: str | PathLike[str] | Sequence[str | PathLike[str]], out: str | PathLike[str] = "report.html"
) -> JoinedReport:
    """Join all that was measured of a model into one page, with a verdict on each claim of the papers.

    Args:
        folders: results of one model, as :func:`datasetkit.score`, ``knockout``, ``ablate``, ``sparsify``, ``compare``
            or ``tune`` wrote them.
        out: the page; one that datasetkit wrote is replaced.

    Returns:
        the claims, and what was found of each.

    Raises:
        BuiltFolderError: a folder holds no results, or unfinished ones.
        RecipeError: the folders are of different models, or one was given twice.
        OutputError: something else is there.

    Example:
        >>> dk.report("scores", "ablated").claims[0].answer
        'holds'

    """
    every = [one for item in folders for one in (item if isinstance(item, list | tuple) else [item])]
    return run_report(ReportCommand.checked({"folders": every, "out": out}))


def run_report(command: ReportCommand) -> JoinedReport:
    """Write the page as a command says; see :func:`report`."""
    for folder in command.folders:
        if not folder.is_dir():
            raise BuiltFolderError(f"there is no folder {folder}; give folders that score, ablate and the like wrote")
    from datasetkit.hi_scoring.joined.claims import claims
    from datasetkit.hi_scoring.joined.folders import read_folders
    from datasetkit.hi_scoring.joined.page import write_page
    from datasetkit.hi_scoring.joined.terminal import JoinedReport
    from datasetkit.hi_scoring.report.pages import check_place

    check_place(command.out)
    found = read_folders(command.folders)
    verdicts = claims(found)
    command.out.parent.mkdir(parents=True, exist_ok=True)
    write_page(command.out, found, verdicts)
    return JoinedReport(command.out, verdicts)

"""``datasetkit.score``. Owns the way from options to head scores and their page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from datasetkit.api.opening import (
    Model,
    Out,
    check_inputs,
    check_names,
    folder_of,
    given,
    open_model,
    open_rows,
    silent,
    tell,
    toyworld_warning,
)
from datasetkit.core.errors import RecipeError
from datasetkit.options.head_commands import ScoreCommand
from datasetkit.options.heads import SCORES, ScoreOptions
from datasetkit.runtime.progress import OnProgress

if TYPE_CHECKING:
    from datasetkit.api.opening import Rows
    from datasetkit.hi_scoring.data.datasets import Data
    from datasetkit.hi_scoring.scores.report.terminal import ScoreResult

_HEADS_DRAWN = 5
_SAMPLES_DRAWN = 4


def score(
    model: Model, data: Rows, out: Out = None, *, on_progress: OnProgress | None = None, **options: Any
) -> ScoreResult | None:
    """Score every attention head of a model by how much it attends to the objects that texts name.

    If interrupted, the same call resumes. Started by torchrun or ``accelerate launch``, processes share the work.

    Args:
        model: Hub id, local folder or ``toyworld:vlm``; or a loaded image-text-to-text model, in evaluation mode,
            with its processor, as a pair, identified by class and SHA-256 of the parameters.
        data: a built folder, ``user/name[@revision]`` on the Hub, a ``datasets.Dataset``, or a list of dictionaries
            with ``image`` (PIL image, array, bytes or path), ``text`` and ``masks``, each of shape (height, width).
        out: folder for scores, tables and page; ``scores/MODEL--DATA`` by default.
        on_progress: called with the stage, the number of finished rows, and their total number.
        **options: fields of :class:`~datasetkit.options.head_commands.ScoreCommand`.

    Returns:
        scores of shape (samples, layers, heads) by score and positions, with rankings and tables; None in all
        processes except the first.

    Raises:
        RecipeError: there is no such option, or a value is out of range.
        ModelError: the model cannot be loaded, or its family is unknown.
        SourceError: the rows cannot be loaded, or lack a column.
        OutputError: the folder contains other results, or no row could be scored.
        PluginError: a family or score of a plug-in failed.

    Example:
        >>> scores = dk.score("toyworld:vlm", "out/scenes", limit=60)
        >>> scores.top(2)
        [Head(layer=2, head=6), Head(layer=3, head=7)]

    """
    return run_score(ScoreCommand.checked(given(model, data, out, options)), on_progress or silent)


def run_score(command: ScoreCommand, on_progress: OnProgress) -> ScoreResult | None:
    """Run a scoring command; see :func:`score`."""
    check_inputs(command)
    check_names(SCORES, *command.scores)
    from datasetkit.hi_scoring.runs.drops import read_drops
    from datasetkit.hi_scoring.scores.dataset_scores import looked_at, score_dataset
    from datasetkit.hi_scoring.scores.report.gallery import panel
    from datasetkit.hi_scoring.scores.report.page import write_page
    from datasetkit.hi_scoring.scores.report.terminal import ScoreResult

    subject, options, by = open_model(command), command.part(ScoreOptions), command.ranking
    rows = open_rows(subject, command.data, command.split, command.limit, ("score",), "train")
    _check_phrases(rows, command)
    folder = folder_of(command, "scores", subject, rows.identity.name)
    scores = score_dataset(
        subject,
        rows,
        options,
        folder,
        batch=command.batch,
        overwrite=command.overwrite,
        on_progress=lambda done: on_progress("scoring", done, len(rows)),
    )
    if scores is None:
        return None
    heads = scores.top(min(command.top, _HEADS_DRAWN), by)
    if not heads:
        raise RecipeError(f"--by {by}: no sample has this score; the scores are in {folder}, rank them by another one")
    looked = looked_at(subject, rows, options, heads, _SAMPLES_DRAWN, by.partition(":")[2])
    found = ScoreResult.load(folder, by, command.top)
    panels = [panel(one, heads) for one in looked]
    caution = toyworld_warning(subject, rows.identity.name, is_rendered=rows.is_rendered)
    write_page(found.page, found, by=by, top=command.top, panels=panels, drops=read_drops(folder), caution=caution)
    return found


def _check_phrases(rows: Data, command: ScoreCommand) -> None:
    """Refuse a ranking by phrases if no row has any, before the model is loaded; without such a ranking, log it."""
    if rows.has_phrases or "phrase" not in command.positions:
        return
    missing = f"no row of {rows.identity.name} has phrases (it lacks the columns objects and phrases)"
    if command.ranking.endswith(":phrase"):
        raise RecipeError(f"--by {command.ranking}: {missing}; give other positions")
    tell(f"phrase: {missing}")

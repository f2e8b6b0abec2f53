"""``datasetkit.tune`` and ``compare``. Owns the way from options to tuned adapters, tables and page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datasetkit.api.opening import (
    Model,
    Out,
    check_inputs,
    folder_of,
    given,
    namer_of,
    open_model,
    open_rows,
    read_examples_of,
    silent,
    tell,
)
from datasetkit.options.head_commands import CompareCommand, TuneCommand, TuningCommand
from datasetkit.options.heads import AdapterOptions, TextOptions, TrainingOptions, WritingOptions
from datasetkit.runtime.launcher import is_first_process
from datasetkit.runtime.packages import PEFT, PYCOCOEVALCAP, require
from datasetkit.runtime.progress import OnProgress

if TYPE_CHECKING:
    from datasetkit.api.opening import Rows
    from datasetkit.hi_scoring.comparison.bench import Bench
    from datasetkit.hi_scoring.comparison.report.terminal import ComparisonResult
    from datasetkit.hi_scoring.comparison.trials import Trial

# Names of rows for users; those of test rows are also names in results.
_TRAIN, _VALIDATION = "train", "validation"
_RECORDS_SHOWN = 4


def tune(
    model: Model, data: Rows, out: Out = None, *, on_progress: OnProgress | None = None, **options: Any
) -> ComparisonResult | None:
    """Tune an adapter on the layers or heads that matter, and test the model before and after.

    If interrupted, the same call resumes. Started by torchrun or ``accelerate launch``, processes train together.

    Arguments and errors are those of :func:`datasetkit.score`, with the fields of
    :class:`~datasetkit.options.head_commands.TuneCommand`, of which ``select`` is required; also a
    MissingPackageError if peft or pycocoevalcap does not work here. A copy of the model is tuned. The default folder is
    ``tuned/MODEL--DATA``.

    Returns:
        metrics of the untuned and the tuned model; the adapter is in ``cells/NAME/adapter`` of the folder. None in all
        processes except the first.

    Example:
        >>> found = dk.tune("toyworld:vlm", "out/scenes", select="top-layers:1", scores="scores", steps=50)
        >>> found.shifts[["metric", "group", "shift"]].tail(1)

    """
    return run_tune(TuneCommand.checked(given(model, data, out, options)), on_progress or silent)


def compare(
    model: Model, data: Rows, out: Out = None, *, on_progress: OnProgress | None = None, **options: Any
) -> ComparisonResult | None:
    """Tune several selections with several seeds, and compare their shifts from the untuned model.

    If interrupted, the same call resumes; more selections or seeds are added to earlier results.

    Arguments and errors are those of :func:`tune`, with the fields of
    :class:`~datasetkit.options.head_commands.CompareCommand`, of which ``select`` is required, a list of selections.

    Returns:
        metrics, shifts and contrasts of all selections; None in all processes except the first, and until all shards of
        the work are done.

    Example:
        >>> found = dk.compare("toyworld:vlm", "out/scenes", select=["top-layers:1", "all"], scores="scores", seeds=[0])
        >>> list(found.groups)
        ['top-layers:1', 'all']

    """
    return run_compare(CompareCommand.checked(given(model, data, out, options)), on_progress or silent)


def run_tune(command: TuneCommand, on_progress: OnProgress) -> ComparisonResult | None:
    """Run a tuning command; see :func:`tune`."""
    return _run(command, (command.select,), (command.seed,), (0, 1), "datasetkit tune", on_progress)


def run_compare(command: CompareCommand, on_progress: OnProgress) -> ComparisonResult | None:
    """Run a comparison command; see :func:`compare`."""
    number, processes = map(int, command.shard.split("/"))
    shard = number - 1, processes
    return _run(command, command.select, command.seeds, shard, "datasetkit compare", on_progress)


def _run(
    command: TuningCommand,
    selections: Sequence[str],
    seeds: Sequence[int],
    shard: tuple[int, int],
    name: str,
    on_progress: OnProgress,
) -> ComparisonResult | None:
    rankings = [] if command.scores is None else [command.by]
    tested = command.data if command.test is None else command.test
    more = [(tested, command.test_split), (command.data, command.validation_split)]
    more += [] if command.forgetting is None else [(command.forgetting, command.forgetting_split)]
    check_inputs(command, command.scores, rankings, selections, more)
    require("tuning", PEFT, PYCOCOEVALCAP)
    from datasetkit.hi_scoring.comparison.compare import compare as run_trials

    bench, trials = _opened(command, selections, seeds, on_progress)
    folder = folder_of(command, "tuned", bench.subject)
    found = run_trials(bench, trials, folder, name, shard=shard, overwrite=command.overwrite, on_progress=on_progress)
    if found is None:
        tell(f"this shard is done; the report is written to {folder} when all shards are")
    return None if found is None or not is_first_process() else _written(folder, bench)


def _opened(
    command: TuningCommand, selections: Sequence[str], seeds: Sequence[int], on_progress: OnProgress
) -> tuple[Bench, list[Trial]]:
    """Open everything that the options name, and read all rows, without computing anything.

    Checks that do not need the rows come before they are read.
    """
    from datasetkit.hi_scoring.comparison.bench import Bench, Ranking, check_trials, selector_of
    from datasetkit.hi_scoring.comparison.trials import trials_of
    from datasetkit.hi_scoring.scores.results import HeadScores

    adapter, training, subject = command.part(AdapterOptions), command.part(TrainingOptions), open_model(command)
    reduce = int(command.layer_score) if command.layer_score.isdecimal() else command.layer_score
    ranking = None if command.scores is None else Ranking(HeadScores.load(command.scores), command.by, reduce)
    trials = trials_of(selections, seeds, selector_of(subject, ranking))
    check_trials(trials, subject, adapter, training)
    # Rows, split, limit, and the default split.
    wanted = {_TRAIN: (command.data, command.split, command.limit, "train")}
    if command.validation_split is not None:
        wanted[_VALIDATION] = (command.data, command.validation_split, None, "test")
    tested = command.data if command.test is None else command.test
    wanted["test"] = (tested, command.test_split, command.test_limit, "test")
    if command.forgetting is not None:
        wanted["forgetting"] = (command.forgetting, command.forgetting_split, command.test_limit, "test")
    rows = {
        name: open_rows(subject, data, split, limit, command.tasks, usual, name=name)
        for name, (data, split, limit, usual) in wanted.items()
    }
    examples = {
        name: read_examples_of(command, one, subject, on_progress, name, is_held=name not in (_TRAIN, _VALIDATION))
        for name, one in rows.items()
    }
    bench = Bench(
        subject=subject,
        train=examples.pop(_TRAIN),
        validation=examples.pop(_VALIDATION, None),
        tests=examples,
        ranking=ranking,
        texts=command.part(TextOptions),
        adapter=adapter,
        training=training,
        writing=command.part(WritingOptions),
        namer=namer_of(*(one for name, one in rows.items() if name != _VALIDATION)),
        batch=command.test_batch,
    )
    return bench, trials


def _written(folder: Path, bench: Bench) -> ComparisonResult:
    """Write tables and pages of all finished cells."""
    from datasetkit.hi_scoring.comparison.report.markdown import write_markdown
    from datasetkit.hi_scoring.comparison.report.page import write_page
    from datasetkit.hi_scoring.comparison.report.predictions import side_by_side
    from datasetkit.hi_scoring.comparison.report.terminal import ComparisonResult
    from datasetkit.hi_scoring.comparison.table import write_tables
    from datasetkit.options.base import plain

    found, description = ComparisonResult.load(folder), plain(bench.description())
    write_tables(folder, found.shifts, found.contrasts)
    write_markdown(folder / "comparison.md", found, found.shifts, found.contrasts, description)
    asked = side_by_side(folder, found, _RECORDS_SHOWN)
    write_page(found.page, found, found.shifts, found.contrasts, description, asked)
    return found

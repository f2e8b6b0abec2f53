"""``datasetkit.knockout``, ``ablate`` and ``sparsify``. Owns the way from options to results of interventions."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datasetkit.api.opening import (
    Model,
    Out,
    check_inputs,
    folder_of,
    given,
    is_table,
    namer_of,
    open_model,
    open_rows,
    read_examples_of,
    silent,
    tell,
    warn_of_toyworld,
)
from datasetkit.core.errors import RecipeError
from datasetkit.options.head_commands import AblateCommand, KnockoutCommand, SparsifyCommand
from datasetkit.options.heads import AblationOptions, KnockoutOptions, SparsityOptions, TextOptions, WritingOptions
from datasetkit.runtime.packages import PYCOCOEVALCAP, require
from datasetkit.runtime.progress import OnProgress

if TYPE_CHECKING:
    from datasetkit.api.opening import Rows
    from datasetkit.hi_scoring.ablation.results import Ablations
    from datasetkit.hi_scoring.interventions.knockout_results import Knockouts
    from datasetkit.hi_scoring.interventions.questions import Questions
    from datasetkit.hi_scoring.model.subject import Subject
    from datasetkit.hi_scoring.sparse.folder import Sparsity


def knockout(
    model: Model, data: Rows, out: Out = None, *, on_progress: OnProgress | None = None, **options: Any
) -> Knockouts:
    """Block attention between sets of tokens around each layer, and measure how far the answer's probability falls.

    If interrupted, the same call resumes. Arguments and errors are those of :func:`datasetkit.score`, with the fields
    of :class:`~datasetkit.options.head_commands.KnockoutCommand`. Rows have ``questions``, or the data are a .csv or
    .parquet table with the columns image, question and answer. The default folder is ``knockouts/MODEL--DATA``.

    Returns:
        tables per question, flow and layer, and curves over layers.

    Example:
        >>> found = dk.knockout("toyworld:vlm", "out/scenes", window=1, flows="image->last,question->last")
        >>> found.tables.curves[["flow", "layer", "change"]].head(1)

    """
    return run_knockout(KnockoutCommand.checked(given(model, data, out, options)), on_progress or silent)


def run_knockout(command: KnockoutCommand, on_progress: OnProgress) -> Knockouts:
    """Run a knockout command; see :func:`knockout`."""
    if is_table(command.data) and command.split is not None:
        raise RecipeError(f"--split {command.split}: the table {command.data} has no splits; leave it out")
    check_inputs(command)
    from datasetkit.hi_scoring.interventions.knockout_results import Knockouts
    from datasetkit.hi_scoring.interventions.knockout_run import knockout_dataset

    subject = open_model(command)
    questions = _questions(command, subject)
    name = Path(command.data).stem if is_table(command.data) else questions.identity.name
    folder = folder_of(command, "knockouts", subject, name)
    if command.window >= subject.shape[0]:
        tell(
            f"--window {command.window}: the model has {subject.shape[0]} layers, so most are blocked around each "
            "layer; a narrower window locates the flow of information",
            logging.WARNING,
        )
    knockout_dataset(
        subject,
        questions,
        command.part(KnockoutOptions),
        folder,
        batch=command.batch,
        overwrite=command.overwrite,
        on_progress=lambda done: on_progress("blocking", done, len(questions)),
    )
    return Knockouts.load(folder)


def _questions(command: KnockoutCommand, subject: Subject) -> Questions:
    from datasetkit.hi_scoring.interventions.question_tables import read_question_table
    from datasetkit.hi_scoring.interventions.questions import read_questions

    if is_table(command.data):
        questions = read_question_table(Path(command.data), command.question_prompt, command.limit)
        warn_of_toyworld(subject, questions.identity.name, is_rendered=False)
    else:
        rows = open_rows(subject, command.data, command.split, command.limit, ("vqa",))
        questions = read_questions(rows, command.question_prompt)
    tell(f"questions: {len(questions):,} of {questions.identity.name}")
    return questions


def ablate(
    model: Model, data: Rows, out: Out = None, *, on_progress: OnProgress | None = None, **options: Any
) -> Ablations:
    """Ablate the highest-ranked, the lowest-ranked and random heads, and measure descriptions and answers.

    If interrupted, the same call resumes; more rankings, modes or doses are added to earlier results.

    Arguments and errors are those of :func:`datasetkit.score`, with the fields of
    :class:`~datasetkit.options.head_commands.AblateCommand`, of which ``scores`` (a folder of that function) or
    ``table`` ranks the heads. The default folder is ``ablated/MODEL--DATA``.

    Returns:
        dose curves of every metric, and contrasts of top heads with random heads of the same layers.

    Example:
        >>> found = dk.ablate("toyworld:vlm", "out/scenes", scores="scores", by="ram:response", modes="zero")
        >>> found.contrasts[["metric", "heads", "p_holm"]].head(1)

    """
    return run_ablate(AblateCommand.checked(given(model, data, out, options)), on_progress or silent)


def run_ablate(command: AblateCommand, on_progress: OnProgress) -> Ablations:
    """Run an ablation command; see :func:`ablate`."""
    check_inputs(command, command.scores, command.rankings)
    if "caption" in command.tasks:
        require("comparing captions", PYCOCOEVALCAP)
    from datasetkit.hi_scoring.ablation.ablate import ablate as ablate_heads
    from datasetkit.hi_scoring.ablation.bench import Bench
    from datasetkit.hi_scoring.ablation.plan import Plan
    from datasetkit.hi_scoring.ablation.rankings import Ranking
    from datasetkit.hi_scoring.ablation.results import Ablations
    from datasetkit.hi_scoring.scores.results import HeadScores

    subject, rankings = open_model(command), []
    if command.scores is not None:
        scores = HeadScores.load(command.scores)
        rankings = [Ranking.of_scores(scores, by, subject.identity, subject.shape) for by in command.rankings]
    if command.table is not None:
        rankings.append(Ranking.of_table(command.table, subject.identity, subject.shape))
    plan = Plan.of(rankings, command.part(AblationOptions), subject.shape)
    rows = open_rows(subject, command.data, command.split, command.limit, command.tasks)
    tell(f"conditions: {len({trial.condition.name for trial in plan.trials}):,}, and the unchanged model")
    examples = read_examples_of(command, rows, subject, on_progress)
    ranked = [ranking.name for ranking in rankings if rows.identity.shares_rows(ranking.source.get("data", {}))]
    if ranked:
        tell(
            f"heads were scored by {', '.join(ranked)} on the same rows, so they are chosen and tested on "
            "the same data; score another split",
            logging.WARNING,
        )
    bench = Bench(
        subject=subject,
        examples=examples,
        texts=command.part(TextOptions),
        writing=command.part(WritingOptions),
        namer=namer_of(rows),
        seed=command.seed,
        batch=command.batch,
    )
    folder = folder_of(command, "ablated", subject)
    ablate_heads(bench, plan, folder, overwrite=command.overwrite, on_progress=on_progress)
    return Ablations.load(folder)


def sparsify(
    model: Model, data: Rows, out: Out = None, *, on_progress: OnProgress | None = None, **options: Any
) -> Sparsity:
    """Plan a sparse prefill in which few heads keep full attention, and measure time, memory and quality.

    The dense model, the plan, and plans that keep random heads are compared. If interrupted, the same call resumes;
    more draws are added to earlier results.

    Arguments and errors are those of :func:`datasetkit.score`, with the fields of
    :class:`~datasetkit.options.head_commands.SparsifyCommand`, of which ``scores`` is required, a folder of that
    function; also a ModelError if the kernel does not work here. The default folder is ``sparse/MODEL--DATA``.

    Returns:
        the plan, and costs and quality of dense and sparse prefill.

    Example:
        >>> found = dk.sparsify("toyworld:vlm", "out/scenes", scores="scores", window=8)
        >>> len(found.plan.kept)
        2

    """
    return run_sparsify(SparsifyCommand.checked(given(model, data, out, options)), on_progress or silent)


def run_sparsify(command: SparsifyCommand, on_progress: OnProgress) -> Sparsity:
    """Run a sparsity command; see :func:`sparsify`."""
    check_inputs(command, command.scores, [command.by])
    if "caption" in command.tasks:
        require("comparing captions", PYCOCOEVALCAP)
    import torch

    from datasetkit.hi_scoring.scores.results import HeadScores
    from datasetkit.hi_scoring.sparse.bench import Bench
    from datasetkit.hi_scoring.sparse.conditions import conditions_of
    from datasetkit.hi_scoring.sparse.folder import Sparsity
    from datasetkit.hi_scoring.sparse.kernels import check_kernel, head_width

    subject, options = open_model(command), command.part(SparsityOptions)
    check_kernel(command.kernel, torch.device(subject.torch_device), head_width(subject.config))
    scores = HeadScores.load(command.scores)
    conditions = conditions_of(scores, subject.identity, subject.shape, options, command.draws)
    rows = open_rows(subject, command.data, command.split, command.limit, command.tasks)
    bench = Bench(
        subject=subject,
        examples=read_examples_of(command, rows, subject, on_progress),
        scores=scores,
        options=options,
        texts=command.part(TextOptions),
        writing=command.part(WritingOptions),
        namer=namer_of(rows),
        kernel=command.kernel,
        batch=command.batch,
    )
    folder = folder_of(command, "sparse", subject)
    bench.run(conditions, folder, overwrite=command.overwrite, on_progress=on_progress)
    return Sparsity.load(folder)

"""``datasetkit knockout``: which way information flows through a model. Owns its options and what it prints."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from datasetkit.cli.options import (
    FEW_SAMPLES,
    ON_A_PAGE,
    ModelName,
    check_dtype,
    check_revision,
    name_of,
    names_in,
    options_of,
)
from datasetkit.cli.progress import stage_line
from datasetkit.core.errors import RecipeError

if TYPE_CHECKING:
    from datasetkit.hi_scoring.interventions.knockout_results import Knockouts
    from datasetkit.hi_scoring.interventions.questions import Questions


def knockout(
    model: ModelName,
    data: Annotated[
        str,
        typer.Option(
            metavar="FOLDER|USER/NAME[@REVISION]|TABLE",
            help="Rows with closed questions, or a .csv or .parquet of image, question and answer.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for the results.  [default: knockouts/MODEL--DATA]", show_default=False),
    ] = None,
    split: Annotated[str | None, typer.Option(help="Split to ask.  [default: test, or the only one]")] = None,
    revision: Annotated[str | None, typer.Option(help="Commit, tag or branch of the model on the Hub.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Ask the first N rows only.")] = None,
    flows: Annotated[
        str | None,
        typer.Option(
            metavar="SOURCE->TARGET,...",
            help="Of the sets image, key object, image without key object, question, options, last.  [default: nine]",
            show_default=False,
        ),
    ] = None,
    window: Annotated[int, typer.Option(min=1, help="Layers around each layer in which a flow is blocked.")] = 9,
    heads: Annotated[
        str | None,
        typer.Option(metavar="LAYER.HEAD,...", help="Block these heads only.  [default: all]", show_default=False),
    ] = None,
    question_prompt: Annotated[
        str, typer.Option(help="How a question is put, of {question} and {options}.")
    ] = "{question}",
    only_correct: Annotated[
        bool, typer.Option("--only-correct/--all", help="Leave out questions that the model answers wrong.")
    ] = True,
    answer_tokens: Annotated[int, typer.Option(min=1, help="Longest answer.")] = 8,
    seed: Annotated[int, typer.Option(min=0, help="Of the random edges that each flow is compared with.")] = 0,
    batch: Annotated[
        int, typer.Option(min=1, help="Blocked copies of a question at once; halved when memory runs out.")
    ] = 16,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, mps, cuda:1 ...")] = "auto",
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or float16.")] = "float32",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace finished results in the folder.")] = False,
) -> None:
    """Block the attention from some tokens to others around each layer, and see how far the answer's probability falls.

    Interrupted, the same command goes on.
    """
    from datasetkit.hi_scoring.interventions.knockout_run import knockout_dataset
    from datasetkit.hi_scoring.interventions.options import KnockoutOptions
    from datasetkit.hi_scoring.model.subject import Subject

    chosen = {} if flows is None else {"flows": names_in(flows)}
    options = options_of(
        KnockoutOptions,
        window=window,
        heads=_heads(heads),
        only_correct=only_correct,
        answer_tokens=answer_tokens,
        seed=seed,
        **chosen,
    )
    check_dtype(dtype)
    check_revision(model, revision)
    questions = _questions(data, split, limit, question_prompt)
    typer.echo(f"questions: {len(questions):,} of {questions.identity.name}", err=True)
    asked = Path(data).stem if _is_table(data) else questions.identity.name
    folder = out or Path("knockouts") / f"{name_of(model)}--{name_of(asked)}"
    subject = Subject(model, revision, device, dtype)
    if window >= subject.shape[0]:
        typer.echo(
            f"--window {window}: the model has {subject.shape[0]} layers, so most are blocked around each of them; a "
            "narrower window tells where information flows",
            err=True,
        )
    with stage_line(shown=True) as show:
        found = knockout_dataset(
            subject,
            questions,
            options,
            folder,
            batch=batch,
            overwrite=overwrite,
            on_progress=lambda done: show("blocking", done, len(questions)),
        )
    _report(found, folder)


def _questions(data: str, split: str | None, limit: int | None, question_prompt: str) -> Questions:
    from datasetkit.hi_scoring.data.datasets import ASKED, open_data
    from datasetkit.hi_scoring.interventions.question_tables import read_question_table
    from datasetkit.hi_scoring.interventions.questions import read_questions
    from datasetkit.hi_scoring.model.options import TextOptions

    template = options_of(TextOptions, question_prompt=question_prompt).question_prompt
    if not _is_table(data):
        return read_questions(open_data(data, split, limit, ASKED, "test"), template)
    if split is not None:
        raise RecipeError(f"--split {split}: the table {data} has no splits; leave it out")
    return read_question_table(Path(data), template, limit)


def _is_table(data: str) -> bool:
    from datasetkit.hi_scoring.interventions.question_tables import TABLE_SUFFIXES

    return Path(data).suffix in TABLE_SUFFIXES and not Path(data).is_dir()


def _heads(text: str | None) -> tuple[tuple[int, int], ...] | None:
    if text is None:
        return None
    heads = []
    for one in text.split(","):
        layer, _, head = one.strip().partition(".")
        if not (layer.isdecimal() and head.isdecimal()):
            raise RecipeError(f"--heads {text}: give layers and heads, both from 0, as 2.6,3.7")
        heads.append((int(layer), int(head)))
    return tuple(heads)


def _report(found: Knockouts, folder: Path) -> None:
    from datasetkit.cli.tables import print_tables
    from datasetkit.hi_scoring.interventions.terminal import knockout_tables
    from datasetkit.hi_scoring.runs.drops import read_drops

    print_tables(knockout_tables(found))
    counts = found.facts["counts"]
    if wrong := counts["questions"] - counts["blocked"]:
        typer.echo(f"left out  {wrong:,} of {counts['questions']:,} questions: the model answers them wrong")
    for reason, count in Counter(drop.reason for drop in read_drops(folder)).most_common():
        typer.echo(f"dropped   {count:,}: {reason} ({reason.explanation})")
    if counts["blocked"] < FEW_SAMPLES:
        typer.echo(f"few questions  {counts['blocked']}: intervals say little below some {FEW_SAMPLES}")
    typer.echo(f"wrote {folder} (knockouts of {counts['blocked']:,} questions)")
    typer.echo(ON_A_PAGE)

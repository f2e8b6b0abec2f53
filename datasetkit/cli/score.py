"""``datasetkit score``: how much each head looks at the key objects. Owns its options and what it prints."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from datasetkit.cli.options import FEW_SAMPLES, ModelName, check_dtype, check_revision, name_of, names_in, options_of
from datasetkit.cli.progress import stage_line
from datasetkit.core.errors import RecipeError
from datasetkit.core.text import counted

if TYPE_CHECKING:
    from datasetkit.hi_scoring.data.datasets import Data
    from datasetkit.hi_scoring.model.subject import Subject
    from datasetkit.hi_scoring.scores.options import ScoreOptions
    from datasetkit.hi_scoring.scores.results import HeadScores

_HEADS_DRAWN = 5
_SAMPLES_DRAWN = 4


def score(
    model: ModelName,
    data: Annotated[
        str,
        typer.Option(
            metavar="FOLDER|USER/NAME[@REVISION]",
            help="Built folder, dataset on the Hub, or any rows with image, text and masks.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(help="Folder for the results.  [default: scores/MODEL--DATA]", show_default=False)
    ] = None,
    split: Annotated[str | None, typer.Option(help="Split to score on.  [default: train, or the only one]")] = None,
    revision: Annotated[str | None, typer.Option(help="Commit, tag or branch of the model on the Hub.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Score the first N rows only.")] = None,
    positions: Annotated[
        str, typer.Option(help="Tokens whose attention counts: response, phrase, last, generated; comma-separated.")
    ] = "response,phrase,last",
    by: Annotated[
        str | None,
        typer.Option(
            metavar="SCORE:POSITIONS",
            help="What heads and layers are ranked by.  [default: hi at the first of the positions]",
            show_default=False,
        ),
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="Heads to list and to draw.")] = 10,
    prompt: Annotated[str, typer.Option(help="What the model is asked.")] = "Describe the picture.",
    convention: Annotated[str, typer.Option(help="Row of a token: predicting (before it) or at (its own).")] = (
        "predicting"
    ),
    binarisation: Annotated[
        str, typer.Option(help="How attention becomes a mask: top_area, mean, quantile or otsu.")
    ] = "top_area",
    evidence: Annotated[str, typer.Option(help="Evidence tokens of RAM: binary, or weighted by coverage.")] = "binary",
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Longest text for the positions generated.")] = 64,
    batch: Annotated[int, typer.Option(min=1, help="Samples in one forward pass; halved when memory runs out.")] = 8,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, mps, cuda:1 ...")] = "auto",
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or float16.")] = "float32",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace finished results in the folder.")] = False,
) -> None:
    """Score every attention head by how much it looks at the objects that the text names.

    Interrupted, the same command goes on. Under torchrun or accelerate launch, processes share the work.
    """
    from datasetkit.hi_scoring.data.datasets import open_data
    from datasetkit.hi_scoring.model.subject import Subject
    from datasetkit.hi_scoring.scores.dataset_scores import score_dataset
    from datasetkit.hi_scoring.scores.options import ScoreOptions
    from datasetkit.hi_scoring.scores.run import Share

    options = options_of(
        ScoreOptions,
        positions=names_in(positions),
        convention=convention,
        binarisation=binarisation,
        evidence=evidence,
        prompt=prompt,
        max_new_tokens=max_new_tokens,
    )
    by = by or f"hi:{options.positions[0]}"
    _check_ranking(by, options)
    check_dtype(dtype)
    check_revision(model, revision)
    rows = open_data(data, split, limit)
    if Share.is_first():
        typer.echo(f"rows: {len(rows):,} of split {rows.identity.split} of {rows.identity.name}", err=True)
    _check_phrases(rows, by, options)
    subject = Subject(model, revision, device, dtype)
    folder = out or Path("scores") / f"{name_of(model)}--{name_of(rows.identity.name)}"
    with stage_line(shown=Share.is_first()) as show:
        scores = score_dataset(
            subject,
            rows,
            options,
            folder,
            batch=batch,
            overwrite=overwrite,
            on_progress=lambda done: show("scoring", done, len(rows)),
        )
    if scores is not None:
        _report(scores, subject, rows, folder, by, top)


def _check_ranking(by: str, options: ScoreOptions) -> None:
    """Refuse a ranking that the scores will not have, before anything is computed."""
    from datasetkit.hi_scoring.scores.results import SCORES

    score, _, positions = by.partition(":")
    if score not in SCORES or positions not in options.positions:
        raise RecipeError(
            f"--by {by}: give SCORE:POSITIONS, a score of {', '.join(SCORES)} and positions that are scored "
            f"({', '.join(options.positions)})"
        )


def _check_phrases(rows: Data, by: str, options: ScoreOptions) -> None:
    """Refuse a ranking by phrases of rows that have none, before the model is loaded; tell of them otherwise."""
    from datasetkit.hi_scoring.scores.run import Share

    if rows.has_phrases or "phrase" not in options.positions:
        return
    told = f"no row of {rows.identity.name} has phrases (it lacks the columns objects and phrases)"
    if by.endswith(":phrase"):
        raise RecipeError(f"--by {by}: {told}; give other positions")
    if Share.is_first():
        typer.echo(f"phrase: {told}", err=True)


def _report(scores: HeadScores, subject: Subject, rows: Data, folder: Path, by: str, top: int) -> None:
    """Write the page with pictures of what the best heads look at, and print the tables."""
    from datasetkit.cli.tables import print_tables
    from datasetkit.hi_scoring.runs.drops import read_drops
    from datasetkit.hi_scoring.scores.dataset_scores import looked_at
    from datasetkit.hi_scoring.scores.report.gallery import panel
    from datasetkit.hi_scoring.scores.report.page import write_page
    from datasetkit.hi_scoring.scores.report.terminal import scores_tables
    from datasetkit.hi_scoring.scores.run import PAGE_NAME

    heads = scores.top(min(top, _HEADS_DRAWN), by)
    if not heads:
        raise RecipeError(f"--by {by}: no sample has it; the scores are saved in {folder}, rank them by another")
    drops = read_drops(folder)
    looked = looked_at(subject, rows, scores.options, heads, _SAMPLES_DRAWN, by.partition(":")[2])
    page = folder / PAGE_NAME
    # First, for whoever reads may stop (head -2) when the tables are printed.
    write_page(page, scores, by=by, top=top, panels=[panel(one, heads) for one in looked], drops=drops)
    print_tables(scores_tables(scores, by, top))
    if len(scores.record_ids) < FEW_SAMPLES:
        typer.echo(
            f"few samples    {len(scores.record_ids)}: intervals and rankings say little below some {FEW_SAMPLES}"
        )
    for reason, count in Counter(drop.reason for drop in drops).most_common():
        typer.echo(f"without scores  {counted(count, 'row')}: {reason} ({reason.explanation})")
    typer.echo(f"wrote {folder} (scores of {counted(len(scores.record_ids), 'sample')})")
    typer.echo(f"open {page} in a browser")

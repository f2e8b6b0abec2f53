"""``datasetkit ablate``: take heads out, and see whether it matters which. Owns its options and what it prints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from datasetkit.cli.options import check_dtype, check_revision, name_of, options_of, takes
from datasetkit.cli.progress import stage_line
from datasetkit.errors import RecipeError

if TYPE_CHECKING:
    from hi_scoring.ablation.bench import Bench, OnProgress
    from hi_scoring.ablation.plan import Plan
    from hi_scoring.ablation.rankings import Ranking
    from hi_scoring.ablation.results import Ablations
    from hi_scoring.data.datasets import Data
    from hi_scoring.model.subject import Subject

HEADS, DATA = "Heads", "Data"
_BY = "hi:response"


@dataclass(frozen=True, kw_only=True)
class AblateOptions:
    """Which heads are taken out, how, and what the model is asked meanwhile."""

    out: Annotated[
        Path | None,
        typer.Option(help="Folder for the results; ablated/MODEL--DATA if none is named.", show_default=False),
    ] = None
    scores: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Head scores of the model, as `datasetkit score` wrote them.")
    ] = None
    revision: Annotated[str | None, typer.Option(help="Commit, tag or branch of the model on the Hub.")] = None
    batch: Annotated[int, typer.Option(min=1, help="Examples at once; halved when memory runs out.")] = 32
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto"
    dtype: Annotated[str, typer.Option(help="Of the model's weights: float32, bfloat16 or float16.")] = "float32"
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace other results in the folder.")] = False

    by: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SCORE:POSITIONS",
            rich_help_panel=HEADS,
            help=f"What the scores rank heads by, as ram:response or image_mass:last; {_BY} if nothing is named. "
            "Repeatable.",
            show_default=False,
        ),
    ] = None
    table: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            rich_help_panel=HEADS,
            help="A ranking of your own: CSV or Parquet with the columns layer, head and score.",
        ),
    ] = None
    modes: Annotated[
        str,
        typer.Option(
            rich_help_panel=HEADS,
            help="What a head puts out instead: zero, its mean over the data, or what it puts out for another sample "
            "(resample); comma-separated.",
        ),
    ] = "zero,mean,resample"
    doses: Annotated[
        str, typer.Option(rich_help_panel=HEADS, help="Shares of all heads, each rounded up; comma-separated.")
    ] = ".01,.02,.05,.1,.2"
    draws: Annotated[
        int, typer.Option(min=1, rich_help_panel=HEADS, help="Random sets of heads for each dose; take 5 or more.")
    ] = 5
    seed: Annotated[
        int, typer.Option(min=0, rich_help_panel=HEADS, help="Of the random sets, and of the samples of resample.")
    ] = 0

    split: Annotated[
        str | None, typer.Option(rich_help_panel=DATA, help="Split to ask; test, or the only one, if none is named.")
    ] = None
    limit: Annotated[int | None, typer.Option(min=1, rich_help_panel=DATA, help="Ask the first N rows only.")] = None
    tasks: Annotated[
        str, typer.Option(rich_help_panel=DATA, help="caption: descriptions; vqa: questions; comma-separated.")
    ] = "caption,vqa"
    prompt: Annotated[str, typer.Option(rich_help_panel=DATA, help="What asks for a description.")] = (
        "Describe the image."
    )
    question_prompt: Annotated[
        str, typer.Option(rich_help_panel=DATA, help="How a question is put, of {question} and {options}.")
    ] = "{question}"
    caption_tokens: Annotated[int, typer.Option(min=1, rich_help_panel=DATA, help="Longest description.")] = 64
    answer_tokens: Annotated[int, typer.Option(min=1, rich_help_panel=DATA, help="Longest answer.")] = 8

    def open(self, model: str, data: str, on_progress: OnProgress) -> tuple[Bench, Plan]:
        """Open everything that the options name, and look at all rows; nothing is computed yet.

        Whatever can be refused without the rows is refused before they are read.
        """
        from datasetkit.packages import PYCOCOEVALCAP, require
        from hi_scoring.ablation.bench import Bench
        from hi_scoring.ablation.options import AblationOptions
        from hi_scoring.ablation.plan import Plan
        from hi_scoring.ablation.rankings import shape_of
        from hi_scoring.data.datasets import ASKED, DESCRIBED, open_data
        from hi_scoring.data.examples import read_examples
        from hi_scoring.model.dialogue import Dialogue
        from hi_scoring.model.options import TextOptions, WritingOptions
        from hi_scoring.model.subject import Subject

        chosen = options_of(
            AblationOptions, modes=_names(self.modes), doses=_names(self.doses), draws=self.draws, seed=self.seed
        )
        texts = options_of(
            TextOptions, tasks=_names(self.tasks), prompt=self.prompt, question_prompt=self.question_prompt
        )
        writing = options_of(WritingOptions, caption_tokens=self.caption_tokens, answer_tokens=self.answer_tokens)
        if "caption" in texts.tasks:
            require("comparing captions", PYCOCOEVALCAP)
        check_dtype(self.dtype)
        check_revision(model, self.revision)
        subject = Subject(model, self.revision, self.device, self.dtype)
        plan = Plan.of(list(self._rankings(subject)), chosen, shape_of(subject.config))
        rows = open_data(data, self.split, self.limit, DESCRIBED if "caption" in texts.tasks else ASKED, "test")
        typer.echo(f"rows: {len(rows):,} of split {rows.identity.split} of {rows.identity.name}", err=True)
        dialogue = Dialogue(subject.processor, subject.config)
        examples = read_examples(rows, texts, dialogue, lambda done: on_progress("reading rows", done, len(rows)))
        for reason, count in Counter(drop.reason for drop in examples.drops).most_common():
            typer.echo(f"rows that cannot be used: {count:,}, {reason} ({reason.explanation})", err=True)
        bench = Bench(
            subject=subject,
            examples=examples,
            texts=texts,
            writing=writing,
            namer=_namer(rows),
            seed=self.seed,
            batch=self.batch,
        )
        return bench, plan

    def _rankings(self, subject: Subject) -> Iterator[Ranking]:
        from hi_scoring.ablation.rankings import Ranking, shape_of
        from hi_scoring.scores.results import HeadScores

        if self.scores is None and (self.by or self.table is None):
            raise RecipeError("heads are ranked by scores or by a table; give --scores or --table")
        if self.scores is not None:
            scores = HeadScores.load(self.scores)
            for by in self.by or [_BY]:
                yield Ranking.of_scores(scores, by, subject.identity, shape_of(subject.config))
        if self.table is not None:
            yield Ranking.of_table(self.table, subject.identity, shape_of(subject.config))

    def folder(self, model: str, data: str) -> Path:
        """Where results go."""
        return self.out or Path("ablated") / f"{name_of(model)}--{name_of(data)}"


@takes(AblateOptions)
def ablate(
    model: Annotated[
        str, typer.Option(help="Image-text-to-text model: Hub id, local folder, or toyworld:vlm.", show_default=False)
    ],
    data: Annotated[
        str,
        typer.Option(
            metavar="FOLDER|USER/NAME[@REVISION]",
            help="Rows with pictures, and texts or questions.",
            show_default=False,
        ),
    ],
    *,
    options: AblateOptions,
) -> None:
    """Take out the highest, the lowest and random heads, and measure what the model still says.

    Interrupted, the same command goes on; with more rankings, modes or doses, it adds to what is there.
    """
    from hi_scoring.ablation.ablate import ablate as run

    folder = options.folder(model, data)
    with stage_line(shown=True) as on_progress:
        bench, plan = options.open(model, data, on_progress)
        found = run(bench, plan, folder, overwrite=options.overwrite, on_progress=on_progress)
    _report(found, folder)


def _report(found: Ablations, folder: Path) -> None:
    from rich.console import Console

    from hi_scoring.ablation.terminal import ablation_tables

    console = Console()
    for table in ablation_tables(found):
        console.print(table)
    conditions = len({trial["condition"] for trial in found.facts["trials"]})
    typer.echo(f"wrote {folder} ({conditions:,} conditions on {found.facts['n']:,} samples)")


def _namer(rows: Data) -> Any:
    """What finds the objects that captions name, of the categories of all rows; None where these have none."""
    from annotation.naming import KnownObjectNamer

    categories = rows.categories()
    return KnownObjectNamer(sorted(categories)) if categories else None


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(","))

"""``datasetkit ablate``: take heads out, and see whether it matters which. Owns its options and what it prints."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from datasetkit.cli.asking import AskRowsOptions, RowsName
from datasetkit.cli.options import ON_A_PAGE, ModelName, name_of, names_in, options_of, takes
from datasetkit.cli.progress import stage_line
from datasetkit.core.errors import RecipeError

if TYPE_CHECKING:
    from datasetkit.hi_scoring.ablation.bench import Bench
    from datasetkit.hi_scoring.ablation.plan import Plan
    from datasetkit.hi_scoring.ablation.rankings import Ranking
    from datasetkit.hi_scoring.ablation.results import Ablations
    from datasetkit.hi_scoring.data.datasets import DataIdentity
    from datasetkit.hi_scoring.model.subject import Subject
    from datasetkit.runtime.progress import OnProgress

HEADS = "Heads"
_BY = "hi:response"


@dataclass(frozen=True, kw_only=True)
class AblateOptions(AskRowsOptions):
    """Which heads are taken out, and how."""

    out: Annotated[
        Path | None,
        typer.Option(help="Folder for the results; ablated/MODEL--DATA if none is named.", show_default=False),
    ] = None
    scores: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Head scores of the model, as `datasetkit score` wrote them.")
    ] = None
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace results in the folder; equal ones are measured anew.")
    ] = False
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
            help="What a head puts out instead: zero; its mean over the rows that are asked, at image tokens another "
            "than elsewhere; or what it puts out for another picture (resample). Comma-separated.",
        ),
    ] = "zero,mean,resample"
    doses: Annotated[
        str, typer.Option(rich_help_panel=HEADS, help="Shares of all heads, each rounded up; comma-separated.")
    ] = ".01,.02,.05,.1,.2"
    draws: Annotated[
        int,
        typer.Option(
            min=2,
            rich_help_panel=HEADS,
            help="Random sets of heads for each dose. Their spread is what top heads are held against; fewer than 5 "
            "tell little of it.",
        ),
    ] = 10
    seed: Annotated[
        int, typer.Option(min=0, rich_help_panel=HEADS, help="Of the random sets, and of the pictures of resample.")
    ] = 0

    def open(self, model: str, data: str, on_progress: OnProgress) -> tuple[Bench, Plan]:
        """Open everything that the options name, and look at all rows; nothing is computed yet.

        Whatever can be refused without the rows is refused before they are read.
        """
        from datasetkit.hi_scoring.ablation.bench import Bench
        from datasetkit.hi_scoring.ablation.options import AblationOptions
        from datasetkit.hi_scoring.ablation.plan import Plan
        from datasetkit.runtime.packages import PYCOCOEVALCAP, require

        chosen = options_of(
            AblationOptions, modes=names_in(self.modes), doses=names_in(self.doses), draws=self.draws, seed=self.seed
        )
        texts, writing = self.texts(), self.writing()
        if "caption" in texts.tasks:
            require("comparing captions", PYCOCOEVALCAP)
        subject = self.subject(model)
        plan = Plan.of(list(self._rankings(subject)), chosen, subject.shape)
        typer.echo(
            f"conditions: {len({trial.condition.name for trial in plan.trials}):,}, and the model as it is", err=True
        )
        examples, namer = self.examples(data, texts, subject, on_progress)
        _warn(plan, examples.data.identity)
        bench = Bench(
            subject=subject,
            examples=examples,
            texts=texts,
            writing=writing,
            namer=namer,
            seed=self.seed,
            batch=self.batch,
        )
        return bench, plan

    def _rankings(self, subject: Subject) -> Iterator[Ranking]:
        from datasetkit.hi_scoring.ablation.rankings import Ranking
        from datasetkit.hi_scoring.scores.results import HeadScores

        if self.scores is None and (self.by or self.table is None):
            raise RecipeError("heads are ranked by scores or by a table; give --scores or --table")
        if self.scores is not None:
            scores = HeadScores.load(self.scores)
            for by in self.by or [_BY]:
                yield Ranking.of_scores(scores, by, subject.identity, subject.shape)
        if self.table is not None:
            yield Ranking.of_table(self.table, subject.identity, subject.shape)

    def folder(self, model: str, data: str) -> Path:
        """Where results go."""
        return self.out or Path("ablated") / f"{name_of(model)}--{name_of(data)}"


@takes(AblateOptions)
def ablate(
    model: ModelName,
    data: RowsName,
    *,
    options: AblateOptions,
) -> None:
    """Take out the highest, the lowest and random heads, and measure what the model still says.

    Interrupted, the same command goes on; with more rankings, modes or doses, it adds to what is there.
    """
    from datasetkit.hi_scoring.ablation.ablate import ablate as run

    folder = options.folder(model, data)
    with stage_line(shown=True) as on_progress:
        bench, plan = options.open(model, data, on_progress)
        found = run(bench, plan, folder, overwrite=options.overwrite, on_progress=on_progress)
    _report(found, folder)


def _warn(plan: Plan, data: DataIdentity) -> None:
    """Say so where heads are chosen by the data that they are then tested on."""
    ranked = [ranking.name for ranking in plan.rankings if data.shares_rows(ranking.source.get("data", {}))]
    if ranked:
        told = f"warning: heads were scored by {', '.join(ranked)} on rows that are asked here, so they are chosen and"
        typer.echo(f"{told} tested on the same data; score another split", err=True)


def _report(found: Ablations, folder: Path) -> None:
    from datasetkit.cli.tables import print_tables
    from datasetkit.hi_scoring.ablation.terminal import ablation_tables

    print_tables(ablation_tables(found))
    conditions = len({trial["condition"] for trial in found.facts["trials"]})
    typer.echo(f"wrote {folder} ({conditions:,} conditions on {found.facts['n']:,} samples)")
    typer.echo(ON_A_PAGE)

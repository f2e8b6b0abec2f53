"""``datasetkit sparsify``: keep full attention for a few heads, and measure it. Owns its options and what it prints."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from datasetkit.cli.asking import AskRowsOptions, RowsName
from datasetkit.cli.options import ON_A_PAGE, ModelName, name_of, options_of, takes
from datasetkit.cli.progress import stage_line
from datasetkit.core.errors import RecipeError

if TYPE_CHECKING:
    from datasetkit.hi_scoring.model.subject import Subject
    from datasetkit.hi_scoring.sparse.bench import Bench
    from datasetkit.hi_scoring.sparse.conditions import Condition
    from datasetkit.hi_scoring.sparse.folder import Sparsity
    from datasetkit.hi_scoring.sparse.kernels import Kernel
    from datasetkit.runtime.progress import OnProgress

HEADS = "Heads"


@dataclass(frozen=True, kw_only=True)
class SparsifyOptions(AskRowsOptions):
    """Which heads keep full attention, and what the others see."""

    out: Annotated[
        Path | None,
        typer.Option(help="Folder for the results; sparse/MODEL--DATA if none is named.", show_default=False),
    ] = None
    kernel: Annotated[
        str,
        typer.Option(help="Of the sparse heads: blocks, or flex (CUDA only), compiled for seconds at each new size."),
    ] = "blocks"
    share: Annotated[float, typer.Option(rich_help_panel=HEADS, help="Of all heads, that keep full attention.")] = 0.05
    by: Annotated[
        str, typer.Option(metavar="SCORE:POSITIONS", rich_help_panel=HEADS, help="What heads are ranked by.")
    ] = "ram:response"
    draws: Annotated[
        int,
        typer.Option(
            min=1,
            rich_help_panel=HEADS,
            help="Random sets of as many heads; the fewer, the less of their spread is told.",
        ),
    ] = 5
    sink: Annotated[
        int, typer.Option(min=0, rich_help_panel=HEADS, help="First tokens that the other heads see from everywhere.")
    ] = 4
    window: Annotated[
        int, typer.Option(min=1, rich_help_panel=HEADS, help="Tokens before each that they see, itself among them.")
    ] = 128
    dense_above: Annotated[
        float,
        typer.Option(
            rich_help_panel=HEADS,
            help="Share of a prompt's pairs of tokens that they may see before it stays dense; 1 for never.",
        ),
    ] = 0.5

    def open(self, model: str, data: str, scores: Path, on_progress: OnProgress) -> tuple[Bench, list[Condition]]:
        """Open everything that the options name, and look at all rows; nothing is computed yet.

        Whatever can be refused without the rows is refused before they are read.
        """
        from datasetkit.hi_scoring.scores.results import HeadScores
        from datasetkit.hi_scoring.sparse.bench import Bench
        from datasetkit.hi_scoring.sparse.conditions import SparsityOptions, conditions_of
        from datasetkit.runtime.packages import PYCOCOEVALCAP, require

        chosen = options_of(SparsityOptions, **{name: getattr(self, name) for name in SparsityOptions.model_fields})
        texts, writing = self.texts(), self.writing()
        if "caption" in texts.tasks:
            require("comparing captions", PYCOCOEVALCAP)
        subject = self.subject(model)
        kernel = self._kernel(subject)
        ranked = HeadScores.load(scores)
        conditions = conditions_of(ranked, subject.identity, subject.shape, chosen, self.draws)
        examples, namer = self.examples(data, texts, subject, on_progress)
        bench = Bench(
            subject=subject,
            examples=examples,
            scores=ranked,
            options=chosen,
            texts=texts,
            writing=writing,
            namer=namer,
            kernel=kernel,
            batch=self.batch,
        )
        return bench, conditions

    def _kernel(self, subject: Subject) -> Kernel:
        """Refuse a kernel that there is not, or not for this model here."""
        import torch

        from datasetkit.hi_scoring.sparse.kernels import Kernel, check_kernel, head_width
        from datasetkit.options.build import Placement

        known: tuple[Kernel, ...] = get_args(Kernel)
        kernel = next((name for name in known if name == self.kernel), None)
        if kernel is None:
            raise RecipeError(f"--kernel {self.kernel}: give one of {', '.join(known)}")
        check_kernel(kernel, torch.device(Placement(device=self.device).torch_device), head_width(subject.config))
        return kernel

    def folder(self, model: str, data: str) -> Path:
        """Where results go."""
        return self.out or Path("sparse") / f"{name_of(model)}--{name_of(data)}"


@takes(SparsifyOptions)
def sparsify(
    model: ModelName,
    data: RowsName,
    scores: Annotated[
        Path,
        typer.Option(
            metavar="FOLDER", help="Head scores of the model, as `datasetkit score` wrote them.", show_default=False
        ),
    ],
    *,
    options: SparsifyOptions,
) -> None:
    """Plan a sparse prefill that spares all heads but the best, and measure time, memory and quality.

    The dense model, the plan, and plans that keep random heads are measured side by side. Interrupted, the same command
    goes on; with more draws, it adds to what is there.
    """
    folder = options.folder(model, data)
    with stage_line(shown=True) as on_progress:
        bench, conditions = options.open(model, data, scores, on_progress)
        found = bench.run(conditions, folder, overwrite=options.overwrite, on_progress=on_progress)
    _report(found, folder)


def _report(found: Sparsity, folder: Path) -> None:
    from datasetkit.cli.tables import print_tables
    from datasetkit.hi_scoring.sparse.conditions import CORE
    from datasetkit.hi_scoring.sparse.plan import PLAN_NAME
    from datasetkit.hi_scoring.sparse.terminal import sparsity_tables

    print_tables(sparsity_tables(found))
    plan = found.plan
    [core] = found.costs[found.costs["group"] == CORE].to_dict("records")
    if not core["sparse"] > 0:
        typer.echo(
            f"nothing was sparse: of {core['tokens']:,.0f} tokens of a prompt (median), text, the first {plan.sink} "
            f"and the last {plan.window} are too many; give a smaller --window, or longer prompts"
        )
    typer.echo(f"wrote {folder}; {folder / PLAN_NAME} keeps {len(plan.kept):,} heads")
    typer.echo(ON_A_PAGE)

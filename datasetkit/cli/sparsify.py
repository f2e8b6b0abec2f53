"""``datasetkit sparsify``: keep full attention for a few heads, and measure it. Owns its options and what it prints."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from datasetkit.cli.options import check_dtype, check_revision, name_of, options_of, takes
from datasetkit.cli.progress import stage_line
from datasetkit.errors import RecipeError

if TYPE_CHECKING:
    from hi_scoring.data.datasets import Data
    from hi_scoring.sparse.bench import Bench, OnProgress, Sparsity
    from hi_scoring.sparse.conditions import Condition

HEADS, DATA = "Heads", "Data"


@dataclass(frozen=True, kw_only=True)
class SparsifyOptions:
    """Which heads keep full attention, what the others see, and what the model is asked meanwhile."""

    out: Annotated[
        Path | None, typer.Option(help="Folder for the results.  [default: sparse/MODEL--DATA]", show_default=False)
    ] = None
    revision: Annotated[str | None, typer.Option(help="Commit, tag or branch of the model on the Hub.")] = None
    batch: Annotated[
        int, typer.Option(min=1, help="Examples at once where the model writes; halved when memory runs out.")
    ] = 32
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto"
    dtype: Annotated[str, typer.Option(help="Of the model's weights: float32, bfloat16 or float16.")] = "float32"
    kernel: Annotated[
        str,
        typer.Option(help="Of the sparse heads: blocks, or flex on CUDA, compiled for seconds at each new size."),
    ] = "blocks"
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace other results in the folder.")] = False

    share: Annotated[float, typer.Option(rich_help_panel=HEADS, help="Of all heads, that keep full attention.")] = 0.05
    by: Annotated[
        str, typer.Option(metavar="SCORE:POSITIONS", rich_help_panel=HEADS, help="What heads are ranked by.")
    ] = "ram:response"
    draws: Annotated[
        int, typer.Option(min=1, rich_help_panel=HEADS, help="Random sets of as many heads; take 3 or more.")
    ] = 3
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

    split: Annotated[
        str | None, typer.Option(rich_help_panel=DATA, help="Split to ask.  [default: test, or the only one]")
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

    def open(self, model: str, data: str, scores: Path, on_progress: OnProgress) -> tuple[Bench, list[Condition]]:
        """Open everything that the options name, and look at all rows; nothing is computed yet.

        Whatever can be refused without the rows is refused before they are read.
        """
        from datasetkit.packages import PYCOCOEVALCAP, require
        from hi_scoring.data.datasets import ASKED, DESCRIBED, open_data
        from hi_scoring.data.examples import read_examples
        from hi_scoring.model.dialogue import Dialogue
        from hi_scoring.model.options import TextOptions, WritingOptions
        from hi_scoring.model.subject import Subject
        from hi_scoring.scores.results import HeadScores
        from hi_scoring.sparse.bench import Bench
        from hi_scoring.sparse.conditions import SparsityOptions, conditions_of
        from hi_scoring.sparse.passes import Kernel

        chosen = options_of(SparsityOptions, **{name: getattr(self, name) for name in SparsityOptions.model_fields})
        texts = options_of(
            TextOptions, tasks=_names(self.tasks), prompt=self.prompt, question_prompt=self.question_prompt
        )
        writing = options_of(WritingOptions, caption_tokens=self.caption_tokens, answer_tokens=self.answer_tokens)
        if self.kernel not in get_args(Kernel):
            raise RecipeError(f"--kernel {self.kernel}: give one of {', '.join(get_args(Kernel))}")
        if "caption" in texts.tasks:
            require("comparing captions", PYCOCOEVALCAP)
        check_dtype(self.dtype)
        check_revision(model, self.revision)
        subject = Subject(model, self.revision, self.device, self.dtype)
        text = subject.config.get_text_config()
        shape = (text.num_hidden_layers, text.num_attention_heads)
        ranked = HeadScores.load(scores)
        conditions = conditions_of(ranked, subject.identity, shape, chosen, self.draws)
        rows = open_data(data, self.split, self.limit, DESCRIBED if "caption" in texts.tasks else ASKED, "test")
        typer.echo(f"rows: {len(rows):,} of split {rows.identity.split} of {rows.identity.name}", err=True)
        dialogue = Dialogue(subject.processor, subject.config)
        examples = read_examples(rows, texts, dialogue, lambda done: on_progress("reading rows", done, len(rows)))
        for reason, count in Counter(drop.reason for drop in examples.drops).most_common():
            typer.echo(f"rows that cannot be used: {count:,}, {reason} ({reason.explanation})", err=True)
        bench = Bench(
            subject=subject,
            examples=examples,
            scores=ranked,
            options=chosen,
            texts=texts,
            writing=writing,
            namer=_namer(rows),
            kernel=self.kernel,  # type: ignore[arg-type] # checked above
            batch=self.batch,
        )
        return bench, conditions

    def folder(self, model: str, data: str) -> Path:
        """Where results go."""
        return self.out or Path("sparse") / f"{name_of(model)}--{name_of(data)}"


@takes(SparsifyOptions)
def sparsify(
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
    from rich.console import Console

    from hi_scoring.sparse.plan import PLAN_NAME
    from hi_scoring.sparse.terminal import sparsity_tables

    console = Console()
    for table in sparsity_tables(found):
        console.print(table)
    typer.echo(f"wrote {folder}; {folder / PLAN_NAME} keeps {len(found.plan.kept):,} heads")


def _namer(rows: Data) -> Any:
    """What finds the objects that captions name, of the categories of all rows; None where these have none."""
    from annotation.naming import KnownObjectNamer

    categories = rows.categories()
    return KnownObjectNamer(sorted(categories)) if categories else None


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(","))

"""Options of the commands that ask a model for texts and answers. Owns them, and what is opened by them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from datasetkit.cli.options import check_dtype, check_revision, names_in, options_of

if TYPE_CHECKING:
    from datasetkit.annotation.naming import KnownObjectNamer
    from datasetkit.hi_scoring.data.datasets import Data
    from datasetkit.hi_scoring.data.examples import Examples
    from datasetkit.hi_scoring.model.options import TextOptions, WritingOptions
    from datasetkit.hi_scoring.model.subject import Subject
    from datasetkit.runtime.progress import OnProgress

DATA = "Data"
RowsName = Annotated[
    str,
    typer.Option(
        metavar="FOLDER|USER/NAME[@REVISION]",
        help="Rows with pictures, and texts or questions.",
        show_default=False,
    ),
]


@dataclass(frozen=True, kw_only=True)
class AskOptions:
    """Which model is asked, and for what."""

    revision: Annotated[str | None, typer.Option(help="Commit, tag or branch of the model on the Hub.")] = None
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto"
    dtype: Annotated[str, typer.Option(help="Of the model's weights: float32, bfloat16 or float16.")] = "float32"
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace other results in the folder.")] = False

    tasks: Annotated[
        str, typer.Option(rich_help_panel=DATA, help="caption: descriptions; vqa: questions; comma-separated.")
    ] = "caption,vqa"
    prompt: Annotated[str, typer.Option(rich_help_panel=DATA, help="What asks for a description.")] = (
        "Describe the picture."
    )
    question_prompt: Annotated[
        str, typer.Option(rich_help_panel=DATA, help="How a question is put, of {question} and {options}.")
    ] = "{question}"
    caption_tokens: Annotated[int, typer.Option(min=1, rich_help_panel=DATA, help="Longest description.")] = 64
    answer_tokens: Annotated[int, typer.Option(min=1, rich_help_panel=DATA, help="Longest answer.")] = 8

    def subject(self, model: str) -> Subject:
        """Name the model; nothing is loaded."""
        from datasetkit.hi_scoring.model.subject import Subject

        check_dtype(self.dtype)
        check_revision(model, self.revision)
        return Subject(model, self.revision, self.device, self.dtype)

    def texts(self) -> TextOptions:
        """Give what is asked."""
        from datasetkit.hi_scoring.model.options import TextOptions

        return options_of(
            TextOptions, tasks=names_in(self.tasks), prompt=self.prompt, question_prompt=self.question_prompt
        )

    def writing(self) -> WritingOptions:
        """Give how much the model may write."""
        from datasetkit.hi_scoring.model.options import WritingOptions

        return options_of(WritingOptions, caption_tokens=self.caption_tokens, answer_tokens=self.answer_tokens)


@dataclass(frozen=True, kw_only=True)
class AskRowsOptions(AskOptions):
    """Of which rows it is asked, too."""

    batch: Annotated[int, typer.Option(min=1, help="Examples at once; halved when memory runs out.")] = 32
    split: Annotated[
        str | None, typer.Option(rich_help_panel=DATA, help="Split to ask; test, or the only one, if none is named.")
    ] = None
    limit: Annotated[int | None, typer.Option(min=1, rich_help_panel=DATA, help="Ask the first N rows only.")] = None

    def examples(
        self, data: str, texts: TextOptions, subject: Subject, on_progress: OnProgress
    ) -> tuple[Examples, KnownObjectNamer | None]:
        """Read all rows, and say how many they are and which of them cannot be used; nothing is computed."""
        from datasetkit.hi_scoring.data.datasets import ASKED, DESCRIBED, open_data
        from datasetkit.hi_scoring.data.examples import read_examples
        from datasetkit.hi_scoring.model.dialogue import Dialogue

        rows = open_data(data, self.split, self.limit, DESCRIBED if "caption" in texts.tasks else ASKED, "test")
        typer.echo(f"rows: {len(rows):,} of split {rows.identity.split} of {rows.identity.name}", err=True)
        dialogue = Dialogue(subject.processor, subject.config)
        examples = read_examples(rows, texts, dialogue, lambda done: on_progress("reading rows", done, len(rows)))
        for line in (*unusable(examples), *unknown(rows, texts)):
            typer.echo(line, err=True)
        return examples, namer_of(rows)


def unusable(examples: Examples) -> list[str]:
    """Say how many rows cannot be used, a line for each reason."""
    counts = Counter(drop.reason for drop in examples.drops).most_common()
    return [f"rows that cannot be used: {count:,}, {reason} ({reason.explanation})" for reason, count in counts]


def unknown(rows: Data, texts: TextOptions) -> list[str]:
    """Say what captions cannot be held against, where rows do not tell."""
    if "caption" not in texts.tasks or not rows.has_found_objects:
        return []
    return [
        f"objects of {rows.identity.name} were found by models, and are what descriptions mention: whether captions "
        "name something absent is not measured"
    ]


def namer_of(*rows: Data) -> KnownObjectNamer | None:
    """Give what finds the objects that captions name, of the categories of all rows; None where these have none."""
    from datasetkit.annotation.naming import KnownObjectNamer

    categories = set().union(*(one.categories() for one in rows))
    return KnownObjectNamer(sorted(categories)) if categories else None

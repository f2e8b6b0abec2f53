"""Rows as prompts with expected responses. Owns which descriptions and questions of a dataset are used.

Every row is checked before anything is computed: unusable rows are dropped with their reason, so that no damaged image
ends a training, and so that all runs on a dataset see the same examples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from datasetkit.core.errors import RecordError, SourceError, UnusableError
from datasetkit.core.ledger import Drop, DropReason
from datasetkit.core.record import Question
from datasetkit.hi_scoring.data.datasets import Data
from datasetkit.hi_scoring.data.reading import read_image
from datasetkit.hi_scoring.data.samples import check_columns, text_of
from datasetkit.hi_scoring.model.dialogue import Dialogue
from datasetkit.hi_scoring.runs.drops import row_drop
from datasetkit.options.heads import Task, TextOptions


@dataclass(frozen=True)
class Example:
    """A prompt about a row's image, and the expected response.

    Args:
        kind: the question's type; blank if it has none.
        response: a description or an answer.

    """

    row: int
    record_id: str
    task: Task
    kind: str
    prompt: str
    response: str


@dataclass(frozen=True)
class Examples:
    """A dataset's examples in its order, at least one, and the drops of rows without examples."""

    data: Data
    items: tuple[Example, ...]
    drops: tuple[Drop, ...]

    def __len__(self) -> int:
        return len(self.items)

    def image(self, example: Example) -> Image.Image:
        """Read an example's image, mode RGB."""
        return read_image(self.data, example.row)

    def image_id(self, example: Example) -> str:
        """Return the id of an example's image; see :meth:`Data.image_id`."""
        return self.data.image_id(example.row)

    @property
    def rows(self) -> tuple[int, ...]:
        """The rows that have examples, in order."""
        return tuple(dict.fromkeys(example.row for example in self.items))

    @property
    def image_ids(self) -> tuple[str, ...]:
        """The ids of images with examples, each once, in order. All responses to one image are one sample."""
        return tuple(dict.fromkeys(map(self.image_id, self.items)))


def read_examples(
    data: Data, options: TextOptions, dialogue: Dialogue, on_progress: Callable[[int], None] = lambda _: None
) -> Examples:
    """Find the examples of a dataset and check each of their images once.

    Raises:
        SourceError: there is no usable example.

    """
    items: list[Example] = []
    drops: list[Drop] = []
    for row, columns in enumerate(data.without_images()):
        try:
            items += _checked(_examples(columns, row, data.name(row), options), data, row, dialogue)
        except UnusableError as error:
            drops.append(row_drop(row, data.name(row), error))
        on_progress(row + 1)
    if not items:
        told = f"; the first row: {drops[0].detail}" if drops else ""
        raise SourceError(
            f"{data.identity.name}, split {data.identity.split}, has no row for {' and '.join(options.tasks)}{told}"
        )
    return Examples(data, tuple(items), tuple(drops))


def _examples(columns: Mapping[str, Any], row: int, record_id: str, options: TextOptions) -> Iterator[Example]:
    text = text_of(columns)
    if "caption" in options.tasks:
        check_columns(columns, "objects")  # a caption is compared with them
    if "caption" in options.tasks and text:
        yield Example(row, record_id, "caption", "", options.prompt, text.strip())
    if "vqa" in options.tasks:
        for question in map(_question, columns.get("questions") or ()):
            choices = ", ".join(question.options)
            asked = options.question_prompt.format(question=question.question, options=choices)
            yield Example(row, record_id, "vqa", question.type, asked, question.answer)


def _question(found: Any) -> Question:
    try:
        return Question(
            found["question"].strip(),
            found["answer"].strip(),
            found.get("type") or "",
            tuple(option.strip() for option in found.get("options") or ()),
        )
    except (AttributeError, KeyError, TypeError, RecordError) as error:
        raise UnusableError(
            DropReason.BAD_ROW, f"a question whose question or answer is not text: {type(error).__name__}: {error}"
        ) from error


def _checked(found: Iterator[Example], data: Data, row: int, dialogue: Dialogue) -> Sequence[Example]:
    examples = list(found)
    if not examples:
        raise UnusableError(DropReason.NO_DESCRIPTION, "no description and no question that the tasks ask for")
    image = read_image(data, row)
    for example in examples:
        dialogue.check_turn(image, example.prompt, example.response)
    return examples

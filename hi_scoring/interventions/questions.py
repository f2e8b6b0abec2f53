"""Closed questions about images, as prompts for a model. Owns where a question and its options are in the prompt.

They come from datasets built by datasetkit (column ``questions``), or from tables; see
:mod:`datasetkit.hi_scoring.interventions.question_tables`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from datasetkit.core.errors import RecordError, SourceError, UnusableError
from datasetkit.core.ledger import Drop, DropReason
from datasetkit.core.mask import Mask, decode_masks
from datasetkit.core.schema import objects_of, questions_of
from datasetkit.hi_scoring.data.datasets import Data, DataIdentity
from datasetkit.hi_scoring.data.reading import Rows, read_image
from datasetkit.hi_scoring.runs.drops import row_drop

BoolArray = NDArray[np.bool_]
# Left, top, width and height, px of the upright image.
Box = tuple[float, float, float, float]
Span = tuple[int, int]
# Placeholders for the question and for its options while they are located in a prompt.
_QUESTION_MARK, _OPTIONS_MARK = "\0", "\1"


@dataclass(frozen=True)
class ClosedQuestion:
    """One question about one image.

    Args:
        number: index among the questions of the record, from 0.
        picture_id: id of its image, which several records may share; questions about one image are not independent of
            each other.
        category: kind of question; blank if unknown.
        options: the choices, including the answer; empty for an open question.
        template: text of the prompt, with ``{question}`` and ``{options}``.
        masks: masks of the objects that the answer depends on.
        boxes: boxes of such objects without masks.

    """

    row: int
    number: int
    record_id: str
    picture_id: str
    category: str
    question: str
    answer: str
    options: tuple[str, ...]
    template: str
    masks: tuple[Mask, ...] = ()
    boxes: tuple[Box, ...] = ()

    @property
    def name(self) -> str:
        """The name of the question in a dataset."""
        return f"{self.record_id}#{self.number}"

    @cached_property
    def prompt(self) -> str:
        """The text that the model is asked."""
        return self._put(self.question, self._listed)

    @property
    def false_option(self) -> str | None:
        """The first of the options that is not the answer."""
        return next((option for option in self.options if option != self.answer), None)

    @cached_property
    def question_spans(self) -> tuple[Span, ...]:
        """Spans of the bare question in the prompt: [start, end) in code points."""
        return _runs(self._put(_QUESTION_MARK * len(self.question), self._listed), _QUESTION_MARK)

    @cached_property
    def options_spans(self) -> tuple[Span, ...]:
        """Spans of the options in the prompt; empty unless all options are in it.

        The template may list them; if it does not, the question itself may name them ("Is it red or blue?").
        """
        listed = _runs(self._put(self.question, _OPTIONS_MARK * len(self._listed)), _OPTIONS_MARK)
        if listed or len(self.options) < 2:
            return listed
        found = [_occurrences(option, self.prompt, self.question_spans) for option in self.options]
        return tuple(sorted(span for spans in found for span in spans)) if all(found) else ()

    def regions(self, size_hw: tuple[int, int]) -> BoolArray:
        """Return the pixels of the O objects that the answer depends on: those with masks, then those with boxes.

        Args:
            size_hw: height and width of the upright image, px.

        Returns:
            shape (O, H, W).

        Raises:
            UnusableError: ``bad_mask`` for a mask of another size than the image, ``bad_row`` for a box outside of it.

        """
        for mask in self.masks:
            if mask.size_hw != size_hw:
                raise UnusableError(
                    DropReason.BAD_MASK, f"a mask of {mask.size_hw} px (height, width) on an image of {size_hw}"
                )
        boxed = np.zeros((len(self.boxes), *size_hw), bool)
        for drawn, (left, top, width, height) in zip(boxed, self.boxes, strict=True):
            x, y = (slice(max(0, int(np.floor(a))), int(np.ceil(a + b))) for a, b in ((left, width), (top, height)))
            if not drawn[y, x].size:
                raise UnusableError(
                    DropReason.BAD_ROW,
                    f"the box {left:g}, {top:g}, {width:g}, {height:g} (left, top, width, height) is outside of an "
                    f"image of {size_hw} px (height, width)",
                )
            drawn[y, x] = True
        return np.concatenate([decode_masks(self.masks, size_hw), boxed])

    @property
    def _listed(self) -> str:
        return ", ".join(self.options)

    def _put(self, question: str, options: str) -> str:
        return self.template.format(question=question, options=options)


@dataclass(frozen=True)
class Questions:
    """All questions of a dataset, in its order; the drops; and the rows that have the images."""

    items: tuple[ClosedQuestion, ...]
    drops: tuple[Drop, ...]
    rows: Rows
    identity: DataIdentity

    def __len__(self) -> int:
        return len(self.items)

    def image(self, item: ClosedQuestion) -> Image.Image:
        """Read a question's image, mode RGB.

        Raises:
            UnusableError: it cannot be read.

        """
        return read_image(self.rows, item.row)


def read_questions(data: Data, template: str) -> Questions:
    """Find the questions of a dataset; no image is read.

    A question depends on the objects named by its ``object_ids``; if rows have no objects, on none.

    Raises:
        SourceError: there is no question.

    """
    items: list[ClosedQuestion] = []
    drops: list[Drop] = []
    asked_before: Counter[str] = Counter()
    for row, columns in enumerate(data.without_images()):
        name = data.name(row)
        try:
            found = _of_row(data, columns, row, asked_before[name], template)
        except UnusableError as error:
            drops.append(row_drop(row, name, error))
            continue
        asked_before[name] += len(found)
        items += found
    return asked(items, drops, data, data.identity)


def asked(items: Sequence[ClosedQuestion], drops: Sequence[Drop], rows: Rows, identity: DataIdentity) -> Questions:
    """Return the questions as one object.

    Raises:
        SourceError: there is no question.

    """
    if not items:
        told = f"; the first row: {drops[0].detail}" if drops else ""
        raise SourceError(f"{identity.name} has no usable closed question{told}")
    return Questions(tuple(items), tuple(drops), rows, identity)


def _of_row(data: Data, columns: Mapping[str, Any], row: int, first: int, template: str) -> list[ClosedQuestion]:
    """Read a row's questions; ``first`` is the number of questions of its record from earlier rows."""
    try:
        masks = {item.id: item.mask for item in objects_of(columns)} if "objects" in columns else {}
        return [
            ClosedQuestion(
                row=row,
                number=number,
                record_id=data.name(row),
                picture_id=data.image_id(row),
                category=question.type or "",
                question=question.question,
                answer=question.answer,
                options=question.options,
                template=template,
                masks=_known(masks, question.object_ids),
            )
            for number, question in enumerate(questions_of(columns), first)
        ]
    except (AttributeError, LookupError, TypeError, RecordError) as error:
        raise UnusableError(DropReason.BAD_ROW, f"questions or objects in an unknown format: {error!r}") from error


def _known(masks: Mapping[int, Mask | None], object_ids: Sequence[int]) -> tuple[Mask, ...]:
    """Return the masks of what an answer depends on; none if one is missing, since the rest is another region."""
    found = [masks[place] for place in object_ids] if masks else []
    return tuple(mask for mask in found if mask is not None) if all(found) else ()


def _runs(text: str, mark: str) -> tuple[Span, ...]:
    return tuple(match.span() for match in re.finditer(f"{mark}+", text))


def _occurrences(option: str, text: str, spans: Sequence[Span]) -> list[Span]:
    """Find an option as whole words, ignoring case, within spans of a text."""
    pattern = re.compile(rf"(?<!\w){re.escape(option)}(?!\w)", re.IGNORECASE)
    return [match.span() for start, end in spans for match in pattern.finditer(text, start, end)]

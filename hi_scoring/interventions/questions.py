"""Closed questions about images, as a model is asked them. Owns where a question and its options stand in the prompt.

They come from datasets of ours (their column ``questions``), or from tables; see
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
# Stand for the question and for its options while their places in a prompt are looked for.
_QUESTION_MARK, _OPTIONS_MARK = "\0", "\1"


@dataclass(frozen=True)
class ClosedQuestion:
    """One question about one image.

    Args:
        number: among the questions of the record, from 0.
        picture_id: of its image, which other records may have, too; questions about one image are not independent
            of each other.
        category: what kind of question it is; blank where nobody said.
        options: that may be chosen from, the answer among them; none for an open question.
        template: how it is put, of ``{question}`` and ``{options}``.
        masks: of the objects that the answer rests on.
        boxes: of such objects, where they have no masks.

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
        """What the question is called in a dataset."""
        return f"{self.record_id}#{self.number}"

    @cached_property
    def prompt(self) -> str:
        """What the model is asked."""
        return self._put(self.question, self._listed)

    @property
    def false_option(self) -> str | None:
        """The first of the options that is not the answer."""
        return next((option for option in self.options if option != self.answer), None)

    @cached_property
    def question_spans(self) -> tuple[Span, ...]:
        """Where the bare question stands in the prompt: [start, end) in code points."""
        return _runs(self._put(_QUESTION_MARK * len(self.question), self._listed), _QUESTION_MARK)

    @cached_property
    def options_spans(self) -> tuple[Span, ...]:
        """Where the options stand in the prompt; nowhere, unless all of them do.

        The template may list them; if it does not, the question itself may name them ("Is it red or blue?").
        """
        listed = _runs(self._put(self.question, _OPTIONS_MARK * len(self._listed)), _OPTIONS_MARK)
        if listed or len(self.options) < 2:
            return listed
        found = [_occurrences(option, self.prompt, self.question_spans) for option in self.options]
        return tuple(sorted(span for spans in found for span in spans)) if all(found) else ()

    def regions(self, size_hw: tuple[int, int]) -> BoolArray:
        """Draw the pixels of each of the O objects that the answer rests on: those with masks, then those with boxes.

        Args:
            size_hw: height and width of the upright image, px.

        Returns:
            shape (O, H, W).

        Raises:
            UnusableError: ``bad_mask`` of another size than the image's, ``bad_row`` for a box beside it.

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
                    f"the box {left:g}, {top:g}, {width:g}, {height:g} (left, top, width, height) has no pixel of a "
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
    """All questions of some data, in its order; what cannot be used; and the rows that have the images."""

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

    A question rests on the objects that its ``object_ids`` name; where rows have no objects, on none.

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
    """Put questions together.

    Raises:
        SourceError: there is none.

    """
    if not items:
        told = f"; the first row: {drops[0].detail}" if drops else ""
        raise SourceError(f"{identity.name} has no closed question that can be asked{told}")
    return Questions(tuple(items), tuple(drops), rows, identity)


def _of_row(data: Data, columns: Mapping[str, Any], row: int, first: int, template: str) -> list[ClosedQuestion]:
    """Read a row's questions; ``first`` of its record were read from other rows."""
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
        raise UnusableError(DropReason.BAD_ROW, f"no questions or objects as ours are: {error!r}") from error


def _known(masks: Mapping[int, Mask | None], object_ids: Sequence[int]) -> tuple[Mask, ...]:
    """Return the masks of what an answer rests on; none where one is missing, since the rest is another region."""
    found = [masks[place] for place in object_ids] if masks else []
    return tuple(mask for mask in found if mask is not None) if all(found) else ()


def _runs(text: str, mark: str) -> tuple[Span, ...]:
    return tuple(match.span() for match in re.finditer(f"{mark}+", text))


def _occurrences(option: str, text: str, spans: Sequence[Span]) -> list[Span]:
    """Find an option as whole words, in whichever case, within spans of a text."""
    pattern = re.compile(rf"(?<!\w){re.escape(option)}(?!\w)", re.IGNORECASE)
    return [match.span() for start, end in spans for match in pattern.finditer(text, start, end)]

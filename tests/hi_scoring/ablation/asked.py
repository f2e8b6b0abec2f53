"""Rows with questions of unequal length, for tests of ablation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from datasetkit.hi_scoring.data.examples import Examples, read_examples
from datasetkit.hi_scoring.model.dialogue import Dialogue
from datasetkit.options.heads import TextOptions
from tests.hi_scoring.scored import data_of, row
from tests.hi_scoring.tiny_models import TinyFamily

QUESTIONS = (
    ("what colour is the square ?", "red", "colour"),
    ("is there a blue circle above the red square ?", "no", "existence"),
    ("what ?", "a circle", ""),
)


class Rows(list):
    """A list of rows that can be read without their images, like datasets."""

    column_names = ("image", "description", "objects", "phrases", "questions", "record_id")

    def remove_columns(self, name: str) -> list[dict[str, Any]]:
        return [{key: value for key, value in one.items() if key != name} for one in self]


def asked_row(number: int, *questions: tuple[str, str, str]) -> dict[str, Any]:
    """A row with one question, or these."""
    chosen = questions or (QUESTIONS[number % len(QUESTIONS)],)
    return row(
        number,
        questions=[{"question": text, "answer": answer, "type": kind, "options": []} for text, answer, kind in chosen],
    )


def examples_of(family: TinyFamily, *rows: dict[str, Any], **options: Any) -> Examples:
    """Examples of these rows, or of four with a question each."""
    given = Rows(rows or [asked_row(number) for number in range(4)])
    dialogue = Dialogue(family.processor, family.model.config)
    return read_examples(data_of(given), TextOptions(**({"tasks": ("vqa",)} | options)), dialogue)


def with_images(examples: Examples, image_ids: Sequence[str | None]) -> Examples:
    """The same examples, whose rows are of these images."""
    return replace(examples, data=replace(examples.data, image_ids=image_ids))

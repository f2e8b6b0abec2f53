"""Rows with questions, and whole runs over them by the tiny LLaVA."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from datasetkit.hi_scoring.interventions.knockout_results import RESULT_NAMES, Knockouts
from datasetkit.hi_scoring.interventions.knockout_run import knockout_dataset
from datasetkit.hi_scoring.interventions.questions import Questions, read_questions
from datasetkit.hi_scoring.model.subject import Subject
from datasetkit.options.heads import KnockoutOptions
from tests.hi_scoring.scored import TinySubject, data_of, row

FLOWS = ("image -> question", "key object -> last")
# Columns of built rows in addition to those that heads are scored on.
_OBJECT = {"category": None, "salience": None, "status": "mentioned", "scores": {}, "source_bbox": None}


class Rows(list[dict[str, Any]]):
    """Rows that can be read without their images, like those of ``datasets``."""

    def remove_columns(self, name: str) -> list[dict[str, Any]]:
        return [{key: value for key, value in one.items() if key != name} for one in self]


def asked_row(number: int, *questions: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A row in datasetkit's format, with questions."""
    found = row(number)
    objects = [item | _OBJECT for item in found["objects"]]
    return found | {"objects": objects, "questions": [dict(question) for question in questions]} | more


def rows(count: int) -> Rows:
    """Rows with one question each; the first question depends on no object."""
    asked = {"question": "what colour ?", "answer": "red", "type": "colour", "options": ["red", "blue"]}
    return Rows(asked_row(number, {**asked, "object_ids": [0] if number else []}) for number in range(count))


def questions_of(given: Rows, template: str = "{question}") -> Questions:
    return read_questions(data_of(given), template)


def knock(
    folder: Path, questions: Questions, subject: Subject | None = None, *, overwrite: bool = False, **options: Any
) -> Knockouts:
    """Block two flows, one layer at a time."""
    on_progress = options.pop("on_progress", lambda _: None)
    chosen = {"flows": FLOWS, "window": 1, "only_correct": False, "answer_tokens": 1} | options
    return knockout_dataset(
        subject or TinySubject(),
        questions,
        KnockoutOptions(**chosen),
        folder,
        batch=8,
        overwrite=overwrite,
        on_progress=on_progress,
    )


def contents(folder: Path) -> dict[str, bytes]:
    """The files of a finished run."""
    return {name: (folder / name).read_bytes() for name in (*RESULT_NAMES, "run.json", "drops.jsonl")}

"""Answers to closed questions, right or wrong. Owns when two answers are the same."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from datasetkit.core.record import Question
from datasetkit.hi_scoring.evaluation.words import words
from datasetkit.hi_scoring.statistics import FloatArray


def answer_statistics(
    questions: Sequence[Sequence[Question]], answers: Sequence[Sequence[str]]
) -> dict[str, FloatArray]:
    """Count right answers to the questions of each of n samples.

    Returns:
        (n, 2) float64 each: the number of a sample's questions with a right answer, and the number of its questions;
        under ``accuracy`` all of them, under ``accuracy:TYPE`` those of one type.

    """
    types = sorted({question.type for asked in questions for question in asked if question.type})
    names = ["accuracy", *(f"accuracy:{kind}" for kind in types)]
    statistics: dict[str, FloatArray] = {name: np.zeros((len(questions), 2)) for name in names}
    for place, (asked, said) in enumerate(zip(questions, answers, strict=True)):
        for question, answer in zip(asked, said, strict=True):
            counted = (is_right(answer, question.answer), 1)
            statistics["accuracy"][place] += counted
            if question.type:
                statistics[f"accuracy:{question.type}"][place] += counted
    return statistics


def is_right(answer: str, wanted: str) -> bool:
    """Whether two answers have the same words: "Yes." is "yes", "Yes, it is" is not."""
    return _normalised(answer) == _normalised(wanted)


def _normalised(answer: str) -> str:
    """Return the words of an answer; unchanged if it has none ("+"), so that an empty answer is never right."""
    return " ".join(words(answer)) or answer.strip()

"""Answers to closed questions."""

import pytest

from datasetkit.core.record import Question
from datasetkit.hi_scoring.evaluation.answers import answer_statistics, is_right


@pytest.mark.parametrize(
    ("answer", "wanted", "expected"),
    [
        ("Yes.", "yes", True),
        (" the  RED one!\n", "The red one", True),
        ("Yes, it is", "yes", False),
        ("", "yes", False),
        ("no", "yes", False),
        ("+", "+", True),
        ("-", "+", False),
        ("", "+", False),
    ],
)
def test_answers_are_compared_by_their_words(answer: str, wanted: str, expected: bool) -> None:
    assert is_right(answer, wanted) is expected


def test_right_answers_are_counted_for_each_type() -> None:
    questions = [
        [Question("Is it red?", "yes", "existence"), Question("Which colour?", "red", "colour")],
        [],
        [Question("Is it blue?", "no", "existence"), Question("Any cat?", "no", "existence"), Question("Or?", "a", "")],
    ]
    found = answer_statistics(questions, [["Yes.", "blue"], [], ["No", "yes", "A"]])
    assert {name: rows.tolist() for name, rows in found.items()} == {
        "accuracy": [[1, 2], [0, 0], [2, 3]],
        "accuracy:colour": [[0, 1], [0, 0], [0, 0]],
        "accuracy:existence": [[1, 1], [0, 0], [1, 2]],
    }


def test_each_question_needs_an_answer() -> None:
    with pytest.raises(ValueError, match="shorter"):
        answer_statistics([[Question("Is it red?", "yes", "existence")]], [[]])

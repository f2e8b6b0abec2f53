"""Closed questions: their prompts, the positions of their parts, and rows without usable questions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from datasetkit.core.errors import SourceError, UnusableError
from datasetkit.core.mask import Mask
from datasetkit.hi_scoring.interventions.questions import ClosedQuestion, read_questions
from tests.hi_scoring.interventions.asking import question
from tests.hi_scoring.interventions.running import Rows, asked_row
from tests.hi_scoring.scored import data_of


def parts(item: ClosedQuestion) -> tuple[list[str], list[str]]:
    return tuple(
        [item.prompt[start:end] for start, end in spans] for spans in (item.question_spans, item.options_spans)
    )


@pytest.mark.parametrize(
    ("template", "text", "options", "asked", "listed"),
    [
        ("{question}", "What colour?", ("red", "blue"), ["What colour?"], []),
        ("{question} One of {options}.", "What colour?", ("red", "blue"), ["What colour?"], ["red, blue"]),
        ("{options}: {question}", "What colour?", ("red", "blue"), ["What colour?"], ["red, blue"]),
        ("{question} {question}", "What?", (), ["What?", "What?"], []),
        ("Answer red: {question}", "Is it Red or blue?", ("red", "blue"), ["Is it Red or blue?"], ["Red", "blue"]),
        (
            "{question}",
            "Is it red, or reddish blue?",
            ("red", "blue"),
            ["Is it red, or reddish blue?"],
            ["red", "blue"],
        ),
        ("{question}", "Is it red?", ("red", "blue"), ["Is it red?"], []),
        ("{question}", "Is the yes-man here?", ("yes",), ["Is the yes-man here?"], []),
        ("{question}", "Is it (a) or b?", ("(a)", "b"), ["Is it (a) or b?"], ["(a)", "b"]),
    ],
)
def test_question_and_options_are_found_in_the_prompt(
    template: str, text: str, options: tuple[str, ...], asked: list[str], listed: list[str]
) -> None:
    answer = options[0] if options else "red"
    item = question(text, template=template, options=options, answer=answer)
    assert parts(item) == (asked, listed)


@pytest.mark.parametrize(("options", "expected"), [((), None), (("no", "yes"), "no"), (("yes",), None)])
def test_false_option_differs_from_the_answer(options: tuple[str, ...], expected: str | None) -> None:
    assert question(options=options, answer="yes").false_option == expected


def test_regions_cover_masks_and_boxes_in_whole_pixels() -> None:
    mask = np.zeros((4, 5), bool)
    mask[3, 0] = True
    item = question(masks=(Mask.from_array(mask),), boxes=((1.5, 0.0, 1.0, 1.0), (4.0, 2.0, 9.0, 9.0)))
    assert [list(zip(*region.nonzero(), strict=True)) for region in item.regions((4, 5))] == [
        [(3, 0)],
        [(0, 1), (0, 2)],
        [(2, 4), (3, 4)],
    ]
    assert question(masks=()).regions((4, 5)).shape == (0, 4, 5)


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"masks": (Mask.from_array(np.ones((4, 4), bool)),)}, "bad_mask"),
        ({"masks": (), "boxes": ((5.0, 0.0, 2.0, 2.0),)}, "bad_row"),
        ({"masks": (), "boxes": ((-3.0, 0.0, 3.0, 2.0),)}, "bad_row"),
    ],
)
def test_objects_of_another_image_are_refused(more: dict[str, Any], reason: str) -> None:
    with pytest.raises(UnusableError) as caught:
        question(**more).regions((4, 5))
    assert caught.value.reason == reason


ASKED = {"question": "What colour?", "answer": "red", "type": "colour", "options": ["red", "blue"], "object_ids": [1]}


def test_questions_are_kept_or_their_row_dropped() -> None:
    rows = Rows(
        [
            asked_row(0, ASKED, {**ASKED, "type": "size", "object_ids": []}),
            asked_row(1),
            asked_row(2, {**ASKED, "answer": "green"}),
            asked_row(3, {**ASKED, "object_ids": [7]}),
            {key: value for key, value in asked_row(4, ASKED).items() if key != "objects"},
        ]
    )
    found = read_questions(data_of(rows), "{question}")
    assert [(one.name, one.category, len(one.masks)) for one in found.items] == [
        ("sample-0#0", "colour", 1),
        ("sample-0#1", "size", 0),
        ("sample-4#0", "colour", 0),
    ]
    assert found.items[0].masks[0].to_coco() == rows[0]["objects"][1]["mask"]
    assert [(drop.row, drop.reason) for drop in found.drops] == [(2, "bad_row"), (3, "bad_row")]
    assert found.image(found.items[2]).size == (84, 84)


def test_rows_of_one_record_are_numbered_on() -> None:
    rows = Rows([asked_row(number, ASKED, ASKED, record_id=name) for number, name in enumerate(("a", "b", "a"))])
    data = replace(data_of(rows), image_ids=[7, None, 7])
    found = [(item.name, item.picture_id) for item in read_questions(data, "{question}").items]
    assert found == [("a#0", "7"), ("a#1", "7"), ("b#0", "b"), ("b#1", "b"), ("a#2", "7"), ("a#3", "7")]


def test_data_without_questions_are_refused() -> None:
    with pytest.raises(
        SourceError,
        match="rows has no usable closed question; the first row: questions or objects in an unknown format",
    ):
        read_questions(data_of(Rows([asked_row(0, {"question": "What?"})])), "{question}")

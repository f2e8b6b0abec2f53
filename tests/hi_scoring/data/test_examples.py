"""Rows as examples, and the drops of unusable rows."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from datasetkit.core.errors import SourceError
from datasetkit.hi_scoring.data.examples import Example, read_examples
from datasetkit.options.heads import TextOptions
from tests.hi_scoring.images import TEXT, sample
from tests.hi_scoring.scored import row
from tests.hi_scoring.tuned import COLOUR, SHAPE, asked_row, dialogue_of, examples_of, rows_data

NO_TYPE = {"question": "is it red ?", "answer": "no", "type": None, "options": None}
CAPTION = ("caption", "", "Describe the picture.", TEXT)
OF_COLOUR = ("vqa", "colour", "what colour is the square ?", "red")
OF_SHAPE = ("vqa", "existence", "is there a circle ?", "yes")


def told(examples: Any) -> list[tuple[int, tuple[str, ...]]]:
    return [(one.row, (one.task, one.kind, one.prompt, one.response)) for one in examples.items]


@pytest.mark.parametrize(
    ("tasks", "expected"),
    [
        (("caption",), [(0, CAPTION), (2, CAPTION)]),
        (("vqa",), [(0, OF_COLOUR), (0, OF_SHAPE), (1, OF_SHAPE)]),
        (("caption", "vqa"), [(0, CAPTION), (0, OF_COLOUR), (0, OF_SHAPE), (1, OF_SHAPE), (2, CAPTION)]),
        (("vqa", "caption"), [(0, CAPTION), (0, OF_COLOUR), (0, OF_SHAPE), (1, OF_SHAPE), (2, CAPTION)]),
    ],
    ids=["captions", "answers", "both", "both, the other way round"],
)
def test_tasks_choose_texts_and_questions(tasks: tuple[str, ...], expected: list[Any]) -> None:
    rows = [
        asked_row(0, COLOUR, SHAPE),
        asked_row(1, SHAPE, description=None),
        asked_row(2),
        asked_row(3, description=""),
    ]
    found = examples_of(rows_data(rows), tasks=tasks)
    assert told(found) == expected
    assert found.rows == tuple(dict.fromkeys(number for number, _ in expected))
    assert [(drop.row, drop.item_id, drop.reason) for drop in found.drops] == [
        (number, f"sample-{number}", "no_description") for number in range(4) if number not in found.rows
    ]
    assert {one.record_id for one in found.items} == {f"sample-{number}" for number in found.rows}


def test_prompts_and_texts_follow_options() -> None:
    rows = [asked_row(0, COLOUR, NO_TYPE, description=" a red square \n")]
    template = "Question: {question} Choose of: {options}."
    found = examples_of(rows_data(rows), prompt="What is it?", question_prompt=template)
    assert told(found) == [
        (0, ("caption", "", "What is it?", "a red square")),
        (0, ("vqa", "colour", "Question: what colour is the square ? Choose of: red, blue.", "red")),
        (0, ("vqa", "", "Question: is it red ? Choose of: .", "no")),
    ]


def test_every_row_has_examples_or_is_dropped_with_its_reason() -> None:
    image = row(0)["image"]["bytes"]
    bad = {
        1: (asked_row(1, COLOUR, image={"bytes": image[:300], "path": None}), "truncated"),
        2: (asked_row(2, COLOUR, image={"bytes": b"no image", "path": None}), "not_an_image"),
        3: (asked_row(3, COLOUR, image=None), "bad_row"),
        4: (asked_row(4, COLOUR, description="a red </s> square"), "special_token"),
        5: (asked_row(5, COLOUR | {"question": "what <image> ?"}), "special_token"),
        6: (asked_row(6, COLOUR, description="red " * 5000), "text_too_long"),
        # Fits without the template around it.
        7: (asked_row(7, COLOUR, description="red " * (4096 - 36 - 6)), "text_too_long"),
        8: (asked_row(8, description=" "), "no_description"),
        9: (asked_row(9, COLOUR | {"answer": " "}), "bad_row"),
        10: (asked_row(10, COLOUR | {"answer": None}), "bad_row"),
        11: (asked_row(11, COLOUR | {"answer": "green"}), "bad_row"),
    }
    rows = [bad[number][0] if number in bad else asked_row(number, COLOUR) for number in range(13)]
    looked: list[int] = []
    found = read_examples(rows_data(rows), TextOptions(), dialogue_of(), looked.append)
    assert [(drop.row, str(drop.reason)) for drop in found.drops] == [(n, reason) for n, (_, reason) in bad.items()]
    assert all(drop.detail and drop.item_id == f"sample-{drop.row}" for drop in found.drops)
    assert Counter(one.row for one in found.items) == {0: 2, 12: 2}
    assert len(found.rows) + len(found.drops) == len(rows)
    assert looked == list(range(1, 14))


@pytest.mark.parametrize(
    ("question", "detail"),
    [
        ("what colour ?", "a question whose question or answer is not text: "),
        ({"question": "what colour ?"}, "KeyError: 'answer'"),
        ({"question": "what colour ?", "answer": 3}, "AttributeError"),
    ],
    ids=str,
)
def test_questions_of_other_forms_drop_their_row(question: Any, detail: str) -> None:
    with pytest.raises(SourceError, match=detail):
        examples_of(rows_data([asked_row(0, question)]), tasks=("vqa",))


def test_questions_need_neither_type_nor_options() -> None:
    found = examples_of(rows_data([asked_row(0, {"question": "what colour ?", "answer": "red"})]), tasks=("vqa",))
    assert told(found) == [(0, ("vqa", "", "what colour ?", "red"))]


@pytest.mark.parametrize(
    ("rows", "tasks", "message"),
    [
        (
            [asked_row(0, description=None)],
            ("caption", "vqa"),
            "rows, split train, has no row for caption and vqa; the first",
        ),
        (
            [asked_row(0)],
            ("vqa",),
            "no row for vqa; the first row: no description and no question that the tasks ask for",
        ),
        ([asked_row(0, COLOUR, image=None)], ("vqa",), "no row for vqa; the first row: no image in the column image"),
    ],
)
def test_no_usable_row_is_one_line(rows: list[dict[str, Any]], tasks: tuple[str, ...], message: str) -> None:
    with pytest.raises(SourceError, match=message) as caught:
        examples_of(rows_data(rows), tasks=tasks)
    assert "\n" not in str(caught.value)


def test_no_rows_are_no_examples() -> None:
    data = rows_data([asked_row(0)])
    with pytest.raises(SourceError, match=r"has no row for caption and vqa$"):
        examples_of(replace(data, rows=data.rows.select([]), record_ids=[]))


def test_examples_have_image_ids() -> None:
    data = rows_data([asked_row(0, COLOUR), asked_row(1), asked_row(2), asked_row(3)])
    found = examples_of(replace(data, image_ids=["b", "a", None, "b"]))
    assert [found.image_id(one) for one in found.items] == ["b", "b", "a", "sample-2", "b"]
    assert found.image_ids == ("b", "a", "sample-2")
    assert examples_of(data).image_ids == ("sample-0", "sample-1", "sample-2", "sample-3")


def test_images_are_those_of_the_rows() -> None:
    found = examples_of(rows_data([asked_row(3, COLOUR), asked_row(5)]))
    assert len(found) == 3
    for example in found.items:
        assert isinstance(example, Example)
        assert found.image(example).tobytes() == sample((3, 5)[example.row]).image.tobytes()

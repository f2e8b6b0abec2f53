"""Which requests ask for a description of the whole image, and LLaVA's files with them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from datasetkit.core.errors import SourceError, UnusableError
from datasetkit.core.ledger import DropReason, PassedOver, PassedOverKind
from datasetkit.core.protocols import Reading
from datasetkit.core.record import Question
from datasetkit.sources.given.conversations import asks_for_description
from tests.sources.given.builders import image_bytes, one_reading, readings_of, source_of, write

WHOLE = [
    "Describe the image concisely.",
    "Provide a brief description of the given image.",
    "Offer a succinct explanation of the picture presented.",
    "Summarize the visual content of the image.",
    "Present a compact description of the photo's key features.",
    "Write a terse but informative summary of the picture.",
    "Create a compact narrative representing the image presented.",
    "Can you describe the main features of this image for me?",
    "What's happening in the scene?",
    "What do you think is going on in this snapshot?",
    "What do you see happening in this image?",
    "Portray the image with a rich, descriptive narrative",
    "Please describe it.",
    "Describe what you see.",
    "What does the image show?",
    "Please generate a caption.",
    "Tell me about this picture.",
]
PART = [
    "What colour is the ball?",
    "Describe the man on the left.",
    "Describe the man in the image.",
    "Is the description of the image right?",
    "What is in the box?",
    "What do you see on the table?",
    "Describe the colours in the picture.",
    "Explain why the image is funny.",
    "What is the title of the image?",
]


@pytest.mark.parametrize("request_", WHOLE)
def test_request_for_a_description(request_: str) -> None:
    assert asks_for_description(request_)


@pytest.mark.parametrize("request_", PART)
def test_question_about_a_part(request_: str) -> None:
    assert not asks_for_description(request_)


def turns(*texts: str) -> list[dict[str, str]]:
    return [{"from": ("human", "gpt")[place % 2], "value": text} for place, text in enumerate(texts)]


def llava(folder: Path, *entries: Any, lines: bool = False) -> Path:
    write(folder / "a/1.png", image_bytes())
    if lines:
        return write(folder / "chat.jsonl", "".join(f"{json.dumps(entry)}\n" for entry in entries))
    return write(folder / "chat.json", json.dumps(entries))


def chat(*texts: str, **more: Any) -> dict[str, Any]:
    return {"id": "x", "image": "a/1.png", "conversations": turns(*texts)} | more


@pytest.mark.parametrize("lines", [False, True])
def test_description_and_questions(tmp_path: Path, lines: bool) -> None:
    entry = chat("Describe the image.\n<image>", " A box. ", "<image>\nHow many?", "Two", "And now?")
    reading = one_reading(llava(tmp_path, entry, lines=lines))
    assert reading.record.description == "A box."
    assert reading.record.questions == (Question("How many?", "Two", "conversation"),)
    assert (reading.has_given_links, reading.is_searched) == (False, False)


def test_messages_with_parts(tmp_path: Path) -> None:
    content = [{"type": "image"}, {"type": "text", "text": "How many?"}]
    messages = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": content},
        {"role": "assistant", "content": [{"type": "text", "text": "Two"}]},
    ]
    record = one_reading(llava(tmp_path, {"messages": messages, "images": ["a/1.png"]})).record
    assert record.description is None
    assert [(one.question, one.answer) for one in record.questions] == [("How many?", "Two")]


def test_entry_without_image_is_passed_over(tmp_path: Path) -> None:
    text_only = {"id": "t", "conversations": turns("Who wrote it?", "Nobody.")}
    source = source_of(llava(tmp_path, text_only, chat("How many?", "Two"), text_only))
    assert len(list(source.entries())) == 1
    assert list(source.passed_over()) == [PassedOver(PassedOverKind.TEXT_ONLY, 2, ("chat.json",))]


def test_repeated_id_is_no_repetition(tmp_path: Path) -> None:
    found = list(readings_of(llava(tmp_path, chat("How many?", "Two"), chat("What for?", "Fun"))))
    assert all(isinstance(one, Reading) for one in found)


@pytest.mark.parametrize(
    "broken", [7, chat(image=["a/1.png", "b.png"]), {"image": "a/1.png"}, chat(conversations=[{"from": "gpt"}, 7])]
)
def test_broken_entry_is_dropped_alone(tmp_path: Path, broken: Any) -> None:
    first, second, third = readings_of(llava(tmp_path, chat("How many?", "Two"), broken, chat("Why?", "So")))
    assert isinstance(second, UnusableError)
    assert second.reason is DropReason.BAD_ENTRY
    assert isinstance(first, Reading)
    assert isinstance(third, Reading)


def test_broken_file_is_one_error(tmp_path: Path) -> None:
    place = llava(tmp_path, chat("How many?", "Two"))
    write(place, place.read_bytes()[:-3])
    with pytest.raises(SourceError):
        source_of(place)

"""LLaVA and its kin: conversations about an image, as a JSON list or as JSON lines.

Source: haotian-liu/LLaVA, ``docs/Finetune_Custom_Data.md``: ``id``, ``image``, ``conversations`` of ``from`` and
``value``, with ``<image>`` anywhere. Others have ``messages`` of ``role`` and ``content``, which is a text or a list of
parts, and ``images``. The answer to a request for a description is a description; other turns are questions. Entries
without an image are passed over.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from datasetkit.core.given import GivenImage
from datasetkit.core.ledger import PassedOverKind
from datasetkit.sources.coco_values import spelled
from datasetkit.sources.given.conversations import read_turns
from datasetkit.sources.given.indexed import Json, JsonLines, JsonList
from datasetkit.sources.given.look import Look
from datasetkit.sources.given.reader import Given, Reader
from datasetkit.sources.rows import ANSWERERS

_TURNS = ("conversations", "messages", "conversation")
_ASKS = frozenset({"human", "user"})


class LlavaReader(Reader):
    """Reads a conversation per entry."""

    summary: ClassVar[str] = "LLaVA JSON: an image with conversations, or with messages"

    def __init__(self, given: Given) -> None:
        is_lines = Look(given.place, given.encoding).first_line is not None
        self._list = JsonLines(given.place, given.encoding) if is_lines else JsonList(given.place, "", given.encoding)
        self.indexes = (self._list,)
        self._numbers = [number for number in range(len(self._list)) if not self._is_text_only(number)]
        if without := len(self._list) - len(self._numbers):
            given.passed_over.add(PassedOverKind.TEXT_ONLY, given.place.name, without)

    @staticmethod
    def recognise(look: Look) -> bool:
        """Return whether the first element is a conversation."""
        element = look.first.get("") or look.first_line
        return isinstance(element, dict) and any(_is_turns(element.get(key)) for key in _TURNS)

    def handles(self) -> Iterator[int]:
        """Yield the numbers of the entries with an image."""
        yield from self._numbers

    def read(self, handle: Any) -> GivenImage:
        """Read one conversation."""
        element = self._list[handle]
        name, *further = _image_names(element)
        if further:
            raise ValueError(f"it is about {len(further) + 1} images; a record has one")
        turns = next((element[key] for key in _TURNS if key in element), None)
        if not isinstance(turns, list):
            raise TypeError("it has no list of turns")
        texts, questions = read_turns(_pairs(turns))
        return GivenImage(
            name,
            entry=f"{spelled(element.get('id')) or name}/{handle}",
            names=(name,),
            texts=tuple(texts),
            questions=tuple(questions),
        )

    def _is_text_only(self, number: int) -> bool:
        """Return whether an entry has no image; one that is broken counts as having one, and is dropped later."""
        try:
            element = self._list[number]
        except ValueError:
            return False
        return isinstance(element, dict) and not _image_names(element)


def _is_turns(value: object) -> bool:
    first = value[0] if isinstance(value, list) and value else None
    return isinstance(first, dict) and ({"from", "value"} <= first.keys() or {"role", "content"} <= first.keys())


def _image_names(element: Json) -> Sequence[str]:
    """Return the names of all images of an entry, each once: its own, and those among the parts of messages."""
    found = [element.get("image"), element.get("images")]
    messages = element.get("messages")
    for message in messages if isinstance(messages, list) else ():
        parts = message.get("content") if isinstance(message, dict) else None
        found += [_image_of(part) for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []
    flat = [name for value in found for name in (value if isinstance(value, list) else [value])]
    names = [name.get("path") or name.get("url") if isinstance(name, dict) else name for name in flat]
    return list(dict.fromkeys(name.removeprefix("file://") for name in names if isinstance(name, str) and name))


def _image_of(part: Json) -> Any:
    return part.get("image") or part.get("image_url") or part.get("path") or part.get("url")


def _pairs(turns: Sequence[Json]) -> Iterator[tuple[str, str]]:
    """Yield each request with its answer; requests without an answer, and system prompts, are left out."""
    request = None
    for turn in turns:
        role = str(turn["from"] if "from" in turn else turn["role"]).lower()
        if role in _ASKS:
            request = _text_of(turn)
        elif role in ANSWERERS and request is not None:
            yield request, _text_of(turn)
            request = None


def _text_of(turn: Json) -> str:
    value = turn["value"] if "value" in turn else turn["content"]
    if isinstance(value, list):
        return "\n".join(str(part.get("text") or "") if isinstance(part, dict) else str(part) for part in value)
    if not isinstance(value, str):
        raise TypeError(f"a turn is {type(value).__name__}, not text")
    return value

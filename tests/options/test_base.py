"""Options of earlier versions."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from datasetkit.options.base import BEFORE, Options, completed, plain


class Cat(Options):
    name: Literal["cat"] = "cat"
    lives: int = 9


class Dog(Options):
    name: Literal["dog"] = "dog"
    tricks: tuple[str, ...] = ("sit",)


class House(Options):
    rooms: int
    pet: Annotated[Cat | Dog, Field(discriminator="name")] = Cat()
    guest: Cat | None = None
    heated: bool = Field(default=True, json_schema_extra={BEFORE: False})


ALL = {"rooms": 2, "pet": {"name": "cat", "lives": 9}, "guest": None, "heated": False}


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({"rooms": 2}, ALL),
        (ALL, ALL),
        ({"rooms": 2, "heated": True}, ALL | {"heated": True}),
        ({"rooms": 2, "pet": {"name": "cat"}}, ALL),
        ({"rooms": 2, "pet": {"name": "cat", "lives": 8}}, ALL | {"pet": {"name": "cat", "lives": 8}}),
        ({"rooms": 2, "pet": {"name": "dog"}}, ALL | {"pet": {"name": "dog", "tricks": ["sit"]}}),
        ({"rooms": 2, "guest": {"name": "cat"}}, ALL | {"guest": {"name": "cat", "lives": 9}}),
        ({"rooms": 2, "pet": {"name": "fish", "fins": 2}}, ALL | {"pet": {"name": "fish", "fins": 2}}),
        ({"rooms": 2, "garden": True}, ALL | {"garden": True}),
        ({}, {name: value for name, value in ALL.items() if name != "rooms"}),
    ],
)
def test_lacking_options_count_as_what_was_done_then(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert list(House.completed(found).items()) == list(expected.items())


def test_options_are_completed_wherever_they_are() -> None:
    here = {
        "model": "m",
        "revision": None,
        "scores": {"data": "d", "options": Dog()},
        "options": House(rooms=2),
        "runs": [1],
    }
    found = {"model": "n", "scores": {"data": "d", "options": {"name": "dog"}}, "options": {"rooms": 3}, "more": {}}
    assert completed(found, here) == {
        "model": "n",
        "scores": {"data": "d", "options": {"name": "dog", "tricks": ["sit"]}},
        "options": ALL | {"rooms": 3},
        "more": {},
        "revision": None,
    }
    assert plain(here)["scores"] == {"data": "d", "options": {"name": "dog", "tricks": ["sit"]}}

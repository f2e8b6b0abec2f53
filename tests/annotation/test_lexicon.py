"""The COCO lexicon: every category is named, whole words decide, the longest compound wins."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasetkit.annotation.alignment import extended
from datasetkit.annotation.lexicon import Lexicon, coco_lexicon, normalise

ONE_CATEGORY = [
    ("fire hydrant", "fire hydrant"),
    ("red fire hydrants", "fire hydrant"),
    ("teddy bear", "teddy bear"),
    ("stuffed bears", "teddy bear"),
    ("bears", "bear"),
    ("hot dogs", "hot dog"),
    ("Dogs", "dog"),
    ("baseball bat", "baseball bat"),
    ("wine glasses", "wine glass"),
    ("traffic lights", "traffic light"),
    ("Stop-Sign", "stop sign"),
    ("cell phones", "cell phone"),
    ("computer mouse", "mouse"),
    ("mice", "mouse"),
    ("motor bikes", "motorcycle"),
    ("t.v.", "tv"),
    ("T.V.s", "tv"),
    ("men", "person"),
    ("baseball players", "person"),
    ("skis", "skis"),
    ("ski", "skis"),
    ("knives", "knife"),
    ("buses", "bus"),
    ("double-decker bus", "bus"),
    ("couches", "couch"),
    ("puppies", "dog"),
    ("catcher's mitt", "baseball glove"),
    ("catcher\u2019s mitt", "baseball glove"),
    ("geese", "bird"),
    ("carrot cake", "cake"),
    ("train car", "train"),
    ("fire engine", "truck"),
    ("jet ski", "boat"),
    ("toilet bowl", "toilet"),
]

NO_CATEGORY = [
    "ski slope",
    "bus stop",
    "tennis court",
    "toilet paper",
    "mouse pad",
    "plastic bags",
    "street sign",
    "bird cage",
    "carpet",
    "category",
    "manhole",
    "pineapple",
    "",
    "😀",
    "'",
]


@pytest.mark.parametrize(("head", "category"), ONE_CATEGORY)
def test_names_one_category(head: str, category: str) -> None:
    assert coco_lexicon().categories(head) == (category,)


@pytest.mark.parametrize("head", NO_CATEGORY)
def test_names_no_category(head: str) -> None:
    assert coco_lexicon().categories(head) == ()


@pytest.mark.parametrize(
    ("head", "some"),
    [
        ("vehicles", {"car", "bus", "truck", "motorcycle", "bicycle", "train", "boat", "airplane"}),
        ("animal", {"cat", "dog", "giraffe"}),
        ("fruit", {"banana", "apple", "orange"}),
        ("utensils", {"fork", "knife", "spoon"}),
        ("luggage", {"suitcase", "backpack"}),
        ("bike", {"bicycle", "motorcycle"}),
    ],
)
def test_hypernyms_name_several_categories(head: str, some: set[str]) -> None:
    assert some <= set(coco_lexicon().categories(head))


def test_every_category_is_named_by_its_name(coco_mini: Path) -> None:
    index = json.loads((coco_mini / "annotations" / "instances_val2017.json").read_text())
    names = [category["name"] for category in index["categories"]]
    assert len(names) == 80
    assert [coco_lexicon().categories(name) for name in names] == [(name,) for name in names]


def test_collectives_sizes_and_mass() -> None:
    lexicon = coco_lexicon()
    assert lexicon.is_collective("the luggage")
    assert not lexicon.is_collective("suitcases")
    assert lexicon.is_group("a crowd")
    assert lexicon.size("old couple") == 2
    assert lexicon.size("man") is None
    assert lexicon.is_mass("pizza")
    assert not lexicon.is_mass("man")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("T.V.", "tv"), ("Double-Decker  Bus", "double decker bus"), ("man's", "man"), ("girls'", "girls"), ("", "")],
)
def test_normalise(text: str, expected: str) -> None:
    assert normalise(text) == expected


@given(st.lists(st.text("aS'\u2019.- \u00df1", max_size=6), max_size=5))
def test_words_are_normalised_one_by_one(words: list[str]) -> None:
    assert normalise(" ".join(words)) == " ".join(filter(None, map(normalise, words)))


@pytest.mark.parametrize(
    ("words", "entry"),
    [("fire hydrants", "fire hydrant"), ("mice", "mouse"), ("red fire hydrants", None), ("unicorn", None), ("", None)],
)
def test_exact_entry_is_all_of_the_words(words: str, entry: str | None) -> None:
    assert coco_lexicon().exact_entry(words) == entry


def test_kept_lookups_are_bounded_and_of_one_lexicon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasetkit.annotation.lexicon.lexicon._MOST_KEPT", 10)
    lexicon = replace(coco_lexicon())
    found = [lexicon.entry(f"a {number} dogs") for number in range(25)]
    assert found == ["dog"] * 25
    assert lexicon.entry("dog " * 1000) == "dog"
    assert lexicon.entry("a ring") is None
    assert len(lexicon._found) <= 10
    assert all(len(head) < 100 for head in lexicon._found)
    assert extended(lexicon, ["blue ring"]).entry("a ring") == "ring"
    assert lexicon.entry("a ring") is None


def test_word_entered_twice_is_refused() -> None:
    data = {
        "names": {"cat": ["cat"], "dog": ["cat"]},
        "hypernyms": {},
        "none": [],
        "plurals": {},
        "groups": [],
        "collective": [],
        "sizes": {},
        "mass": [],
        "near": {},
    }
    with pytest.raises(ValueError, match="entered twice"):
        Lexicon.from_mapping(data)


def test_hypernym_of_unknown_category_is_refused() -> None:
    data = {
        "names": {"cat": ["cat"]},
        "hypernyms": {"pet": ["cat", "dog"]},
        "none": [],
        "plurals": {},
        "groups": [],
        "collective": [],
        "sizes": {},
        "mass": [],
        "near": {},
    }
    with pytest.raises(ValueError, match="dog"):
        Lexicon.from_mapping(data)


def test_every_excluded_compound_is_needed() -> None:
    lexicon = coco_lexicon()
    excluded = [entry for entry, categories in lexicon.entries.items() if not categories]
    assert excluded
    assert [entry for entry in excluded if not lexicon.categories(entry.split()[-1])] == []

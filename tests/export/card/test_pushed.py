"""The card of a push: what one side changed is so in the end, and nothing that both changed is lost in silence."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasetkit.export.card.front_matter import read_front_matter
from datasetkit.export.card.parts import sections_line
from datasetkit.export.card.pushed import PushedCard, pushed_card
from datasetkit.export.card.sections import section_names

ADDRESS = "https://hub/datasets/user/scenes"


def section(name: str, text: str) -> str:
    return f"<!-- datasetkit:begin {name} -->\n\n{text}\n\n<!-- datasetkit:end {name} -->\n"


def card(
    *texts: str, front: str = "pretty_name: Scenes\nlicense: cc-by-4.0\ntags:\n- datasetkit\n", title: str = "# Scenes"
) -> str:
    parts = [section("a", "ours"), *texts, section("b", "ours"), sections_line(["a", "b"])]
    return f"---\n{front}---\n\n{title}\n\n" + "\n".join(parts) + "\n"


def push(local: str, published: str | None = None) -> PushedCard:
    return pushed_card(local, published, "user/scenes", ADDRESS)


def edited(published: str, old: str, new: str) -> str:
    assert old in published
    return published.replace(old, new)


NOTES = "## Notes\n\nabc\n"


def test_a_first_push_brings_the_folders_card() -> None:
    pushed = push(card(NOTES))
    assert (pushed.is_merged, pushed.kept) == (False, ())
    assert re.sub("<!-- datasetkit:folder.*-->\n", "", pushed.text) == card(NOTES)


def test_what_only_the_folder_changed_arrives_once() -> None:
    published = push(card(NOTES)).text
    changed = card(
        "## Notes\n\nabc changed\n\n### Deeper\n\nx\n",
        front="pretty_name: Cats\nlicense: mit\ntags:\n- datasetkit\n- cats\nmine: 1\n",
        title="# Cats",
    )
    pushed = push(changed, published)
    assert pushed == push(changed)
    assert push(changed, pushed.text).text == pushed.text


def test_a_text_that_the_folder_deleted_or_headed_anew_goes() -> None:
    published = edited(push(card(NOTES, "## More\n\nx\n")).text, "## Notes", "## Theirs\n\nby hand\n\n## Notes")
    text = push(card("## Other\n\nx\n"), published).text
    assert [line for line in text.splitlines() if line.startswith("## ")] == ["## Theirs", "## Other"]


def test_what_only_the_hub_changed_stays() -> None:
    published = push(card(NOTES)).text
    for old, new in (("abc", "theirs"), ("pretty_name: Scenes", "pretty_name: T"), ("cc-by-4.0", "mit")):
        published = edited(published, old, new)
    published = edited(published, "# Scenes", "# T").replace("- datasetkit\n", "- theirs\n")
    pushed = push(card(NOTES, "## New\n\nours\n"), published)
    assert pushed.kept == ()
    assert "abc" not in pushed.text
    assert "## New\n\nours\n" in pushed.text
    assert "\n# T\n" in pushed.text
    front = read_front_matter(pushed.text)
    assert front == {"pretty_name": "T", "license": "mit", "tags": ["theirs"]}
    assert push(card(NOTES, "## New\n\nours\n"), pushed.text).text == pushed.text


def test_a_text_that_the_hub_deleted_stays_deleted() -> None:
    published = edited(push(card(NOTES)).text, NOTES, "")
    assert "Notes" not in push(card(NOTES), published).text


def test_of_what_both_changed_the_hubs_stays_and_is_told() -> None:
    published = push(card(NOTES)).text
    for old, new in (("abc", "theirs"), ("pretty_name: Scenes", "pretty_name: T"), ("# Scenes", "# T")):
        published = edited(published, old, new)
    mine = card("## Notes\n\nmine\n", front="pretty_name: M\nlicense: cc-by-4.0\ntags: [datasetkit]\n", title="# M")
    pushed = push(mine, published)
    assert pushed.kept == ("pretty_name", "the title", "## Notes")
    assert "mine" not in pushed.text
    assert "theirs" in pushed.text
    assert read_front_matter(pushed.text)["pretty_name"] == "T"
    again = push(mine, pushed.text)
    assert (again.text, again.kept) == (pushed.text, ())


@pytest.mark.parametrize("theirs", ["## Notes\n\ntheirs\n", ""])
def test_a_change_of_what_the_hub_changed_or_deleted_is_told(theirs: str) -> None:
    published = edited(push(card(NOTES)).text, NOTES, theirs)
    assert push(card("## Notes\n\nmine\n"), published).kept == ("## Notes",)
    assert push(card(), published).kept == (("## Notes",) if theirs else ())


def test_a_foreign_readme_keeps_its_text_and_gets_our_sections() -> None:
    pushed = push(card(), "---\nlicense: mit\n---\n# Theirs\n\nWords.\n")
    assert "# Theirs\n\nWords.\n" in pushed.text
    assert section_names(pushed.text) == ["a", "b"]
    assert (read_front_matter(pushed.text)["license"], pushed.kept) == ("mit", ("license",))
    again = push(card(), pushed.text)
    assert (again.text, again.kept) == (pushed.text, ())


def test_repository_and_page_are_in_example_and_citation() -> None:
    sections = (
        section("loading", 'DATASET = "my-dataset"  # path\nrow = DATASET'),
        section("citation", "@misc{dataset,\n  title = {T},\n  note = {N},\n}"),
    )
    text = push(card(*sections, 'DATASET = "mine"')).text
    assert 'DATASET = "user/scenes"\nrow = DATASET' in text
    assert 'DATASET = "mine"' in text
    assert f"  title = {{T}},\n  url = {{{ADDRESS}}},\n  note = {{N}},\n" in text
    downloaded = pushed_card(text, None, "other/name", "https://hub/other").text
    assert downloaded == text.replace("user/scenes", "other/name").replace("hub/datasets/other/name", "hub/other")


TEXTS = st.lists(
    st.sampled_from([NOTES, "## Notes\n\nx\n", "## More\n\ny\n", "words\n", "# Big\n", "```\n## no\n```\n"])
)
CARDS = st.builds(card, *[st.sampled_from(["", NOTES, "## Notes\n\nx\n", "words\n", "## More\n\ny\n", "# Big\n"])] * 3)


@given(CARDS, CARDS, CARDS)
@pytest.mark.slow
def test_three_cards_merge_into_one_that_stays(first: str, published: str, local: str) -> None:
    line = push(first).text.splitlines()[-1]
    theirs = f"{published.rstrip()}\n{line}\n"
    merged = push(local, theirs).text
    assert push(local, merged).text == merged
    assert set(push(local, push(first).text).text.split("\n")) == set(push(local).text.split("\n"))
    assert set(published.split("\n")) <= set(push(first, theirs).text.split("\n"))

"""Merging cards: what is generated is new, what its owner wrote stays, and nothing else happens."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from datasetkit.cli import app
from datasetkit.core.errors import BuiltFolderError
from datasetkit.export.card.front_matter import read_front_matter
from datasetkit.export.card.parts import sections_line
from datasetkit.export.card.sections import merge_card, section_names
from datasetkit.export.verification.files import FolderFiles
from datasetkit.export.verification.verify import verify_files
from tests.export.folders import record, rows_of, write_folder

pytestmark = pytest.mark.slow


def section(name: str, text: str) -> str:
    return f"<!-- datasetkit:begin {name} -->\n\n{text}\n\n<!-- datasetkit:end {name} -->\n"


def card(front: str, *parts: str, names: str | None = None) -> str:
    body = "\n".join(parts)
    names = " ".join(section_names(f"---\n---\n{body}")) if names is None else names
    return f"---\n{front}---\n\n# Title\n\n{body}\n{sections_line(names.split())}\n"


FRONT = "pretty_name: Title\nlicense: cc-by-4.0\ntags:\n- datasetkit\nconfigs:\n- config_name: default\n"
OLD = card(FRONT, section("a", "old a"), section("b", "old b"), section("c", "old c"))
NEW = card(FRONT, section("a", "new a"), section("b", "new b"), section("c", "new c"))
LINES = st.one_of(
    st.sampled_from(["", "## Notes", "# Mine", "```", "~~~~", "---", "| a |", "old a", "new b", "<!-- mine -->"]),
    st.text(st.characters(exclude_categories=["C", "Zl", "Zp"]), max_size=8),
)
MARKS = st.sampled_from(
    [f"<!-- datasetkit:{what} {name} -->" for what in ("begin", "end") for name in "abcd"]
    + ["<!-- datasetkit:sections a -->", "<!-- datasetkit:sections -->"]
)


@st.composite
def edited(draw: st.DrawFn, original: str = OLD) -> tuple[str, list[str], set[str]]:
    """An owner's version of a card: its text, the lines written outside of sections, the sections taken away."""
    head, body = original.split("\n\n# Title\n\n")
    word = "new" if original is NEW else "old"
    sections = {name: section(name, f"{word} {name}") for name in "abc"}
    kept = draw(st.permutations([name for name in "abc" if draw(st.booleans())]))
    texts = draw(st.lists(st.lists(LINES, max_size=4), min_size=len(kept) + 1, max_size=len(kept) + 1))
    parts = [*texts[0]]
    for name, text in zip(kept, texts[1:], strict=True):
        parts += [*sections[name].rstrip("\n").split("\n"), *text]
    parts.append(body.rstrip("\n").split("\n")[-1])
    text = head + "\n" + "\n".join(parts) + "\n"
    return text, [line for group in texts for line in group if line.strip()], set("abc") - set(kept)


def is_in_order(lines: list[str], text: str) -> bool:
    found = iter(text.split("\n"))
    return all(line in found for line in lines)


def test_a_card_merged_with_itself_is_itself(tmp_path: Path) -> None:
    assert merge_card(NEW, NEW) == NEW
    write_folder(tmp_path / "out", {"train": [rows_of([record(1)])]})
    generated = (tmp_path / "out" / "README.md").read_text()
    assert merge_card(generated, generated) == generated
    assert section_names(generated)[-1] == "citation"


@given(edited())
def test_owners_lines_stay_and_deleted_sections_stay_away(case: tuple[str, list[str], set[str]]) -> None:
    published, lines, deleted = case
    merged = merge_card(NEW, published)
    assert is_in_order(lines, merged)
    body = merged.split("\n---\n", 1)[1]
    order = [name for name in section_names(published) if name]
    assert section_names(merged) == order
    assert set(order) == set("abc") - deleted
    assert [section(name, f"new {name}") in body for name in order] == [True] * len(order)
    assert merge_card(NEW, merged) == merged
    assert merge_card(merged, merged) == merged


@given(edited(NEW), edited())
def test_lines_of_both_owners_stay(
    local: tuple[str, list[str], set[str]], hub: tuple[str, list[str], set[str]]
) -> None:
    merged = merge_card(local[0], hub[0])
    assert is_in_order(hub[1], merged)
    own = local[1][1:] if local[1] and local[1][0].startswith("# ") else local[1]  # a title, which the other has
    assert set(own) <= set(merged.split("\n"))
    assert merge_card(local[0], merged) == merged


@given(st.lists(st.one_of(LINES, MARKS), max_size=12))
def test_torn_marks_lose_no_text_outside_of_sections(lines: list[str]) -> None:
    published = f"---\n{FRONT}---\n" + "\n".join(lines) + "\n"
    merged = merge_card(NEW, published)
    assert merge_card(NEW, merged) == merged
    if not any(line.startswith("<!-- datasetkit:begin") for line in lines):
        assert is_in_order([line for line in lines if line.strip() and "datasetkit:" not in line], merged)


def test_text_after_a_torn_section_is_not_swallowed() -> None:
    torn = OLD.replace("<!-- datasetkit:end a -->\n", "Mine.\n").replace("sections a b c", "sections")
    once = merge_card(NEW, torn)
    assert "Mine." in once
    assert section("a", "new a") in once
    assert merge_card(NEW, once) == once


def test_a_section_that_is_new_comes_and_one_that_is_gone_goes() -> None:
    published = card(FRONT, section("a", "old a"), "Mine.\n", section("x", "gone"), section("c", "old c"))
    merged = merge_card(NEW, published)
    assert section_names(merged) == ["a", "b", "c"]
    assert merged.index("new a") < merged.index("new b") < merged.index("Mine.") < merged.index("new c")
    assert "gone" not in merged
    assert merged.endswith("<!-- datasetkit:sections a c b -->\n")
    assert section_names(merge_card(card(FRONT, section("a", "a"), section("x", "back")), merged)) == ["a", "x"]


def test_a_section_stays_deleted_while_the_last_line_names_it() -> None:
    published = OLD.replace(section("b", "old b"), "")
    assert section_names(merge_card(NEW, published)) == ["a", "c"]
    assert section_names(merge_card(NEW, published.replace("sections a b c", "sections a c"))) == ["a", "b", "c"]


def test_the_owners_title_stays() -> None:
    merged = merge_card(NEW, OLD.replace("# Title", "# Cats").replace("pretty_name: Title", "pretty_name: Cats"))
    assert "# Title" not in merged
    assert "\n# Cats\n" in merged
    assert read_front_matter(merged)["pretty_name"] == "Cats"


def test_sections_come_below_a_text_without_our_marks() -> None:
    body = "\n# All mine\n\nEvery word.\n"
    merged = merge_card(NEW, f"---\nmine: 1\n---\n{body}\n\n")
    assert merged.split("---\n", 2)[2].startswith(body)
    assert section_names(merged) == ["a", "b", "c"]
    assert "# Title" not in merged
    assert read_front_matter(merged) == {**read_front_matter(NEW), "mine": 1}
    assert merge_card(NEW, merged) == merged
    assert merge_card(NEW, "") == NEW


def test_a_card_without_marks_adds_text_and_takes_no_section() -> None:
    merged = merge_card(f"---\n{FRONT}---\n\n## Mine\n\nEvery word.\n", OLD)
    assert section_names(merged) == ["a", "b", "c"]
    assert "## Mine\n\nEvery word.\n" in merged
    assert merge_card(merged, merged) == merged


def test_front_matter() -> None:
    published = card(
        "version: 1.10\npretty_name: Cats\nlicense: other\nlicense_name: odd\nlicense_link: LICENSE\n"
        "tags: cats\nlanguage: no\nmine: {a: 2024-01-01}\n"
    )
    generated = card(FRONT + "language: [en]\nsource_datasets: [u/n]\n")
    front = merge_card(generated, published).split("---\n")[1]
    assert "version: 1.10\n" in front
    assert "language: no\n" in front
    assert yaml.safe_load(front) == {
        "version": 1.1,
        "pretty_name": "Cats",
        "license": "cc-by-4.0",
        "tags": ["datasetkit", "cats"],
        "language": False,
        "mine": yaml.safe_load("a: 2024-01-01"),
        "configs": [{"config_name": "default"}],
        "source_datasets": ["u/n"],
    }
    mixed = card("license: other\nlicense_name: mixed\nlicense_link: LICENSE\n")
    assert read_front_matter(merge_card(mixed, generated))["license_name"] == "mixed"


KEYS = st.sampled_from(["tags", "license", "license_name", "language", "mine", "other", "configs", "task_categories"])
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=6), st.floats(allow_nan=False)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=4,
)


@given(st.dictionaries(KEYS, VALUES, min_size=1))
def test_front_matter_keeps_own_keys_and_merging_is_idempotent(front: dict[str, object]) -> None:
    merged = merge_card(NEW, card(yaml.safe_dump(front, sort_keys=False)))
    value, ours = read_front_matter(merged), read_front_matter(NEW)
    assert {key: value[key] for key in front if key not in ours and key != "license_name"} == {
        key: item for key, item in front.items() if key not in ours and key != "license_name"
    }
    assert value["configs"] == ours["configs"]
    assert value["tags"][0] == "datasetkit"
    assert merge_card(NEW, merged) == merged


@pytest.mark.parametrize("front", ["- a\n", "a: [\n", "? [a]\n: b\n", "a: !!python/object:os.x {}\n"])
def test_unreadable_front_matter_is_refused_rather_than_lost(front: str) -> None:
    with pytest.raises(BuiltFolderError, match="front matter"):
        merge_card(NEW, f"---\n{front}---\n# Mine\n")
    with pytest.raises(BuiltFolderError, match="no end"):
        merge_card(NEW, "---\na: 1\n")


def test_windows_line_ends_and_a_byte_order_mark_are_read() -> None:
    assert merge_card(NEW, "\ufeff" + OLD.replace("\n", "\r\n")) == NEW


def test_card_renders_again_and_keeps_what_is_mine(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_folder(out, {"train": [rows_of([record(1), record(2)])]})
    path = out / "README.md"
    generated = path.read_text()
    mine = "## How I use it\n\nWith care.\n"
    text = generated.replace("<!-- datasetkit:begin columns -->", f"{mine}\n<!-- datasetkit:begin columns -->")
    path.write_text(
        text.replace("2 records of 2 images", "99 records").replace("pretty_name: P", "doi: 1\npretty_name: P")
    )
    ran = CliRunner().invoke(app, ["card", str(out)])
    assert ran.exit_code == 0, ran.output
    assert path.read_text() == text.replace("pretty_name: P", "doi: 1\npretty_name: P")
    assert list(verify_files(FolderFiles(out))) == []
    path.unlink()
    assert CliRunner().invoke(app, ["card", str(out)]).exit_code == 0
    again = path.read_text()
    assert again.split("begin phrases")[0] == generated.split("begin phrases")[0]
    assert not [item for item in out.iterdir() if item.name.startswith(".")]


def test_the_name_that_a_card_has_is_the_one_that_is_cited(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_folder(out, {"train": [rows_of([record(1)])]})
    path = out / "README.md"
    path.write_text(
        path.read_text().replace("pretty_name: Images, descriptions and key-object masks", "pretty_name: C&ts")
    )
    assert CliRunner().invoke(app, ["card", str(out)]).exit_code == 0
    assert "  title = {C\\&ts}," in path.read_text()


def test_a_card_that_is_no_text_is_left_as_it_is(tmp_path: Path) -> None:
    write_folder(tmp_path / "out", {"train": [rows_of([record(1)])]})
    path = tmp_path / "out" / "README.md"
    path.write_bytes(b"---\n---\ncaf\xe9\n")
    done = CliRunner().invoke(app, ["card", str(tmp_path / "out")])
    assert (done.exit_code, done.stdout) == (1, "")
    assert "README.md is not UTF-8 text" in done.stderr
    assert path.read_bytes() == b"---\n---\ncaf\xe9\n"


def test_a_mistake_in_front_matter_is_named_by_file_and_line(tmp_path: Path) -> None:
    write_folder(tmp_path / "out", {"train": [rows_of([record(1)])]})
    path = tmp_path / "out" / "README.md"
    path.write_text("---\na: 1\nb: [<x> | *c*\nd: 2\n---\n")
    done = CliRunner().invoke(app, ["card", str(tmp_path / "out")])
    assert done.exit_code == 1
    assert done.stderr.startswith(
        f"error: {path} cannot be kept: the card's front matter is not YAML: line 4, column 2: "
    )
    assert done.stderr.count("\n") == 1


def test_card_of_no_build_is_one_line(tmp_path: Path) -> None:
    ran = CliRunner().invoke(app, ["card", str(tmp_path)])
    assert ran.exit_code == 1
    assert ran.stderr.count("\n") == 1
    assert "manifest.json" in ran.stderr

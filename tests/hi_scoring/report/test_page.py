"""What the page says of scores."""

from __future__ import annotations

import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest

from datasetkit.ledger import DropReason
from hi_scoring.report.gallery import panel
from hi_scoring.report.page import write_page
from hi_scoring.results import Head
from hi_scoring.runs import Drop
from hi_scoring.score import looked_at
from hi_scoring.scores.options import ScoreOptions
from tests.hi_scoring.report.made import scores
from tests.hi_scoring.scored import TinySubject, data_of, row, score

HOSTILE = "a red </td><script>alert(1)</script><img src=http://x onerror=y> {{ 7*7 }}"


@pytest.mark.parametrize("by", ["hi:response", "image_mass:response"])
def test_the_table_is_headed_by_what_it_is_ranked_by(tmp_path: Path, by: str) -> None:
    write_page(tmp_path / "page.html", scores(), by=by, top=1)
    page = (tmp_path / "page.html").read_text("utf-8")
    assert f"<h2>Heads of the highest {by}</h2>" in page


class Tags(HTMLParser):
    """Counts elements, and gathers what they would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.fetched += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]


def test_a_whole_page_is_self_contained_and_shows_all_there_is(tmp_path: Path) -> None:
    data = data_of([row(number, description=HOSTILE) for number in range(6)])
    found = score(tmp_path / "run", data, positions=("response", "last"))
    heads = found.top(3)
    panels = [panel(one, heads) for one in looked_at(TinySubject(), data, ScoreOptions(), heads, 2)]
    drops = [Drop(number, f"row-{number}", DropReason.TRUNCATED, "<b>") for number in range(1200)]
    write_page(tmp_path / "page.html", found, by="hi:response", top=3, panels=panels, drops=drops)
    page = (tmp_path / "page.html").read_text("utf-8")
    parser = Tags()
    parser.feed(page)
    assert not parser.tags.keys() & {"script", "link", "iframe", "object", "embed"}
    assert all(address.startswith("data:image/png;base64,") for address in parser.fetched)
    assert parser.tags["img"] == len(parser.fetched) == 2 * (1 + 3) + 2 + 1
    assert HOSTILE not in page
    assert "{{ 7*7 }}" in page
    text = " ".join(re.sub(r"<[^>]+>", " ", re.sub(r'"data:[^"]*"', "", page)).split())
    for head in heads:
        assert f"layer {head.layer}, head {head.head}" in text
    for part in ("4 layers of 4 heads, 6 samples of rows", "95 % chance lift", "random halves of the data", "Kruskal"):
        assert part in text
    for part in ("positions “response”", "positions “last”", "positions response, last", "convention predicting"):
        assert part in text
    for part in ("binarisation top_area", "coverage_min 0.5", "evidence binary", "prompt Describe the image."):
        assert part in text
    assert "truncated the picture ends before its last row 1,200" in text


def test_a_page_of_one_head_and_few_scores_needs_no_more(tmp_path: Path) -> None:
    write_page(tmp_path / "page.html", scores(), by="hi:response", top=9)
    page = re.sub(r'"data:[^"]*"', "", (tmp_path / "page.html").read_text("utf-8"))
    assert scores().top(9) == [Head(0, 0)]
    assert "Too few layers or heads to tell whether layers differ." in page
    assert "nan" not in page

"""What the page says of scores."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from datasetkit.core.ledger import Drop, DropReason
from datasetkit.hi_scoring.scores.dataset_scores import looked_at
from datasetkit.hi_scoring.scores.report.gallery import panel
from datasetkit.hi_scoring.scores.report.page import write_page
from datasetkit.hi_scoring.scores.results import Head
from datasetkit.options.heads import ScoreOptions
from tests.hi_scoring.scored import TinySubject, data_of, row, score
from tests.hi_scoring.scores.report.made import made, scores
from tests.hi_scoring.scores.report.shown import Tags, words_of

HOSTILE = "a red </td><script>alert(1)</script><img src=http://x onerror=y> {{ 7*7 }}"


@pytest.mark.parametrize("by", ["hi:response", "image_mass:response"])
@pytest.mark.usefixtures("undrawn")
def test_the_table_is_headed_by_what_it_is_ranked_by(tmp_path: Path, by: str) -> None:
    write_page(tmp_path / "page.html", scores(), by=by, top=1)
    page = (tmp_path / "page.html").read_text("utf-8")
    assert f"<h2>Heads with the highest {by}</h2>" in page


@pytest.mark.usefixtures("undrawn")
def test_a_page_opens_with_question_answer_and_certainty(tmp_path: Path) -> None:
    write_page(tmp_path / "page.html", scores(), by="hi:response", top=1)
    text = words_of(tmp_path / "page.html")
    assert "Asked Which heads of" in text
    assert "look most at the objects that the text names? Ranked by Head Impact over the description&#39;s" in text
    assert "tokens ( hi:response ) on" in text
    assert "Found Layer 0, head 0 has the highest Head Impact over the description&#39;s tokens: 0.500 (95 %" in text
    assert "How sure Few samples (2): intervals" in text
    assert "`" not in text
    write_page(tmp_path / "page.html", scores(), by="image_mass:response", top=1)
    assert "score highest? Ranked by attention on the image over the description&#39;s tokens" in words_of(
        tmp_path / "page.html"
    )


@pytest.mark.usefixtures("undrawn")
def test_a_caution_comes_first_and_in_bold(tmp_path: Path) -> None:
    write_page(tmp_path / "page.html", scores(), by="hi:response", top=1, caution="m's <output> is meaningless")
    page = (tmp_path / "page.html").read_text("utf-8")
    assert "<dt>How sure</dt><dd><strong>m&#39;s &lt;output&gt; is meaningless.</strong> Few samples" in page


@pytest.mark.usefixtures("undrawn")
def test_heads_above_chance_lead_and_a_weak_order_is_told(tmp_path: Path) -> None:
    drawn = np.random.default_rng(0).random((40, 2, 4)) + 1
    found = made({("hi", "response"): drawn}, {("hi", "response"): np.ones((40, 2, 4))})
    write_page(tmp_path / "page.html", found, by="hi:response", top=3)
    text = words_of(tmp_path / "page.html")
    assert "Found 8 of 8 heads exceed chance with the whole 95 % interval. Layer" in text
    opening = text.partition("How sure")[0]
    assert re.search(r"not settled: halves of the data agree with Kendall&#39;s tau -?0\.\d\d, below 0\.5", opening)
    assert "ranks first" not in text
    assert "Few samples" not in text


@pytest.mark.slow
def test_a_whole_page_is_self_contained_and_shows_all_there_is(tmp_path: Path) -> None:
    data = data_of([row(number, description=HOSTILE) for number in range(6)])
    found = score(tmp_path / "run", data, positions=("response", "last"))
    heads = found.top(3)
    panels = [panel(one, heads) for one in looked_at(TinySubject(), data, ScoreOptions(), heads, 2)]
    drops = [Drop("record", f"row-{number}", DropReason.TRUNCATED, "<b>", number) for number in range(1200)]
    write_page(tmp_path / "page.html", found, by="hi:response", top=3, panels=panels, drops=drops)
    page = (tmp_path / "page.html").read_text("utf-8")
    parser = Tags()
    parser.feed(page)
    assert not parser.tags.keys() & {"script", "link", "iframe", "object", "embed"}
    assert all(address.startswith("data:image/png;base64,") for address in parser.fetched)
    assert parser.tags["img"] == len(parser.fetched) == 2 * (1 + 3) + 2 + 1
    assert HOSTILE not in page
    assert "{{ 7*7 }}" in page
    text = words_of(tmp_path / "page.html")
    for head in heads:
        assert f"layer {head.layer}, head {head.head}" in text
    for part in ("4 layers of 4 heads, 6 samples of rows", "95 % chance lift", "random halves of the data", "Kruskal"):
        assert part in text
    for part in ("positions “response”", "positions “last”", "positions response, last", "convention predicting"):
        assert part in text
    for part in ("binarisation top_area", "coverage_min 0.5", "evidence binary", "prompt Describe the picture."):
        assert part in text
    assert "truncated the image ends before its last row 1,200" in text


@pytest.mark.usefixtures("undrawn")
def test_a_page_of_one_head_and_few_scores_needs_no_more(tmp_path: Path) -> None:
    write_page(tmp_path / "page.html", scores(), by="hi:response", top=9)
    page = re.sub(r'"data:[^"]*"', "", (tmp_path / "page.html").read_text("utf-8"))
    assert scores().top(9) == [Head(0, 0)]
    assert "Too few layers or heads to tell whether layers differ." in page
    assert "nan" not in page


@pytest.mark.parametrize(
    ("positions", "whose"),
    [
        ("response", "averaged over all tokens of the text"),
        ("phrase", "averaged over the tokens of the phrases"),
        ("last", "averaged over the last token of the prompt"),
        ("generated", "The model wrote: "),
    ],
)
@pytest.mark.usefixtures("undrawn")
def test_captions_name_positions_and_choice_of_samples(tmp_path: Path, positions: str, whose: str) -> None:
    data = data_of([row(number) for number in range(3)])
    found = score(tmp_path / "run", data, positions=("response", positions)[positions == "response" :])
    by = f"ram:{positions}"
    options = found.options.model_copy(update={"max_new_tokens": 4})
    heads = found.top(2, by)
    panels = [panel(one, heads) for one in looked_at(TinySubject(), data, options, heads, 2, positions)]
    write_page(tmp_path / "page.html", found, by=by, top=2, panels=panels)
    text = words_of(tmp_path / "page.html")
    assert whose in text
    assert f"(positions {positions})" in text
    assert ("Scores take each phrase by itself" in text) == (positions == "phrase")
    assert "the first samples of the data that have anything at these positions" in text
    shown = 1 if positions == "response" else 2
    assert text.count(f"Framed: the heads of the table above, which rank highest by {by}") == shown
    assert text.count("not by anything on these maps") == shown - 1


@pytest.mark.usefixtures("undrawn")
def test_curves_begin_with_the_score_that_heads_are_ranked_by(tmp_path: Path) -> None:
    write_page(tmp_path / "page.html", scores(), by="image_mass:response", top=1)
    assert 'alt="Mean of image_mass, hi, ram at response in each layer"' in (tmp_path / "page.html").read_text("utf-8")


@pytest.mark.usefixtures("undrawn")
def test_page_alone_explains_names_and_settings(tmp_path: Path) -> None:
    write_page(tmp_path / "page.html", scores(), by="ram:response", top=1)
    text = words_of(tmp_path / "page.html")
    for part in (
        "HI (hi) Head Impact",
        "image (image_mass) share",
        "pointing share of samples",
        "lift (hi_lift) (HI",
    ):
        assert part in text
    assert "Computed per sample, then averaged" in text
    assert "entropy over its connected parts" not in text, "it was not scored"
    for part in ("phrase: the tokens of the phrases", "last: the last token of the prompt", "the row before, which"):
        assert part in text
    for part in ("ranked by ram:response", "dtype bfloat16", "batch 3", "2,000 draws, seed 0", "20 random splits"):
        assert part in text
    assert f"model: SHA-256 of its files {'0' * 64}" in text
    assert "dataset: SHA-256 of its files not known" in text

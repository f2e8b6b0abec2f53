"""The page of a comparison: the numbers of its tables, whatever was measured, and nothing from a network."""

from __future__ import annotations

import html
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from datasetkit.hi_scoring.comparison.report.conclusions import conclusions
from datasetkit.hi_scoring.comparison.report.page import write_page
from datasetkit.hi_scoring.comparison.report.predictions import Asked, Said
from datasetkit.hi_scoring.report.text import p_value, signed
from tests.hi_scoring.comparison.report.made import ALL, ANSWERS, CAPTIONS, LAYERS, Made, made, make
from tests.hi_scoring.scores.report.shown import Tags, words_of

HOSTILE = "a red </td><script>alert(1)</script><img src=http://x onerror=y> {{ 7*7 }}"


def page(folder: Path, one: Made, asked: tuple[Asked, ...] = ()) -> Path:
    path = folder / "report.html"
    write_page(path, one.comparison, one.shifts, one.contrasts, one.description, asked)
    return path


def words(folder: Path, one: Made, asked: tuple[Asked, ...] = ()) -> str:
    return html.unescape(words_of(page(folder, one, asked)))


@pytest.mark.usefixtures("undrawn")
def test_numbers_are_those_of_the_tables(tmp_path: Path) -> None:
    one = made(tests=("test",), metrics=("cider", "key_recall", *ANSWERS))
    text = words(tmp_path, one)
    for group in LAYERS:
        part = one.shifts[one.shifts["group"] == group]
        cells = " ".join(
            f"{row.figure:.3f} ± {row.spread:.3f} {row.shift:+.3f}{'*' if row.p_holm < 0.05 else ''} "
            f"{row.low:.3f} to {row.high:.3f}"
            for row in part[part["metric"].isin(ALL)].itertuples()
        )
        assert f"{group} 2 runs {part['trainable'].iloc[0]} " in text
        assert cells in text
        by_type = part[part["metric"] == "accuracy:count"].iloc[0]
        assert f"{by_type['figure']:.3f} ± {by_type['spread']:.3f} {by_type['shift']:+.3f} " in text
    for row in one.contrasts.itertuples():
        size, interval = signed(row.size), f"{row.low:.3f} to {row.high:.3f}"
        mark = "" if row.second == "all" else "*"
        assert f"{row.second} {row.difference:+.3f} {size}{mark} {interval} < 0.001 {p_value(row.p_holm)}" in text


@pytest.mark.usefixtures("undrawn")
def test_the_verdict_comes_first_and_says_why(tmp_path: Path) -> None:
    one = made(tests=("test",))
    text = words(tmp_path, one)
    assert f"top-layers:1: holds {conclusions(one.comparison, one.contrasts)[0].sentence}" in text
    assert text.index("top-layers:1: holds") < text.index("Figures and shifts")
    for row in one.shifts[one.shifts["group"] == "bottom-layers:1"].itertuples():
        assert f"{row.shift:+.3f}* for the claim" in text
    assert "Layers and heads were ranked by hi:phrase on base-train." in text
    text = words(tmp_path, made(("top-heads:2", "random-heads:2"), tests=("test",), metrics=("cider", "accuracy")))
    assert "top-heads:2: does not hold" in text
    assert text.count("* against it") == 2


@pytest.mark.usefixtures("undrawn")
def test_an_answer_against_the_claim_is_explained(tmp_path: Path) -> None:
    one = made(("top-heads:2", "random-heads:2"), tests=("test",), metrics=("cider", "accuracy"))
    text = words(tmp_path, one)
    assert text.index("The claim does not hold here. For top-heads:2") < text.index("Does the claim hold?")
    assert "Such an answer is an honest result, not a failed run" in text
    assert "honest result" not in words(tmp_path, made(tests=("test",)))
    single = replace(
        one, comparison=replace(one.comparison, groups={name: runs[:1] for name, runs in one.comparison.groups.items()})
    )
    toy = single.told(model={"id": "toyworld:vlm"})
    assert "and several --seeds ; make paper in a clone of datasetkit does, in about 30 minutes." in words(
        tmp_path, toy
    )
    other = single.told(model={"id": "lab/vlm"})
    assert "make paper" not in words(tmp_path, other)


@pytest.mark.slow
def test_a_page_is_self_contained_and_escapes_what_others_wrote(tmp_path: Path) -> None:
    asked = Asked(HOSTILE, HOSTILE, HOSTILE, (Said(HOSTILE, HOSTILE, HOSTILE),))
    one = made(metrics=("accuracy", "cider", f"accuracy:{HOSTILE}"))
    told = one.told(model={"id": HOSTILE}, data={"name": HOSTILE})
    text = page(tmp_path, told, (asked,)).read_text("utf-8")
    parser = Tags()
    parser.feed(text)
    assert not parser.tags.keys() & {"script", "link", "iframe", "object", "embed", "a"}
    assert all(address.startswith("data:image/png;base64,") for address in parser.fetched)
    assert parser.tags["img"] == len(parser.fetched) == 2 * 2 + 1
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in text
    assert HOSTILE not in text
    assert text.count("{{ 7*7 }}") > 8


@pytest.mark.usefixtures("undrawn")
def test_predictions_are_shown_with_what_is_wrong_with_them(tmp_path: Path) -> None:
    asked = Asked("r1", "What colour?", "red", (Said("untuned", "blue", "wrong"), Said("all", "red", "right")))
    text = words(tmp_path, made(metrics=("accuracy",)), (asked,))
    assert "r1: What colour? wanted red untuned blue (wrong) all red (right)" in text
    assert "the run with the lowest seed" in text


@pytest.mark.usefixtures("undrawn")
def test_tuned_modules_are_listed_by_seed_of_random_draws(tmp_path: Path) -> None:
    text = words(tmp_path, made(("top-layers:1", "random-layers:1", "top-heads:2"), metrics=("cider",)))
    assert "top-layers:1 0, 1 2 all 1 language_model.layers.2.self_attn.q_proj" in text
    assert "random-layers:1 0 0 all 1 language_model.layers.0.self_attn.q_proj" in text
    assert "random-layers:1 1 1 all 1 language_model.layers.1.self_attn.q_proj" in text
    assert "top-heads:2 0, 1 2-3 layer 2: 1, 3-4; layer 3: 0 2" in text


@pytest.mark.parametrize(
    ("tests", "metrics", "there", "not_there"),
    [
        (("test",), ("cider", *ANSWERS), "by type of question", "forgotten"),
        (("test", "forgetting"), CAPTIONS, "What is learnt against what is forgotten", "right answers"),
        (("test", "forgetting"), ("accuracy",), "right answers", "by type of question"),
    ],
)
@pytest.mark.usefixtures("undrawn")
def test_what_was_not_measured_is_not_spoken_of(
    tmp_path: Path, tests: tuple[str, ...], metrics: tuple[str, ...], there: str, not_there: str
) -> None:
    text = words(tmp_path, made(("top-layers:1",), (0,), tests, metrics))
    assert there in text
    assert not_there not in text


@pytest.mark.usefixtures("undrawn")
def test_one_way_of_tuning_and_one_seed_need_no_more(tmp_path: Path) -> None:
    one = made(("layers:1,3",), seeds=(0,), tests=("test",), metrics=("accuracy",)).told(scores=None)
    text = words(tmp_path, one)
    assert "only seed 0: seeds were not varied" in text
    assert "seeds were not varied: each configuration ran once" in text
    assert "The claim was not tested" in text
    assert "single runs" not in text
    assert "were ranked by" not in text
    assert "larger by" not in text.lower()
    assert "nan" not in text


@pytest.mark.usefixtures("undrawn")
def test_what_is_not_defined_is_a_dash(tmp_path: Path) -> None:
    one = made()
    nothing = dict.fromkeys(("figure", "spread", "shift", "low", "high", "p", "p_holm"), np.nan)
    compared = dict.fromkeys(("difference", "size", "low", "high", "p", "p_holm"), np.nan)
    told = replace(one, shifts=one.shifts.assign(**nothing), contrasts=one.contrasts.assign(**compared))
    text = words(tmp_path, told)
    assert "nan" not in text
    assert "top-layers:1: cannot be told" in text
    assert "all - - - - - -" in text.replace("2 runs 512 0.051 % ", "")


@pytest.mark.slow
def test_equal_comparisons_are_equal_bytes(tmp_path: Path) -> None:
    first = page(tmp_path, made(metrics=("accuracy",))).read_bytes()
    assert first == page(tmp_path, make(metrics=("accuracy",))).read_bytes()

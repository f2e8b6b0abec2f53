"""Plots of a comparison: significant shifts are filled, undefined ones absent, equal tables give equal bytes."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from datasetkit.hi_scoring.comparison.report.figures import final_figures, forest, main_metrics, trade_off
from tests.hi_scoring.comparison.report.made import ALL, ANSWERS, Made, made, make

INK = (0x2F, 0x5D, 0x8A)


def count(png: bytes, colour: tuple[int, int, int] = INK) -> int:
    return int((np.asarray(Image.open(io.BytesIO(png)).convert("RGB")) == colour).all(-1).sum())


def test_significant_shifts_are_filled() -> None:
    one = made(tests=("test",), metrics=("cider",))
    filled = count(forest(one.comparison, one.shifts.assign(p_holm=0.01), "test"))
    assert filled > 1.3 * count(forest(one.comparison, one.shifts.assign(p_holm=0.5), "test"))


def test_what_is_not_defined_is_not_drawn() -> None:
    one = made(("top-layers:1",), seeds=(0,), tests=("test",), metrics=("cider",))
    nothing = one.shifts.assign(figure=np.nan, shift=np.nan, low=np.nan, high=np.nan)
    for draw in (forest, final_figures):
        assert count(draw(one.comparison, one.shifts, "test")) > 50
        assert count(draw(one.comparison, nothing, "test")) == 0


def test_single_runs_are_drawn_next_to_their_mean() -> None:
    one = made(("top-layers:1",), tests=("test",), metrics=("cider",))
    alone = made(("top-layers:1",), seeds=(0,), tests=("test",), metrics=("cider",))
    for draw in (forest, final_figures):
        with_runs = Image.open(io.BytesIO(draw(one.comparison, one.shifts, "test"))).convert("L")
        without = Image.open(io.BytesIO(draw(alone.comparison, one.shifts, "test"))).convert("L")
        assert np.count_nonzero(np.asarray(with_runs) < 250) > np.count_nonzero(np.asarray(without) < 250)


@pytest.mark.parametrize(("metrics", "groups"), [(("accuracy",), 1), (ALL, 8)])
@pytest.mark.slow
def test_plots_fit_a_page(metrics: tuple[str, ...], groups: int) -> None:
    one = made(("all",), seeds=(0,), metrics=metrics)
    names = [f"random-layers:10:{number}" for number in range(groups)]
    many = replace(one.comparison, groups=dict.fromkeys(names, one.comparison.groups["all"]))
    shifts = pd.concat([one.shifts[one.shifts["group"] == "all"].assign(group=name) for name in names])
    drawn = [draw(many, shifts, "test") for draw in (forest, final_figures)]
    drawn.append(trade_off(shifts, ("test", "forgetting"), main_metrics(shifts, ("test", "forgetting"))))
    for png in drawn:
        width, height = Image.open(io.BytesIO(png)).size
        assert 300 < width <= 1320
        assert 150 < height < 1320


@pytest.mark.parametrize(
    ("metrics", "main"),
    [
        ((*ALL, *ANSWERS[1:]), ["cider", "key_recall", "accuracy"]),
        (("bleu4", "rouge_l"), ["bleu4", "rouge_l"]),
        (ANSWERS, ["accuracy"]),
    ],
)
def test_few_metrics_are_compared(metrics: tuple[str, ...], main: list[str]) -> None:
    one = made(("all",), seeds=(0,), metrics=metrics)
    assert main_metrics(one.shifts, ("test", "forgetting")) == main
    other = one.shifts[(one.shifts["test"] == "test") | (one.shifts["metric"] == "none of them")]
    assert main_metrics(other, ("test", "forgetting")) == []


def drawn(one: Made) -> list[bytes]:
    return [
        forest(one.comparison, one.shifts, "test"),
        final_figures(one.comparison, one.shifts, "test"),
        trade_off(one.shifts, ("test", "forgetting"), ["cider"]),
    ]


@pytest.mark.slow
def test_equal_tables_give_equal_bytes() -> None:
    one, other = made(metrics=("cider",)), made(metrics=("cider",), samples=30)
    assert drawn(one) == drawn(make(metrics=("cider",)))
    assert not set(drawn(one)) & set(drawn(other))

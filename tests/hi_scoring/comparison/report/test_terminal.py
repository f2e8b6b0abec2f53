"""A comparison in the terminal: the numbers of its tables, within 80 columns."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
from rich.console import Console

from datasetkit.hi_scoring.comparison.report.conclusions import conclusions
from datasetkit.hi_scoring.comparison.report.terminal import comparison_tables
from datasetkit.hi_scoring.evaluation.metrics import METRICS
from datasetkit.hi_scoring.report.text import p_value
from tests.hi_scoring.comparison.report.made import ALL, LAYERS, PARAMETERS, Made, made


def shown(one: Made) -> str:
    console = Console(width=80, file=io.StringIO())
    with console.capture() as captured:
        for part in comparison_tables(one.comparison, one.shifts, one.contrasts):
            console.print(part)
    return captured.get()


def test_figures_and_shifts_are_those_of_the_table() -> None:
    one = made(tests=("test",), metrics=ALL)
    lines = shown(one).splitlines()
    for group in LAYERS:
        part = one.shifts[(one.shifts["group"] == group) & one.shifts["metric"].isin(list(METRICS))]
        place = next(place for place, line in enumerate(lines) if line.split()[:1] == [group])
        assert lines[place].split()[1:] == [f"{value:.3f}" for value in part["figure"]]
        trained = part["trainable"].iloc[0]
        said = [f"{trained}", f"({100 * trained / PARAMETERS:.2g}", "%)"]
        assert lines[place + 1].split() == [*said, *(f"{value:+.3f}*" for value in part["shift"])]
    assert "means of 2 runs; * p < 0.05, corrected for 28 tests (Holm); ↓ lower is better" in " ".join(
        shown(one).split()
    )


def test_contrasts_are_those_of_the_table_for_the_test_set() -> None:
    one = made()
    text = " ".join(shown(one).split())
    part = one.contrasts[one.contrasts["test"] == "test"]
    assert len(part) == 6
    for row in part.itertuples():
        mark = "" if row.second == "all" else "*"
        assert f"{row.second} {row.size:+.3f}{mark} {row.low:.3f} to {row.high:.3f} {p_value(row.p_holm)}" in text
    assert "forgetting: how much more" not in text
    assert conclusions(one.comparison, one.contrasts)[0].sentence in text


def test_no_number_is_cut_in_80_columns() -> None:
    one = made(tests=("test",), metrics=ALL)
    long = "random-heads:100:12"
    numbers = {"figure": 0.123, "shift": -1.234, "trainable": 39_976_960, "share": 0.0056, "p_holm": 0.001, "n": 12_345}
    wide = replace(
        one,
        comparison=replace(one.comparison, groups=one.comparison.groups | {long: one.comparison.groups["all"]}),
        shifts=one.shifts.assign(**numbers).replace({"group": {"all": long}}),
        contrasts=one.contrasts.assign(size=-0.123, low=-0.234, high=-0.111, p_holm=0.001, second=long),
    )
    text = shown(wide)
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 80
    for part, count in {
        "-1.234*": len(LAYERS) * 7,
        "39,976,960 (0.56 %)": 1 + len(LAYERS),
        "12,345": 7,
        "-0.234 to -0.111": len(one.contrasts),
        f"{long} ": 1 + len(one.contrasts),
    }.items():
        assert text.count(part) == count


def test_one_group_with_one_seed_has_no_contrasts() -> None:
    one = made(("layers:1,3",), seeds=(0,), tests=("test",), metrics=("accuracy",))
    text = shown(one)
    assert "than" not in text.split("The claim was not tested")[0].split()
    assert "runs" not in text
    assert "↓" not in text


def test_what_is_not_defined_is_a_dash() -> None:
    one = made()
    nothing = one.shifts.assign(figure=np.nan, shift=np.nan, low=np.nan, high=np.nan, p_holm=np.nan)
    text = shown(replace(one, shifts=nothing))
    assert "nan" not in text
    assert text.count(" -") >= 2 * 2 * (1 + 2 * len(LAYERS))

"""Summary of a comparison in numbers: measures, what was tuned, settings."""

from __future__ import annotations

import numpy as np
import pytest

from datasetkit.hi_scoring.comparison.report.summary import (
    contrast_rows,
    group_rows,
    lead,
    settings,
    tuned_rows,
)
from tests.hi_scoring.comparison.report.made import made


def test_undefined_values_are_unmarked_dashes() -> None:
    found = made()
    gone = found.shifts.assign(figure=np.nan, spread=np.nan, shift=np.nan, low=np.nan, high=np.nan, p_holm=np.nan)
    for row in group_rows(gone, "test", ["cider"])[1:]:
        [one] = row.measures
        assert (one.figure, one.spread, one.shift, one.interval) == ("-", "", "-", "-")
    gone = found.contrasts.assign(difference=np.nan, size=np.nan, low=np.nan, high=np.nan, p=np.nan, p_holm=np.nan)
    for row in contrast_rows(gone, "test", "top-layers:1"):
        assert (row.difference, row.size, row.interval, row.p, row.p_holm) == ("-",) * 5


def test_runs_with_equal_tuning_share_a_row() -> None:
    found = made(("top-layers:1", "random-layers:1", "all", "top-heads:2"), seeds=(0, 1, 5), metrics=("cider",))
    assert [(row.group, row.seeds, row.layers, row.heads) for row in tuned_rows(found.comparison)] == [
        ("top-layers:1", "0, 1, 5", "2", ""),
        ("random-layers:1", "0", "0", ""),
        ("random-layers:1", "1, 5", "1", ""),
        ("all", "0, 1, 5", "0-3", ""),
        ("top-heads:2", "0, 1, 5", "2-3", "layer 2: 1, 3-4; layer 3: 0"),
    ]


def test_settings_cover_bench_and_cells() -> None:
    found = made()
    told = settings(found.comparison, found.description)
    assert told["training: learning rate"] == "0.005"
    assert told["training: patience"] == "none"
    assert told["adapter: targets"] == "q_proj, o_proj"
    assert told["scores: data: name"] == "base-train"
    assert told["tests: forgetting: sha256"] == "cd" * 32
    assert told["configurations"] == "top-layers:1, random-layers:1, bottom-layers:1, all"
    assert told["seeds"] == "0, 1"
    assert told["draws of the bootstrap"] == "10,000, seed 0"


@pytest.mark.parametrize(
    ("seeds", "told"), [((0, 1), ", seeds 0, 1."), ((4,), ", only seed 4: seeds were not varied.")]
)
def test_the_lead_names_seeds_and_test_sets(seeds: tuple[int, ...], told: str) -> None:
    found = made(seeds=seeds, metrics=("cider",))
    text = lead(found.comparison, found.description)
    assert told in text
    assert text.startswith("4 configurations tuned on 13,640 examples of shifted-train")
    assert text.endswith("Tested on test-data (test, 40 samples) and forgetting-data (forgetting, 40 samples).")

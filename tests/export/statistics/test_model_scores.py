"""Statistics of object scores: counted by hand, and equal to numpy's."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from datasetkit.core.record import Scores
from datasetkit.export.statistics.model_scores import ScoreCounter, ScoreSummary


def counted(*objects: Scores) -> dict[str, ScoreSummary]:
    counter = ScoreCounter()
    for scores in objects:
        counter.add(asdict(scores))
    return counter.finish()


def test_only_what_was_measured_counts() -> None:
    found = counted(Scores(detection=0.25, stability=1.0), Scores(detection=0.5), Scores())
    assert found == {
        "detection": ScoreSummary(2, 0.375, 0.25, 0.25, 0.25, 0.5, 0.5),
        "stability": ScoreSummary(1, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0),
    }


@given(st.lists(st.floats(0, 1), min_size=1))
def test_figures_are_those_of_the_rounded_values(values: list[float]) -> None:
    rounded = [round(1000 * value) for value in values]
    quantiles = np.percentile(rounded, [5, 25, 50, 75, 95], method="inverted_cdf") / 1000
    (found,) = counted(*(Scores(similarity=value) for value in values)).values()
    assert [found.p5, found.p25, found.median, found.p75, found.p95] == quantiles.tolist()
    assert found.measured == len(values)
    assert abs(found.mean - np.mean(values)) <= 0.001
    assert ScoreSummary(**json.loads(json.dumps(asdict(found)))) == found

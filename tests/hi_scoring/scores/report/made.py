"""Scores for tests of reports."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from datasetkit.core.detections import ModelIdentity
from datasetkit.hi_scoring.scores.results import HeadScores
from datasetkit.options.heads import ScoreOptions

SHOWN = {"hi": 0.5, "hi_lift": -0.2, "ram": 0.25, "image_mass": 0.75, "pointing": 1.0}


def scores(shape: tuple[int, int] = (1, 1)) -> HeadScores:
    """Two samples of (layers, heads) with the same scores."""
    return made({(name, "response"): np.full((2, *shape), value) for name, value in SHOWN.items()})


def made(
    values: Mapping[tuple[str, str], NDArray[np.float64]],
    chances: Mapping[tuple[str, str], NDArray[np.float64]] | None = None,
) -> HeadScores:
    """Scores of some samples of a toy dataset, by default without chance levels."""
    count = len(next(iter(values.values())))
    return HeadScores(
        values,
        chances=chances or {},
        record_ids=[str(number) for number in range(count)],
        options=ScoreOptions(),
        model=ModelIdentity("model", "tiny", None, "0" * 64),
        dataset={"name": "toy", "split": "train", "rows": count, "revision": None, "sha256": None},
        environment={"dtype": "bfloat16", "batch": 3},
    )

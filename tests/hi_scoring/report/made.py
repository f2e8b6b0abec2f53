"""Scores for tests of reports."""

from __future__ import annotations

import numpy as np

from datasetkit.models import ModelIdentity
from hi_scoring.results import HeadScores
from hi_scoring.scores.options import ScoreOptions

SHOWN = {"hi": 0.5, "hi_lift": -0.2, "ram": 0.25, "image_mass": 0.75, "pointing": 1.0}


def scores(shape: tuple[int, int] = (1, 1)) -> HeadScores:
    """Two samples of (layers, heads) with the same scores."""
    return HeadScores(
        {(name, "response"): np.full((2, *shape), value) for name, value in SHOWN.items()},
        chances={},
        record_ids=["a", "b"],
        options=ScoreOptions(),
        model=ModelIdentity("model", "tiny", None, "0" * 64),
        dataset={"name": "toy", "split": "train", "rows": 2, "revision": None, "sha256": None},
    )

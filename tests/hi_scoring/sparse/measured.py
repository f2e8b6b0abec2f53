"""Benches of sparse prefill on the tiny LLaVA, for tests of measurements."""

from __future__ import annotations

from typing import Any

import numpy as np

from datasetkit.hi_scoring.scores.results import HeadScores
from datasetkit.hi_scoring.sparse.bench import Bench
from datasetkit.hi_scoring.sparse.conditions import Condition, conditions_of
from datasetkit.options.heads import ScoreOptions, SparsityOptions, TextOptions, WritingOptions
from tests.hi_scoring.scored import TinySubject
from tests.hi_scoring.tiny_parts import HEADS, LAYERS
from tests.hi_scoring.tuned import some_examples

SHAPE = (LAYERS, HEADS)
# A tiny prompt has about fifty tokens.
SMALL = {"window": 4, "sink": 1, "dense_above": 1.0, "share": 0.2}


def head_scores(*, last_first: bool = False, **more: Any) -> HeadScores:
    """Scores of the tiny LLaVA: the best heads are the first, or last, of each layer, later layers first."""
    values = np.arange(LAYERS)[:, None] - 10.0 * np.arange(HEADS)[:: -1 if last_first else 1]
    return HeadScores(
        {("ram", "response"): np.tile(values, (2, 1, 1))},
        **{
            "chances": {},
            "record_ids": ["a", "b"],
            "options": ScoreOptions(),
            "model": TinySubject().identity,
            "dataset": {"name": "scored"},
            **more,
        },
    )


def conditions(draws: int = 2, scores: HeadScores | None = None, **options: Any) -> list[Condition]:
    chosen = SparsityOptions(**{**SMALL, **options})
    return conditions_of(scores or head_scores(), TinySubject().identity, SHAPE, chosen, draws)


def bench_of(**more: Any) -> Bench:
    """A bench on three rows, each with a description and a question."""
    return Bench(
        **{
            "subject": TinySubject(),
            "examples": some_examples(3),
            "scores": head_scores(),
            "options": SparsityOptions(**SMALL),
            "texts": TextOptions(),
            "writing": WritingOptions(caption_tokens=4, answer_tokens=2),
            "namer": None,
            "kernel": "blocks",
            "batch": 4,
        }
        | more
    )

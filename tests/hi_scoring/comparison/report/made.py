"""Comparisons for tests of reports: hand-made values of every sample, without a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from datasetkit.hi_scoring.comparison.cells import CellResult
from datasetkit.hi_scoring.comparison.compare import Comparison
from datasetkit.hi_scoring.comparison.table import contrasts_table, shifts_table
from datasetkit.hi_scoring.evaluation.metrics import METRICS, Measured
from datasetkit.hi_scoring.statistics import FloatArray

CAPTIONS = ("bleu4", "rouge_l", "cider", "key_precision", "key_recall", "hallucination")
ANSWERS = ("accuracy", "accuracy:colour", "accuracy:count")
ALL = (*CAPTIONS, "accuracy")
# How far each group is above the untuned model, in each metric.
EFFECTS = {
    "top-layers:1": 0.3,
    "random-layers:1": 0.05,
    "bottom-layers:1": 0.02,
    "all": 0.35,
    "top-heads:2": 0.01,
    "random-heads:2": -0.2,
    "layers:1,3": 0.1,
}
LAYERS = ("top-layers:1", "random-layers:1", "bottom-layers:1", "all")
PARAMETERS = 1_000_000


@dataclass(frozen=True)
class Made:
    """A comparison with its tables and the description of its bench."""

    comparison: Comparison
    shifts: pd.DataFrame
    contrasts: pd.DataFrame
    description: dict[str, Any]

    def told(self, **changed: Any) -> Made:
        """Return the same with another description."""
        return replace(self, description=self.description | changed)


def make(
    groups: tuple[str, ...] = LAYERS,
    seeds: tuple[int, ...] = (0, 1),
    tests: tuple[str, ...] = ("test", "forgetting"),
    metrics: tuple[str, ...] = ("cider", "accuracy"),
    samples: int = 40,
) -> Made:
    """Return a comparison of some of the groups of ``EFFECTS``; more groups take longer."""
    found = comparison({group: EFFECTS[group] for group in groups}, seeds, tests, metrics, samples)
    return Made(found, shifts_table(found), contrasts_table(found), description(tests))


made = cache(make)


def comparison(
    groups: Mapping[str, float],
    seeds: Sequence[int],
    tests: Sequence[str],
    metrics: Sequence[str],
    samples: int,
) -> Comparison:
    """Runs of groups with metrics this far above the untuned model's; half as far below it on other test sets."""
    untuned = _cell("untuned", "untuned", None, 0, 0.0, tests, metrics, samples)
    cells = {
        group: tuple(
            _cell(
                f"{_plain(group)}--seed-{seed}", group, _selection(group, seed), seed, effect, tests, metrics, samples
            )
            for seed in seeds
        )
        for group, effect in groups.items()
    }
    return Comparison(untuned, cells)


def description(tests: Sequence[str]) -> dict[str, Any]:
    """The description of a bench."""
    return {
        "made_by": "datasetkit compare",
        "versions": {"datasetkit": "0.1.0", "peft": "0.21.2"},
        "model": {"id": "toyworld:vlm", "revision": None, "sha256": "ab" * 32},
        "dtype": "float32",
        "data": _data("shifted-train", 2000),
        "examples": 13640,
        "scores": {"by": "hi:phrase", "layer": "mean", "data": _data("base-train", 500)},
        "texts": {"tasks": ["caption", "vqa"], "prompt": "Describe the picture.", "question_prompt": "{question}"},
        "adapter": {"method": "LORA", "rank": 8, "targets": ["q_proj", "o_proj"], "settings": {}},
        "training": {"steps": 400, "learning_rate": 0.005, "patience": None},
        "validation": None,
        "tests": {name: _data(f"{name}-data", 40) for name in tests},
        "writing": {"caption_tokens": 64, "answer_tokens": 8},
        "batch": 32,
    }


def _data(name: str, rows: int) -> dict[str, Any]:
    return {"name": name, "split": "train", "revision": None, "sha256": "cd" * 32, "rows": rows}


def _selection(group: str, seed: int) -> dict[str, Any]:
    if "heads" in group:
        return {"name": group, "layers": [2, 3], "heads": [[2, 1], [2, 3], [2, 4], [3, 0]]}
    rule = group.partition("-")[0]
    layers = {"top": [2], "bottom": [0], "random": [seed % 4]}.get(rule, [0, 1, 2, 3])
    return {"name": group, "layers": layers, "heads": None}


def _cell(
    name: str,
    group: str,
    selection: dict[str, Any] | None,
    seed: int,
    effect: float,
    tests: Sequence[str],
    metrics: Sequence[str],
    samples: int,
) -> CellResult:
    layers = [] if selection is None else selection["layers"]
    modules = tuple(f"language_model.layers.{layer}.self_attn.q_proj" for layer in layers)
    measured = {
        test: Measured(
            [f"record-{place}" for place in range(samples)],
            {one: _values(one, samples, effect if test == "test" else -effect / 2, seed) for one in metrics},
        )
        for test in tests
    }
    return CellResult(name, group, selection, seed, modules, 128 * len(layers), PARAMETERS, measured)


def _values(metric: str, samples: int, effect: float, seed: int) -> FloatArray:
    """Statistics of each sample whose figure is about 0.4 + effect, different for each seed."""
    columns = 2 if metric.partition(":")[0] == "accuracy" else METRICS[metric].columns
    random = np.random.default_rng(seed)
    shares = np.clip(np.linspace(0.3, 0.5, samples) + effect + random.normal(0, 0.02, samples), 0, 1)
    if columns == 2:
        return np.column_stack([shares, np.ones(samples)])
    words = np.full((samples, 1), 10.0)
    return np.hstack([shares[:, None] * words.repeat(4, axis=1), words.repeat(6, axis=1)])


def _plain(group: str) -> str:
    return group.replace(":", "-").replace(",", "-")

"""Training rows, and tuning of tiny models on them, for tests of tuning and of comparisons."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from torch import Tensor

from datasetkit.hi_scoring.comparison.bench import Bench, Ranking, selector_of
from datasetkit.hi_scoring.comparison.compare import compare
from datasetkit.hi_scoring.comparison.trials import trials_of
from datasetkit.hi_scoring.data.datasets import Data, DataIdentity
from datasetkit.hi_scoring.data.examples import Examples, read_examples
from datasetkit.hi_scoring.model.dialogue import Dialogue
from datasetkit.hi_scoring.scores.results import Head, HeadScores
from datasetkit.hi_scoring.selection import Selection
from datasetkit.hi_scoring.tuning.adapters import adapt
from datasetkit.hi_scoring.tuning.training import HISTORY_NAME, train
from datasetkit.options.heads import AdapterOptions, ScoreOptions, TextOptions, TrainingOptions, WritingOptions
from tests.hi_scoring.scored import TinySubject, row
from tests.hi_scoring.tiny_models import tiny

COLOUR = {"question": "what colour is the square ?", "answer": "red", "type": "colour", "options": ["red", "blue"]}
SHAPE = {"question": "is there a circle ?", "answer": "yes", "type": "existence", "options": ["yes", "no"]}
LAYERS = Selection("layers:1,3", (1, 3))
# Half of a group, and a whole group.
HEADS = Selection.of_heads("mine", [Head(1, 0), Head(2, 2), Head(2, 3)])
SMALL = {"steps": 4, "batch": 4, "learning_rate": 1e-2, "save_every": 2, "warmup": 0.0}


def asked_row(number: int, *questions: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """A row with a text and these questions, whose objects are not used."""
    return row(number, questions=list(questions), **more) | {"objects": [], "phrases": []}


def rows_data(rows: Sequence[Mapping[str, Any]], name: str = "rows") -> Data:
    """Rows as a real dataset, with images that are not decoded yet."""
    dataset = datasets.Dataset.from_list([dict(one) for one in rows])
    dataset = dataset.cast_column("image", datasets.Image(decode=False))
    return Data(dataset, DataIdentity(name, "train", None, None, len(rows)), [one["record_id"] for one in rows])


def examples_of(data: Data, name: str = "llava", **options: Any) -> Examples:
    return read_examples(data, TextOptions(**options), dialogue_of(name))


def dialogue_of(name: str = "llava") -> Dialogue:
    return Dialogue(tiny(name).processor, tiny(name).model.config)


def some_examples(count: int = 10, first: int = 0, **options: Any) -> Examples:
    """Examples with one caption and one question per row."""
    rows = [asked_row(number, (COLOUR, SHAPE)[number % 2]) for number in range(first, first + count)]
    return examples_of(rows_data(rows, f"rows from {first}"), **options)


def opposed_examples() -> Examples:
    """Examples that training on the others makes less likely, since the answers are opposite."""
    return examples_of(rows_data([asked_row(50, COLOUR | {"answer": "blue"})]), tasks=("vqa",))


def fresh() -> Any:
    return copy.deepcopy(tiny("llava").model)


def small(**options: Any) -> TrainingOptions:
    return TrainingOptions(**{**SMALL, **options})


@dataclass(frozen=True)
class Tuned:
    """The results of a training.

    Args:
        model: the adapted model.
        weights: weights of the adapter, by name.
        base: all other parameters.
        history: its lines.

    """

    model: Any
    weights: dict[str, Tensor]
    base: dict[str, Tensor]
    history: list[dict[str, Any]]


def tuned(
    folder: Path,
    examples: Examples,
    selection: Selection,
    options: TrainingOptions,
    *,
    validation: Examples | None = None,
    dropout: float = 0.0,
    seed: int = 0,
    on_progress: Callable[[int], None] = lambda _: None,
    model: Any = None,
) -> Tuned:
    """Train an adapter on the tiny LLaVA, or on another model; resume if the folder has checkpoints."""
    adapted = adapt(model or fresh(), selection, AdapterOptions(dropout=dropout), seed).model
    folder.mkdir(exist_ok=True)
    train(adapted, dialogue_of(), examples, validation, options, seed, folder, on_progress)
    parameters = {name: one.detach() for name, one in adapted.named_parameters()}
    return Tuned(
        adapted,
        {name: one for name, one in parameters.items() if "lora_" in name},
        {name: one for name, one in parameters.items() if "lora_" not in name},
        [json.loads(line) for line in (folder / HISTORY_NAME).read_text().splitlines()],
    )


def head_scores() -> HeadScores:
    """Scores of the tiny LLaVA: layers from the highest are 2, 0, 3, 1; scores decrease over the heads of a layer."""
    layers = np.array([0.3, 0.1, 0.4, 0.2])
    return HeadScores(
        {("hi", "response"): np.tile(layers[:, None] - np.arange(4) / 100, (3, 1, 1))},
        chances={},
        record_ids=["a", "b", "c"],
        options=ScoreOptions(),
        model=TinySubject().identity,
        dataset={"name": "scored"},
    )


def bench_of(**more: Any) -> Bench:
    """A bench with four training rows, and three and two test rows."""
    return Bench(
        **{
            "subject": TinySubject(),
            "train": some_examples(4),
            "validation": None,
            "tests": {"test": some_examples(3, first=20), "forgetting": some_examples(2, first=30)},
            "ranking": Ranking(head_scores(), "hi:response"),
            "texts": TextOptions(),
            "adapter": AdapterOptions(rank=2),
            "training": small(steps=3, batch=2),
            "writing": WritingOptions(caption_tokens=4, answer_tokens=2),
            "namer": None,
            "batch": 4,
        }
        | more
    )


def compared(bench: Bench, folder: Path, selections: Sequence[str], seeds: Sequence[int], **more: Any) -> Any:
    trials = trials_of(selections, seeds, selector_of(bench.subject, bench.ranking))
    return compare(bench, trials, folder, "datasetkit compare", **more)


def contents(folder: Path) -> dict[str, bytes]:
    """All files, by their names in the folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

"""A model's predictions on a dataset's examples. Owns their table, and what a statistical sample is.

A table has one row per example, in the dataset's order: record_id, task, type, prompt, reference, prediction; whether
an answer is right; which of a caption's phrases name something present or absent. Null means "not measured".

A sample is an image with all its prompts, because responses to the same image resemble each other: rows drawn one by
one would be treated as if there were more images than there are.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from datasetkit.core.protocols import Naming, ObjectNamer
from datasetkit.core.record import KeyObject, Question
from datasetkit.core.schema import objects_of
from datasetkit.hi_scoring.data.examples import Example, Examples
from datasetkit.hi_scoring.evaluation.answers import answer_statistics, is_right
from datasetkit.hi_scoring.evaluation.asking import ask_all
from datasetkit.hi_scoring.evaluation.captions import caption_statistics
from datasetkit.hi_scoring.evaluation.key_objects import key_object_statistics, knows_all
from datasetkit.hi_scoring.evaluation.metrics import Measured
from datasetkit.hi_scoring.model.dialogue import Dialogue
from datasetkit.hi_scoring.model.writing import write
from datasetkit.hi_scoring.statistics import FloatArray
from datasetkit.options.heads import WritingOptions


@dataclass(frozen=True, eq=False)
class Evaluation:
    """A model's predictions on a dataset, and their metrics; samples are the images that have examples."""

    predictions: pd.DataFrame
    measured: Measured


def evaluate(
    model: Any,
    dialogue: Dialogue,
    examples: Examples,
    namer: ObjectNamer | None,
    options: WritingOptions,
    batch: int,
    on_progress: Callable[[int], None] = lambda _: None,
) -> Evaluation:
    """Let a model describe and answer with greedy decoding, and compare its predictions with the dataset.

    Without a namer key objects are not measured, and neither are rows without objects.

    Raises:
        ModelError: a single example does not fit into memory.

    """

    def said(most: int, places: Sequence[int]) -> list[str]:
        asked = [examples.items[place] for place in places]
        return write(model, dialogue, [examples.image(one) for one in asked], [one.prompt for one in asked], most)

    return judge(examples, ask_all(examples, said, options, batch, on_progress), namer)


def judge(examples: Examples, said: Sequence[str], namer: ObjectNamer | None) -> Evaluation:
    """Compare predictions, one text per example, with the dataset; see :func:`evaluate`."""
    by_row: dict[int, list[tuple[Example, str]]] = defaultdict(list)
    for example, text in zip(examples.items, said, strict=True):
        by_row[example.row].append((example, text))
    captions = {row: pair for row, pairs in by_row.items() for pair in pairs if pair[0].task == "caption"}
    objects: dict[int, tuple[KeyObject, ...]] = {}
    namings: dict[int, Naming] = {}
    if namer is not None and captions:
        for row, columns in enumerate(examples.data.without_images()):
            # Only of rows that have objects in datasetkit's format.
            if row in captions and columns.get("objects") and columns.get("phrases") is not None:
                objects[row] = objects_of(columns)
                namings[row] = namer.name(captions[row][1], objects[row])
    rows = list(by_row)
    statistics = {
        **_captions([captions.get(row) for row in rows]),
        **_key_objects(rows, objects, namings),
        **_answers(list(by_row.values())),
    }
    measured = Measured.joining([examples.data.image_id(row) for row in rows], statistics)
    known = {row for row, there in objects.items() if knows_all(there)}
    return Evaluation(_table(examples, said, namings, known), measured)


def _captions(pairs: Sequence[tuple[Example, str] | None]) -> dict[str, FloatArray]:
    if not any(pairs):
        return {}
    texts = ["" if pair is None else pair[1] for pair in pairs]
    return caption_statistics(texts, [[] if pair is None else [pair[0].response] for pair in pairs])


def _key_objects(
    rows: Sequence[int], objects: dict[int, tuple[KeyObject, ...]], namings: dict[int, Naming]
) -> dict[str, FloatArray]:
    if not namings:
        return {}
    found = key_object_statistics(list(namings.values()), [objects[row] for row in namings])
    # Zeros, which mean "not measured", in all other rows.
    statistics: dict[str, FloatArray] = {name: np.zeros((len(rows), values.shape[1])) for name, values in found.items()}
    places = {row: place for place, row in enumerate(rows)}
    for name, values in found.items():
        statistics[name][[places[row] for row in namings]] = values
    return statistics


def _answers(pairs: Sequence[Sequence[tuple[Example, str]]]) -> dict[str, FloatArray]:
    asked = [[pair for pair in of_row if pair[0].task == "vqa"] for of_row in pairs]
    if not any(asked):
        return {}
    return answer_statistics(
        [[Question(one.prompt, one.response, one.kind) for one, _ in of_row] for of_row in asked],
        [[text for _, text in of_row] for of_row in asked],
    )


def _table(examples: Examples, said: Sequence[str], namings: dict[int, Naming], known: Container[int]) -> pd.DataFrame:
    rows = []
    for example, text in zip(examples.items, said, strict=True):
        naming = namings.get(example.row) if example.task == "caption" else None
        rows.append(
            {
                "record_id": example.record_id,
                "task": example.task,
                "type": example.kind or None,
                "prompt": example.prompt,
                "reference": example.response,
                "prediction": text,
                "is_right": is_right(text, example.response) if example.task == "vqa" else None,
                "present": None if naming is None else list(naming.present),
                "absent": list(naming.absent) if naming is not None and example.row in known else None,
            }
        )
    return pd.DataFrame(rows)

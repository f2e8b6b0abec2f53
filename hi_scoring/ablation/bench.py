"""Measure conditions. Owns what all conditions of one run share, and what decides their values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from datasetkit.core.protocols import ObjectNamer
from datasetkit.hi_scoring.ablation.asking import Asker, EditorOf, Said
from datasetkit.hi_scoring.ablation.editors import MeanHeads, ResampledHeads, ZeroHeads
from datasetkit.hi_scoring.ablation.plan import Condition
from datasetkit.hi_scoring.ablation.references import References, donors_of
from datasetkit.hi_scoring.ablation.vision import SeenImages
from datasetkit.hi_scoring.data.examples import Examples
from datasetkit.hi_scoring.evaluation.metrics import Measured
from datasetkit.hi_scoring.evaluation.predictions import judge
from datasetkit.hi_scoring.model.subject import Subject
from datasetkit.hi_scoring.statistics import FloatArray
from datasetkit.options.heads import Mode, TextOptions, WritingOptions
from datasetkit.runtime.progress import OnProgress

# Version of the files of conditions and tables.
_FORMAT = 2


@dataclass(frozen=True)
class Bench:
    """One model, the data, and the options of asking it.

    Args:
        namer: finds the objects that captions name; None leaves these metrics out.
        seed: for drawing the donors of resampling.
        batch: examples per batch; halved when memory runs out.

    """

    subject: Subject
    examples: Examples
    texts: TextOptions
    writing: WritingOptions
    namer: ObjectNamer | None
    seed: int
    batch: int

    def description(self) -> dict[str, Any]:
        """Return everything that decides the measurements of a condition, as plain JSON values and options."""
        return {
            "format": _FORMAT,
            **self.subject.description(),
            "data": self.examples.data.identity.as_json(),
            "examples": len(self.examples),
            "texts": self.texts,
            "writing": self.writing,
            "seed": self.seed,
            "batch": self.batch,
        }

    def check(self, modes: Sequence[Mode]) -> None:
        """Refuse data that the modes cannot be run on, before anything is measured.

        Raises:
            SourceError: resampling is requested and all examples of a task have the same image.

        """
        if "resample" in modes:
            donors_of(self.examples, self.seed)

    def measure(self, condition: Condition | None, on_progress: OnProgress = lambda *_: None) -> Measured:
        """Ask the model all prompts under a condition; without a condition, the model is unchanged.

        Returns:
            statistics of every metric of the tasks; the samples are the dataset's images that have examples.

        Raises:
            ModelError: a single example does not fit into memory.

        """
        every = len(self.examples)
        editor_of = None if condition is None else self._editor_of(condition, on_progress)
        said = self._asker.ask(editor_of, self.writing, self.batch, lambda done: on_progress("asking", done, every))
        judged = judge(self.examples, [one.text for one in said], self.namer).measured
        return Measured(judged.sample_ids, {**judged.statistics, **_probabilities(self.examples, said)})

    def _editor_of(self, condition: Condition, on_progress: OnProgress) -> EditorOf:
        heads = condition.by_layer
        if condition.mode == "zero":
            return lambda _: ZeroHeads(heads)
        if condition.mode == "mean":
            every = len(self.examples)
            means = self._references.means(self.batch, lambda done: on_progress("mean outputs", done, every))
            return lambda places: MeanHeads(heads, means, self._references.image_slots(places))
        return lambda places: ResampledHeads(
            heads, self._references.donated([self._donors[place] for place in places], heads)
        )

    @cached_property
    def _images(self) -> SeenImages:
        return SeenImages(self.subject.model)

    @cached_property
    def _asker(self) -> Asker:
        return Asker(self.subject.model, self.subject.dialogue, self.examples, self._images)

    @cached_property
    def _references(self) -> References:
        return References(self.subject.model, self.subject.dialogue, self.examples, self._images)

    @cached_property
    def _donors(self) -> list[int]:
        return donors_of(self.examples, self.seed)


def _probabilities(examples: Examples, said: Sequence[Said]) -> Mapping[str, FloatArray]:
    """Sum the probabilities of right answers and count them, per sample: shape (n, 2)."""
    is_answer = np.array([example.task == "vqa" for example in examples.items])
    if not is_answer.any():
        return {}
    rows = np.column_stack([[one.probability for one in said], is_answer]) * is_answer[:, None]
    return Measured.joining(list(map(examples.image_id, examples.items)), {"answer_probability": rows}).statistics

"""Scores of every head for samples, from one forward pass. Owns which rows are read for which positions and objects.

Positions are ``response`` (all tokens of the text), ``phrase`` (the tokens that name an object, or those of one
phrase), ``last`` (the last prompt token) and ``generated`` (the tokens that the model generates greedily; its text is
then used as its response, so that their attention is read in the same way).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from datasetkit.core.errors import UnusableError
from datasetkit.core.ledger import DropReason
from datasetkit.hi_scoring.attention import PositionReader, instrumented
from datasetkit.hi_scoring.data.samples import Sample
from datasetkit.hi_scoring.geometry import ImageTokens
from datasetkit.hi_scoring.model.dialogue import Dialogue
from datasetkit.hi_scoring.model.subject import shape_of
from datasetkit.hi_scoring.model.writing import on_device, write
from datasetkit.hi_scoring.scores.encoding import EncodedBatch, EncodedSample, Encoder, rows_of
from datasetkit.hi_scoring.scores.formulas.combine import (
    ViewScore,
    evidence_of,
    evidence_scores,
    further_score,
    object_scores,
)
from datasetkit.hi_scoring.scores.results import Head
from datasetkit.options.heads import ScoreOptions, score_name

FloatArray = NDArray[np.float32]
# Scores of one sample: {positions: {score: (layers, heads)}}.
SampleScores = Mapping[str, Mapping[str, FloatArray]]


@dataclass(frozen=True)
class _Look:
    """Query rows whose mean attention is compared with objects.

    Args:
        positions: the name they are reported under.
        rows: slots of the query rows.
        objects: indices of the objects whose overlap is scored.
        evidence: indices of the objects whose union is the evidence; if empty, evidence is not scored.

    """

    positions: str
    rows: Tensor
    objects: tuple[int, ...]
    evidence: tuple[int, ...]


@dataclass(frozen=True)
class LookedAt:
    """Attention of heads in one sample.

    Args:
        text: the response in the model's input: the sample's text, or the generated one if positions are ``generated``.
        attention: for each head, the mean over the rows of the positions, shape (image tokens,).

    """

    sample: Sample
    text: str
    geometry: ImageTokens
    attention: Mapping[Head, FloatArray]


class Scorer:
    """Scores the heads of one model of a known family, in evaluation mode.

    Raises:
        ModelError: the model's family is not supported.
        PluginError: an additional score cannot be constructed.

    """

    def __init__(self, model: Any, processor: Any, options: ScoreOptions, family: str | None = None) -> None:
        self._model = model
        self._options = options
        self._further = {score_name(name): further_score(name) for name in options.scores}
        self._encoder = Encoder(Dialogue(processor, model.config, family), options.prompt)
        self.shape = shape_of(model.config)

    def score(self, samples: Sequence[Sample]) -> list[SampleScores | UnusableError]:
        """Score a batch; return one result per sample, in order, or an error for an unusable sample.

        Raises:
            RuntimeError: raised by torch when memory runs out.

        """
        results: list[SampleScores | UnusableError | None] = [self._refusal(sample) for sample in samples]
        places = [place for place, refusal in enumerate(results) if refusal is None]
        for place, result in zip(places, self._score_together([samples[place] for place in places]), strict=True):
            results[place] = result
        return [result for result in results if result is not None]

    @torch.inference_mode()
    def look(self, sample: Sample, heads: Sequence[Head], positions: str = "response") -> LookedAt:
        """Return the attention of heads in a sample, over all tokens of the positions (``phrase``: of all phrases).

        Raises:
            UnusableError: the model cannot process the sample, or there are no tokens at the positions.

        """
        self._encoder.check(sample)
        [text] = self._written([sample]) if positions == "generated" else [sample.text]
        if not text:
            raise UnusableError(DropReason.NO_TOKENS, "the model writes no text")
        batch = self._encoder.encode([sample], [text])
        [row] = batch.rows
        slots = _distinct_rows(_looks(row, [positions], self._options))
        if not len(slots):
            raise UnusableError(DropReason.NO_TOKENS, f"no tokens at the positions {positions}")
        found: dict[Head, FloatArray] = {}

        def sink(layer: int, attention: Tensor) -> None:
            for head in heads:
                if head.layer == layer:
                    found[head] = attention[0, head.head, 0].cpu().numpy()

        weights = torch.full((1, 1, len(slots)), 1 / len(slots))
        self._run(batch, PositionReader(slots[None], weights, row.image_slots[None], sink))
        return LookedAt(sample, text, row.geometry, found)

    def _refusal(self, sample: Sample) -> UnusableError | None:
        try:
            self._encoder.check(sample)
        except UnusableError as error:
            return error
        return None

    def _score_together(self, samples: Sequence[Sample]) -> list[SampleScores | UnusableError]:
        if not samples:
            return []
        try:
            return self._forward(samples)
        except UnusableError as error:
            if len(samples) == 1:
                return [error]
        return [result for sample in samples for result in self._score_together([sample])]

    @torch.inference_mode()
    def _forward(self, samples: Sequence[Sample]) -> list[SampleScores | UnusableError]:
        given = tuple(name for name in self._options.positions if name != "generated")
        collectors = [_Collector(self.shape, self._options) for _ in samples]
        if given:
            self._read(self._encoder.encode(samples), given, collectors)
        if "generated" in self._options.positions:
            texts = self._written(samples)
            told = [number for number, text in enumerate(texts) if text]
            if told:
                batch = self._encoder.encode([samples[number] for number in told], [texts[number] for number in told])
                self._read(batch, ("generated",), [collectors[number] for number in told])
        return [collector.result() for collector in collectors]

    def _written(self, samples: Sequence[Sample]) -> list[str]:
        """Return the model's text about each image; blank if it generates nothing that can be used as a response."""
        dialogue, options = self._encoder.dialogue, self._options
        images, prompts = [sample.image for sample in samples], [options.prompt] * len(samples)
        texts = write(self._model, dialogue, images, prompts, options.max_new_tokens)
        return ["" if dialogue.special_token(text) else text for text in texts]

    def _read(self, batch: EncodedBatch, positions: Sequence[str], collectors: Sequence[_Collector]) -> None:
        device = device_of_scores(self._model.device)
        judges = [
            _Judge(row, _looks(row, positions, self._options), self._options, self._further, device)
            for row in batch.rows
        ]
        if not any(judge.looks for judge in judges):
            return
        rows, weights = _padded_rows(judges)
        columns = torch.nn.utils.rnn.pad_sequence(
            [row.image_slots for row in batch.rows], batch_first=True, padding_value=-1
        )

        def sink(layer: int, attention: Tensor) -> None:
            attention = attention.to(device)
            for number, (judge, collector) in enumerate(zip(judges, collectors, strict=True)):
                judge.judge(layer, attention[number], collector)

        self._run(batch, PositionReader(rows, weights, columns, sink))

    def _run(self, batch: EncodedBatch, reader: PositionReader) -> None:
        with instrumented(self._model, readers=[reader]):
            self._model(**on_device(batch.inputs, self._model), logits_to_keep=1, use_cache=False)


def device_of_scores(device: torch.device) -> torch.device:
    """Return the device for computing scores: that of the model, but the CPU for MPS, which has no float64."""
    return torch.device("cpu") if device.type == "mps" else device


def _looks(row: EncodedSample, positions: Sequence[str], options: ScoreOptions) -> list[_Look]:
    every = tuple(range(len(row.sample.objects)))
    looks = []
    for name in positions:
        if name in ("response", "generated"):
            looks.append(_Look(name, rows_of(row.response_slots, options), every, every))
        elif name == "last":
            looks.append(_Look(name, torch.tensor([row.last_slot]), every, every))
        else:
            looks += _phrase_looks(row, options)
    return [look for look in looks if len(look.rows)]


def _phrase_looks(row: EncodedSample, options: ScoreOptions) -> list[_Look]:
    """Return a look per object, with the tokens of all its phrases, and one per phrase, with all its objects."""
    mentions = row.sample.mentions
    by_object = [
        _Look(
            "phrase",
            rows_of(row.slots_of([mention.span for mention in mentions if number in mention.objects]), options),
            (number,),
            (),
        )
        for number in range(len(row.sample.objects))
    ]
    by_phrase = [
        _Look("phrase", rows_of(row.slots_of([mention.span]), options), (), mention.objects) for mention in mentions
    ]
    return by_object + by_phrase


def _distinct_rows(looks: Sequence[_Look]) -> Tensor:
    """Return the rows of all looks, each once, in ascending order."""
    return torch.unique(torch.cat([torch.empty(0, dtype=torch.long), *(look.rows for look in looks)]))


def _padded_rows(judges: Sequence[_Judge]) -> tuple[Tensor, Tensor]:
    """Return the distinct rows of each sample, shape (B, R), -1 = none; and the weights of its looks, (B, S, R)."""
    rows = [_distinct_rows(judge.looks) for judge in judges]
    most_rows, most_looks = max(len(row) for row in rows), max(len(judge.looks) for judge in judges)
    padded = torch.full((len(judges), most_rows), -1)
    weights = torch.zeros(len(judges), most_looks, most_rows)
    for number, (judge, row) in enumerate(zip(judges, rows, strict=True)):
        padded[number, : len(row)] = row
        for place, look in enumerate(judge.looks):
            weights[number, place, torch.searchsorted(row, look.rows)] = 1 / len(look.rows)
    return padded, weights


class _Judge:
    """Scores one sample's attention, layer by layer."""

    def __init__(
        self,
        row: EncodedSample,
        looks: Sequence[_Look],
        options: ScoreOptions,
        further: Mapping[str, ViewScore],
        device: torch.device,
    ) -> None:
        self.looks = looks
        self._further = further
        self._options = options
        self._tokens = len(row.image_slots)
        self._visible = [float(1 / (1 / (look.rows - row.first_slot + 1).double()).mean()) for look in looks]
        views = row.geometry.views
        self._views = [torch.from_numpy(view.tokens).to(device) for view in views]
        self._coverage = [_on(view.coverage(row.sample.masks), device) for view in views]
        sets = {look.evidence for look in looks if look.evidence}
        self._evidence = {}
        for members in sets:
            union = row.sample.masks[list(members)].max(0, keepdims=True)
            self._evidence[members] = [
                evidence_of(coverage[list(members)], _on(view.coverage(union), device)[0], options)
                for view, coverage in zip(views, self._coverage, strict=True)
            ]

    def judge(self, layer: int, attention: Tensor, collector: _Collector) -> None:
        """Score one layer.

        Args:
            layer: from 0.
            attention: mean rows of each look on the image tokens, shape (heads, looks, image tokens), possibly padded.
            collector: receives the scores.

        """
        attention = attention[:, : len(self.looks), : self._tokens]
        if not torch.isfinite(attention).all():
            collector.fail(UnusableError(DropReason.NOT_FINITE, f"attention of layer {layer} is not finite"))
            return
        by_object: dict[str, list[tuple[Tensor, int]]] = defaultdict(list)
        for number, look in enumerate(self.looks):
            rows = attention[:, number]
            if len(look.objects) == len(self._coverage[0]) and look.positions != "phrase":
                self._overlap(layer, look.positions, rows[None], look.objects, collector)
            elif look.objects:
                by_object[look.positions] += [(rows, item) for item in look.objects]
            if look.evidence:
                found = evidence_scores(rows, self._views, self._evidence[look.evidence], self._visible[number])
                collector.add(layer, look.positions, {name: values[None] for name, values in found.items()})
        for positions, pairs in by_object.items():
            stacked = torch.stack([rows for rows, _ in pairs])
            self._overlap(layer, positions, stacked, [item for _, item in pairs], collector)

    def _overlap(
        self, layer: int, positions: str, attention: Tensor, objects: Sequence[int], collector: _Collector
    ) -> None:
        coverage = [one[list(objects)] for one in self._coverage]
        found = object_scores(attention, self._views, coverage, self._options, self._further)
        collector.add(layer, positions, found)


def _on(array: NDArray[np.float64], device: torch.device) -> Tensor:
    return torch.from_numpy(array.astype(np.float32)).to(device)


class _Collector:
    """Collects the scores of one sample; each is the mean over its objects or phrases where it is defined."""

    def __init__(self, shape: tuple[int, int], options: ScoreOptions) -> None:
        self._shape = shape
        self._values: dict[str, dict[str, list[list[Tensor]]]] = {
            name: defaultdict(lambda: [[] for _ in range(shape[0])]) for name in options.positions
        }
        self._failure: UnusableError | None = None

    def add(self, layer: int, positions: str, scores: Mapping[str, Tensor]) -> None:
        """Add scores of some objects or phrases, each of shape (items, heads)."""
        for name, values in scores.items():
            self._values[positions][name][layer].append(values)

    def fail(self, error: UnusableError) -> None:
        """Mark the sample as unusable."""
        self._failure = error

    def result(self) -> SampleScores | UnusableError:
        """Return the merged scores; positions that were never added are missing."""
        if self._failure is not None:
            return self._failure
        if not any(self._values.values()):
            return UnusableError(DropReason.NO_TOKENS, f"no tokens at the positions {', '.join(self._values)}")
        return {
            positions: {
                name: torch.stack([torch.cat(items).cpu().double().nanmean(0) for items in layers]).float().numpy()
                for name, layers in scores.items()
            }
            for positions, scores in self._values.items()
        }

"""From images and their descriptions to key objects, by models. Owns the order of the steps and their results.

describe -> noun phrases -> query -> boxes and masks -> filter -> merge duplicates -> clean -> compare with words ->
filter by the new measurements -> link
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from PIL import Image

from datasetkit.annotation.alignment import PhraseQuery, link, phrase_query
from datasetkit.annotation.alignment.categories import category_of
from datasetkit.annotation.cleaning import clean_mask
from datasetkit.annotation.describing import Describer
from datasetkit.annotation.duplicates import merge_masks
from datasetkit.annotation.filters import apply_filters
from datasetkit.annotation.salience import with_phrases
from datasetkit.annotation.similarity import crop_of
from datasetkit.core.detections import Grounding, Region, Removal
from datasetkit.core.errors import UnusableError
from datasetkit.core.ledger import Drop, DropReason, Notice
from datasetkit.core.protocols import CropScorer, Grounder, NounPhrase, PhraseFinder, Reading
from datasetkit.core.record import KeyObject, Maker, ObjectProvenance, Phrase, Record, Scores
from datasetkit.options.grounding import GroundingOptions
from datasetkit.runtime.batches import Batches, begin_part
from datasetkit.runtime.timers import Stages

# Coarser than the differences between batches and devices.
_SCORE_DIGITS = 4
_BOX_DIGITS = 2


@dataclass(frozen=True, slots=True)
class _Task:
    """One image, its description, its noun phrases, and the detector's query for them."""

    reading: Reading
    text: str
    nouns: tuple[NounPhrase, ...]
    asked: PhraseQuery


class GroundedAnnotator:
    """Adds to records the objects that their descriptions name, as models find them.

    Objects and phrases that a record already has are replaced; its questions stay, but without links to objects. Every
    detection ends as an object of the record or as a drop with a reason.

    Args:
        options: thresholds and policies; the models that they name are passed separately.
        finder: finds noun phrases.
        grounder: finds phrases in images and segments them.
        describer: describes images; None leaves images without a description as they are.
        crop_scorer: compares crops with phrases; None skips the comparison.
        key_max: how many of the mentioned objects, the most salient first, become key objects; None for all.
        crop_batch: crops per call of the crop scorer; halved where memory runs out, until the next part begins.
        stages: timers; all stages are counted in images.

    """

    def __init__(
        self,
        options: GroundingOptions,
        *,
        finder: PhraseFinder,
        grounder: Grounder,
        describer: Describer | None = None,
        crop_scorer: CropScorer | None = None,
        key_max: int | None = None,
        crop_batch: int = 32,
        stages: Stages,
    ) -> None:
        self._options = options
        self._finder = finder
        self._grounder = grounder
        self._key_max = key_max
        self._describer = describer
        self._comparing: Batches[tuple[Image.Image, str], float] | None = None
        if crop_scorer is not None:
            self._comparing = Batches(partial(_similarities, crop_scorer), crop_batch, "crops")
        self._stages = stages
        self._models = (describer, grounder, crop_scorer)
        self.identities = tuple(
            identity for model in self._models if model is not None for identity in model.identities
        )

    def begin_part(self) -> None:
        """Restore batches; see :class:`datasetkit.core.protocols.PartAware`."""
        begin_part(self._comparing, *self._models)

    def annotate(self, readings: Sequence[Reading]) -> list[Reading | Drop]:
        """Annotate images; see :class:`datasetkit.core.protocols.Annotator`."""
        described = readings if self._describer is None else self._describer.describe(readings)
        tasks = {index: self._task(item) for index, item in enumerate(described) if isinstance(item, Reading)}
        found = self._grounder.ground(
            [task.reading.pixels for task in tasks.values()], [task.asked.query for task in tasks.values()]
        )
        results: dict[int, Reading | UnusableError] = {
            index: item for index, item in enumerate(described) if isinstance(item, UnusableError)
        }
        for (index, task), grounding in zip(tasks.items(), found, strict=True):
            results[index] = grounding if isinstance(grounding, UnusableError) else self._finished(task, grounding)
        return [
            Drop("record", reading.record.record_id, result.reason, result.detail)
            if isinstance(result := results[index], UnusableError)
            else result
            for index, reading in enumerate(readings)
        ]

    def _task(self, reading: Reading) -> _Task:
        text = reading.record.description or ""
        with self._stages.timed("phrases"):
            nouns = tuple(self._finder.find(text))
            return _Task(reading, text, nouns, phrase_query(text, nouns, self._options.links.prompt))

    def _finished(self, task: _Task, grounding: Grounding) -> Reading | UnusableError:
        """Filter what was found in one image and link it with the words."""
        options = self._options
        with self._stages.timed("clean"):
            # Before anything is merged: a region that fails must not absorb one that passes.
            sound, failed = apply_filters(grounding.regions, options.filters)
            regions, doubles = merge_masks(sound, options.duplicates)
            if options.cleaning is not None:
                cleaned = [(region, *clean_mask(region.mask, options.cleaning)) for region in regions]
                regions = tuple(replace(region, mask=mask, cleaning_iou=iou) for region, mask, iou in cleaned)
        compared = self._compared(task, regions)
        if isinstance(compared, UnusableError):
            return compared
        kept, filtered = apply_filters(compared, options.filters)
        with self._stages.timed("link"):
            phrases = link(task.text, task.nouns, task.asked, kept, options.links)
        record, unnamed = _with_objects(task.reading.record, kept, phrases, task.nouns, self._key_max)
        removals = (*grounding.removals, *failed, *doubles, *filtered, *unnamed)
        drops = (Drop("detection", f"{record.record_id}#{item.number}", item.reason, item.detail) for item in removals)
        return replace(
            task.reading,
            record=record,
            drops=(*task.reading.drops, *drops),
            notices=(*task.reading.notices, *(Notice(record.record_id, kind) for kind in grounding.notices)),
            detections=len(grounding.regions) + len(grounding.removals),
        )

    def _compared(self, task: _Task, regions: Sequence[Region]) -> tuple[Region, ...] | UnusableError:
        """Measure how similar each crop is to its best phrase."""
        if self._comparing is None or not regions:
            return tuple(regions)
        names = task.asked.query.phrases
        crops = [(crop_of(task.reading.pixels, region.box_xyxy), names[region.best_phrase]) for region in regions]
        with self._stages.timed("compare"):
            scores = self._comparing.run(crops)
        compared = []
        for region, score in zip(regions, scores, strict=True):
            if isinstance(score, UnusableError):
                return score
            compared.append(replace(region, similarity=score))
        return tuple(compared)


def _similarities(scorer: CropScorer, crops: Sequence[tuple[Image.Image, str]]) -> Sequence[float | UnusableError]:
    scores = scorer.score([crop for crop, _ in crops], [phrase for _, phrase in crops]).tolist()
    not_finite = UnusableError(DropReason.NOT_FINITE, "the similarity of a crop and its phrase is not finite")
    return [score if math.isfinite(score) else not_finite for score in scores]


def _with_objects(
    record: Record,
    regions: Sequence[Region],
    phrases: Sequence[Phrase],
    nouns: Sequence[NounPhrase],
    key_max: int | None,
) -> tuple[Record, tuple[Removal, ...]]:
    """Add to a record the regions that a phrase names or may name; return the others as removals."""
    naming: dict[int, list[tuple[Phrase, str | None]]] = {place: [] for place in range(len(regions))}
    for phrase, noun in zip(phrases, nouns, strict=True):
        for place in (*phrase.object_ids, *(candidate.object_id for candidate in phrase.candidates)):
            naming[place].append((phrase, category_of(noun)))
    ids = {place: new for new, place in enumerate(place for place, names in naming.items() if names)}
    objects = tuple(_object(ids[place], regions[place], naming[place]) for place in ids)
    questions = tuple(replace(question, object_ids=()) for question in record.questions)
    bare = replace(record, objects=objects, phrases=(), questions=questions)
    unnamed = tuple(
        Removal(region.number, DropReason.NAMED_BY_NO_PHRASE, f"best score {region.score:.3f}")
        for place, region in enumerate(regions)
        if place not in ids
    )
    renumbered = [
        replace(
            phrase,
            object_ids=tuple(ids[place] for place in phrase.object_ids),
            candidates=tuple(replace(item, object_id=ids[item.object_id]) for item in phrase.candidates),
        )
        for phrase in phrases
    ]
    return with_phrases(bare, renumbered, key_max), unnamed


def _object(object_id: int, region: Region, names: Sequence[tuple[Phrase, str | None]]) -> KeyObject:
    left, top, right, bottom = (round(side, _BOX_DIGITS) for side in region.box_xyxy)
    _, category = max(names, key=lambda name: (name[1] is not None, bool(name[0].object_ids), name[0].score or 0.0))
    return KeyObject(
        id=object_id,
        mask=region.mask,
        category=category,
        is_crowd=region.is_group,
        scores=Scores(
            detection=_rounded(region.score),
            predicted_iou=_rounded(region.predicted_iou),
            stability=_rounded(region.stability),
            similarity=_rounded(region.similarity),
            cleaning_iou=_rounded(region.cleaning_iou),
        ),
        source_bbox=(left, top, round(right - left, _BOX_DIGITS), round(bottom - top, _BOX_DIGITS)),
        provenance=ObjectProvenance(box=Maker.MODEL, mask=Maker.MODEL),
    )


def _rounded(score: float | None) -> float | None:
    """Round a score for the record."""
    return None if score is None else round(score, _SCORE_DIGITS)

"""From images and their descriptions to key objects, by models. Owns the order of the steps and their results.

describe -> noun phrases -> query -> boxes and masks -> filter -> merge duplicates -> clean -> compare with words ->
filter by the new measurements -> link
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

from PIL import Image

from datasetkit.annotation.alignment import PhraseQuery, link, phrase_query
from datasetkit.annotation.alignment.categories import category_of
from datasetkit.annotation.cleaning import clean_mask
from datasetkit.annotation.describing import Describer
from datasetkit.annotation.duplicates import merge_masks
from datasetkit.annotation.filters import apply_filters
from datasetkit.annotation.grounders.boxes_then_masks import grounding_of
from datasetkit.annotation.salience import with_phrases
from datasetkit.annotation.similarity import crop_of
from datasetkit.annotation.tasks import Annotator, Found, Task
from datasetkit.core.detections import Detections, Grounding, ModelIdentity, Region, Removal, Segment
from datasetkit.core.errors import UnusableError
from datasetkit.core.ledger import Drop, DropReason, Notice
from datasetkit.core.protocols import CropScorer, NounPhrase, PhraseFinder
from datasetkit.core.record import KeyObject, Maker, ObjectProvenance, Phrase, Record, Scores
from datasetkit.options.grounding import GroundingOptions
from datasetkit.runtime.batches import Batches, begin_part
from datasetkit.runtime.stages.kinds import CpuStage, DeviceStage, Stage

# Coarser than the differences between batches and devices.
_SCORE_DIGITS = 4
_BOX_DIGITS = 2


class GroundingStages(Protocol):
    """The models that find and segment phrases."""

    @property
    def identities(self) -> tuple[ModelIdentity, ...]:
        """The weights in use."""
        ...

    def begin_part(self) -> None:
        """Announce a part to the models; see :class:`datasetkit.core.protocols.PartAware`."""
        ...

    def stages(self) -> tuple[Stage[Task], ...]:
        """Return stages from the query of a task to its detections and segments, or to its grounding."""
        ...


class GroundedAnnotator(Annotator):
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
        device: torch device of the models.

    """

    def __init__(
        self,
        options: GroundingOptions,
        *,
        finder: PhraseFinder,
        grounder: GroundingStages,
        describer: Describer | None = None,
        crop_scorer: CropScorer | None = None,
        key_max: int | None = None,
        crop_batch: int = 32,
        device: str = "cpu",
    ) -> None:
        self._options = options
        self._finder = finder
        self._grounder = grounder
        self._describer = describer
        self._crop_scorer = crop_scorer
        self._key_max = key_max
        self._crop_batch = crop_batch
        self.device = device
        models = (describer, grounder, crop_scorer)
        self.identities = tuple(identity for model in models if model is not None for identity in model.identities)

    def begin_part(self) -> None:
        """Announce a part to the models; see :class:`datasetkit.core.protocols.PartAware`."""
        begin_part(self._describer, self._grounder, self._crop_scorer)

    def stages(self) -> tuple[Stage[Task], ...]:
        """Return the stages of one run; see :class:`datasetkit.annotation.tasks.Annotator`."""
        options = self._options
        compare = None if self._crop_scorer is None else _compare_stage(self._crop_scorer, self._crop_batch)
        return (
            *(() if self._describer is None else self._describer.stages()),
            CpuStage(
                name="phrases",
                ask=lambda task: task.reading.record.description or "",
                answer=lambda task, found: replace(task, nouns=found[0], asked=found[1]),
                function=partial(_phrases, self._finder, options.links.prompt),
            ),
            *self._grounder.stages(),
            CpuStage(
                name="clean",
                ask=lambda task: task.grounding or (task.detections, task.segments),
                answer=lambda task, found: replace(task, found=found),
                function=partial(_cleaned, options),
            ),
            *(() if compare is None else (compare,)),
            CpuStage(
                name="link",
                ask=lambda task: _Linking(task.reading.record, task.nouns, task.asked, task.found),
                answer=_with_links,
                function=partial(_linked, options, self._key_max),
            ),
        )


def _phrases(finder: PhraseFinder, prompt: Any, text: str) -> tuple[tuple[NounPhrase, ...], PhraseQuery]:
    nouns = tuple(finder.find(text))
    return nouns, phrase_query(text, nouns, prompt)


def _cleaned(options: GroundingOptions, made: Grounding | tuple[Detections, Sequence[Segment]]) -> Found:
    """Filter, merge and clean what models found in one image."""
    if not isinstance(made, Grounding):
        made = grounding_of(*made)
    # Before anything is merged: a region that fails must not absorb one that passes.
    sound, failed = apply_filters(made.regions, options.filters)
    regions, doubles = merge_masks(sound, options.duplicates)
    if options.cleaning is not None:
        cleaned = [(region, *clean_mask(region.mask, options.cleaning)) for region in regions]
        regions = tuple(replace(region, mask=mask, cleaning_iou=iou) for region, mask, iou in cleaned)
    return Found(regions, (*made.removals, *failed, *doubles), made.notices)


def _compare_stage(scorer: CropScorer, crop_batch: int) -> DeviceStage[Task]:
    """Return the stage that measures how similar the crop of each region is to its best phrase, image by image."""
    batches: Batches[tuple[Image.Image, str], float] = Batches(partial(_similarities, scorer), crop_batch, "crops")

    def ask(task: Task) -> tuple[Image.Image, tuple[Region, ...], PhraseQuery] | None:
        return (task.reading.pixels, task.found.regions, task.asked) if task.found.regions else None

    def forward(asked: Sequence[tuple[Image.Image, tuple[Region, ...], PhraseQuery]], _: Sequence[Any]) -> list[Any]:
        scores = [batches.run(_crops(*one)) for one in asked]
        return [next((score for score in own if isinstance(score, UnusableError)), own) for own in scores]

    return DeviceStage(name="compare", ask=ask, answer=_with_similarities, forward=forward, size=1)


def _crops(image: Image.Image, regions: Sequence[Region], asked: PhraseQuery) -> list[tuple[Image.Image, str]]:
    names = asked.query.phrases
    return [(crop_of(image, region.box_xyxy), names[region.best_phrase]) for region in regions]


def _similarities(scorer: CropScorer, crops: Sequence[tuple[Image.Image, str]]) -> Sequence[float | UnusableError]:
    scores = scorer.score([crop for crop, _ in crops], [phrase for _, phrase in crops]).tolist()
    not_finite = UnusableError(DropReason.NOT_FINITE, "the similarity of a crop and its phrase is not finite")
    return [score if math.isfinite(score) else not_finite for score in scores]


def _with_similarities(task: Task, scores: Sequence[float]) -> Task:
    pairs = zip(task.found.regions, scores, strict=True)
    regions = tuple(replace(region, similarity=score) for region, score in pairs)
    return replace(task, found=replace(task.found, regions=regions))


@dataclass(frozen=True, slots=True)
class _Linking:
    """What the links of one image are made from."""

    record: Record
    nouns: tuple[NounPhrase, ...]
    asked: PhraseQuery
    found: Found


def _linked(options: GroundingOptions, key_max: int | None, given: _Linking) -> tuple[Record, tuple[Removal, ...]]:
    """Filter by what was measured since, and link with the words; return the record, and all detections removed."""
    kept, filtered = apply_filters(given.found.regions, options.filters)
    text = given.record.description or ""
    phrases = link(text, given.nouns, given.asked, kept, options.links)
    record, unnamed = _with_objects(given.record, kept, phrases, given.nouns, key_max)
    return record, (*given.found.removals, *filtered, *unnamed)


def _with_links(task: Task, linked: tuple[Record, tuple[Removal, ...]]) -> Task:
    record, removals = linked
    drops = (Drop("detection", f"{record.record_id}#{item.number}", item.reason, item.detail) for item in removals)
    reading = replace(
        task.reading,
        record=record,
        drops=(*task.reading.drops, *drops),
        notices=(*task.reading.notices, *(Notice(record.record_id, kind) for kind in task.found.notices)),
        detections=len(record.objects) + len(removals),
    )
    return replace(task, reading=reading)


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

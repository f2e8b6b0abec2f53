"""Alignment of a description to objects of known categories. Owns the steps from a record to its aligned record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import replace

import numpy as np

from datasetkit.annotation.alignment.categories import (
    category_fits,
    extended,
    is_among,
    near_categories,
    read_mention,
)
from datasetkit.annotation.alignment.mentions import MOST_MENTIONS
from datasetkit.annotation.alignment.reasons import AlignmentReason
from datasetkit.annotation.alignment.resolution import Evidence, Instance, Resolution, resolve
from datasetkit.annotation.lexicon import Lexicon, coco_lexicon
from datasetkit.annotation.phrases import NounPhraseFinder
from datasetkit.annotation.salience import centrality_term, size_term, with_phrases
from datasetkit.core.protocols import NO_SYNONYMS, NounPhrase, PhraseFinder
from datasetkit.core.record import Candidate, KeyObject, Linker, Phrase, PhraseStatus, Record

_UNKNOWN = AlignmentReason.UNKNOWN_CATEGORY


class KnownObjectAligner:
    """Finds which objects of known categories the phrases of a description name.

    Words, categories and counts decide; pixels contribute only candidate scores and the salience. Every phrase and
    every object stays in the record, with a status and a reason. An object without a mask counts like any other: "a
    dog" is ambiguous if there is a second dog of which only a bounding box is known. Where an object's category is
    unknown, or not every object of a category is annotated, no match that this could change is certain.

    Args:
        finder: finds the noun phrases; :class:`~datasetkit.annotation.phrases.NounPhraseFinder` by default.
        lexicon: maps nouns to categories; COCO's by default. A record's categories that it lacks are recognised by
            their own words; an :func:`~datasetkit.annotation.alignment.extended` lexicon also recognises categories
            without an object in the record.
        key_max: how many of the mentioned objects, the most salient first, become key objects; None for all.
        objects_known: whether records without objects have none. If nobody has looked for objects, a phrase without an
            object does not mean that there is none.
        align_rest: whether phrases beside those that a data set links are aligned.

    """

    def __init__(
        self,
        finder: PhraseFinder | None = None,
        lexicon: Lexicon | None = None,
        key_max: int | None = None,
        *,
        objects_known: bool = True,
        align_rest: bool = False,
    ) -> None:
        if key_max is not None and key_max < 1:
            raise ValueError(f"key_max is {key_max}; use a number of at least 1, or None for all")
        self._lexicon = coco_lexicon() if lexicon is None else lexicon
        self._finder = NounPhraseFinder(self._lexicon) if finder is None else finder
        self._key_max = key_max
        self._objects_known = objects_known
        self._align_rest = align_rest

    def align(
        self, record: Record, synonyms: Mapping[str, Sequence[str]] = NO_SYNONYMS, *, is_searched: bool = False
    ) -> Record:
        """Add phrases, and set the objects' status, salience and key flag."""
        nouns = self._finder.find(record.description or "")
        phrases = self._linked(record, nouns, synonyms, is_searched=is_searched)
        return with_phrases(record, phrases, self._key_max)

    def complete(
        self, record: Record, synonyms: Mapping[str, Sequence[str]] = NO_SYNONYMS, *, is_searched: bool = False
    ) -> Record:
        """Keep the phrases that a data set links, and add those that do not overlap them.

        The added ones have the reason ``not_linked_by_source`` and no objects, unless the rest is to be aligned.
        """
        text, given = record.description or "", record.phrases
        nouns = [
            noun
            for noun in self._finder.find(text)
            if all(noun.end <= phrase.start or phrase.end <= noun.start for phrase in given)
        ]
        if self._align_rest:
            added = self._linked(record, nouns, synonyms, is_searched=is_searched)
        else:
            not_linked = Resolution(reason=AlignmentReason.NOT_LINKED_BY_SOURCE)
            added = tuple(phrase_of(text, noun, not_linked, Linker.WORDS) for noun in nouns)
        return with_phrases(record, sorted((*given, *added), key=lambda phrase: phrase.start), self._key_max)

    def _linked(
        self, record: Record, nouns: Sequence[NounPhrase], synonyms: Mapping[str, Sequence[str]], *, is_searched: bool
    ) -> tuple[Phrase, ...]:
        return self.link(
            record.description or "",
            nouns,
            record.objects,
            record.partial_categories,
            record.absent_categories,
            synonyms,
            is_searched=is_searched,
        )

    def link(
        self,
        text: str,
        nouns: Sequence[NounPhrase],
        objects: Sequence[KeyObject],
        partial: Sequence[str] = (),
        absent: Sequence[str] = (),
        synonyms: Mapping[str, Sequence[str]] = NO_SYNONYMS,
        *,
        is_searched: bool = False,
    ) -> tuple[Phrase, ...]:
        """Link each noun phrase of a text to the objects of its image that it names; return one phrase per noun phrase.

        Phrases after the first ``MOST_MENTIONS`` name nothing and get the reason ``too_many_phrases``.

        Args:
            text: the description.
            nouns: its noun phrases.
            objects: all objects of the image, including those without masks.
            partial: categories of which the image has, or may have, objects that are not annotated.
            absent: categories that were looked for and are not in the image.
            synonyms: other words for categories, by category.
            is_searched: whether somebody looked for objects in this image.

        """
        nouns, beyond = nouns[:MOST_MENTIONS], nouns[MOST_MENTIONS:]
        objects_known = self._objects_known or is_searched or bool(objects)
        lexicon = extended(self._lexicon, (*(item.category for item in objects), *partial, *absent), synonyms)
        words = [text[noun.start : noun.end] for noun in nouns]
        mentions = [
            read_mention(noun, own, lexicon) if objects_known else None for noun, own in zip(nouns, words, strict=True)
        ]
        named = [mention for mention in mentions if mention is not None]
        naming = [own for own, mention in zip(words, mentions, strict=True) if mention is not None]
        known = [item for item in objects if item.category is not None]
        instances = [Instance(item.id, item.is_crowd) for item in known]
        resolved = resolve(named, instances, _evidence(naming, known, lexicon))
        strangers = [item.id for item in objects if item.category is None]
        without_mask = {item.id for item in objects if item.mask is None}
        results = iter(
            _honest(
                result,
                partly_annotated=any(category_fits(own, partial, lexicon)),
                checked_absent=is_among(own, absent, lexicon),
                strangers=strangers,
                without_mask=without_mask,
            )
            for own, result in zip(naming, resolved, strict=True)
        )
        # For a phrase that names no category known here ("a unicorn").
        unresolved = Resolution(reason=AlignmentReason.OBJECTS_UNKNOWN)
        if objects_known:
            unresolved = Resolution(reason=_UNKNOWN if strangers else AlignmentReason.NO_SUCH_CATEGORY)
        linked = [unresolved if mention is None else next(results) for mention in mentions]
        linked += [Resolution(reason=AlignmentReason.TOO_MANY_PHRASES)] * len(beyond)
        return tuple(
            phrase_of(text, noun, result, Linker.WORDS) for noun, result in zip((*nouns, *beyond), linked, strict=True)
        )


def _evidence(phrases: Sequence[str], objects: Sequence[KeyObject], lexicon: Lexicon) -> Evidence:
    """Compute how well each object's category fits each phrase, and how prominent it is among candidates."""
    shape = len(phrases), len(objects)
    categories = [item.category or "" for item in objects]
    fit = [category_fits(phrase, categories, lexicon) for phrase in phrases]
    near = [near_categories(phrase, categories, lexicon) for phrase in phrases]
    measured = {
        item.id: max(0.75 * size_term(item.mask) + 0.25 * centrality_term(item.mask), 1e-3)
        for item in objects
        if item.mask is not None
    }
    # The size of an object without a mask is unknown: it gets the average weight of the others.
    average = sum(measured.values()) / len(measured) if measured else 1.0
    prominence = [measured.get(item.id, average) for item in objects]
    return Evidence(
        np.array(fit, dtype=np.float64).reshape(shape),
        np.array(near, dtype=np.bool_).reshape(shape),
        np.broadcast_to(np.array(prominence, dtype=np.float64), shape),
    )


def _honest(
    result: Resolution,
    *,
    partly_annotated: bool,
    checked_absent: bool,
    strangers: Sequence[int],
    without_mask: Set[int],
) -> Resolution:
    """Withdraw certainty that objects which are not fully known do not allow.

    Args:
        result: what a phrase names, judged by the objects whose categories are known.
        partly_annotated: whether the image may have more of what it names than is annotated ("a chair" in LVIS).
        checked_absent: whether somebody looked for all that it may name, and found nothing.
        strangers: ids of the objects of unknown category; the phrase may name any of them.
        without_mask: ids of the objects without a mask.

    """
    if checked_absent and result.reason is AlignmentReason.NO_INSTANCE:
        return Resolution(reason=AlignmentReason.CHECKED_ABSENT)  # "a banana", which is a negative of LVIS
    doubt = AlignmentReason.PARTLY_ANNOTATED if partly_annotated else _UNKNOWN
    in_doubt = partly_annotated or bool(strangers)
    if in_doubt and result.reason is AlignmentReason.NO_INSTANCE:
        return Resolution(reason=doubt)  # "a dog", with no dog annotated but an object of unknown category
    if in_doubt and result.object_ids:
        # "a dog", with one dog annotated; how likely each candidate is is unknown, so the candidates have no scores.
        return Resolution(candidates=tuple((one, None) for one in (*result.object_ids, *strangers)), reason=doubt)
    if not without_mask.isdisjoint(result.object_ids):  # "two dogs", one of them known by its box only
        return replace(result, reason=AlignmentReason.INSTANCE_WITHOUT_MASK)
    return result


def phrase_of(text: str, noun: NounPhrase, result: Resolution, linker: Linker) -> Phrase:
    """Convert a noun phrase and what it names to a record's phrase; one that is not an object names nothing."""
    words = text[noun.start : noun.end]
    if not noun.is_object:
        return Phrase(words, noun.start, noun.end, status=PhraseStatus.NOT_AN_OBJECT, provenance=linker)
    status = PhraseStatus.ABSENT
    if result.object_ids:
        status = PhraseStatus.MATCHED
    elif result.candidates:
        status = PhraseStatus.AMBIGUOUS
    return Phrase(
        words,
        noun.start,
        noun.end,
        object_ids=result.object_ids,
        candidates=tuple(Candidate(object_id, score) for object_id, score in result.candidates),
        score=result.score,
        status=status,
        reason=None if result.reason is None else result.reason.value,
        provenance=linker,
    )

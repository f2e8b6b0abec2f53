"""Links between phrases and what a detector found for them. Owns the query, and how scores become fits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from datasetkit.annotation.alignment.aligner import phrase_of
from datasetkit.annotation.alignment.competition import settle
from datasetkit.annotation.alignment.mentions import MOST_MENTIONS, Mention, demand_of
from datasetkit.annotation.alignment.reasons import AlignmentReason
from datasetkit.annotation.alignment.repeats import content_words, find_repeats
from datasetkit.annotation.alignment.resolution import Evidence, Instance, Resolution, resolve
from datasetkit.annotation.lexicon import coco_lexicon
from datasetkit.annotation.phrases.words import english_words
from datasetkit.core.detections import Query, Region
from datasetkit.core.protocols import NounPhrase
from datasetkit.core.record import Linker, Phrase
from datasetkit.options.grounding import LinkOptions

_Array = NDArray[np.float64]
_SCORE_DIGITS = 6


@dataclass(frozen=True, slots=True)
class PhraseQuery:
    """The query of a detector for one text.

    The column of a noun phrase is the index of its phrase in the query, None where it is not part of the query.
    """

    query: Query
    columns: tuple[int | None, ...]


def phrase_query(text: str, nouns: Sequence[NounPhrase], prompt: Literal["phrases", "caption"]) -> PhraseQuery:
    """Build the query for those of the first ``MOST_MENTIONS`` noun phrases that may name something in the image.

    With the prompt ``phrases`` it lists them, equal ones once; with ``caption`` it is the text with its phrases marked.
    """
    wanted = [noun.is_object and noun.number != 0 and place < MOST_MENTIONS for place, noun in enumerate(nouns)]
    spans = [(noun.start, noun.end) for noun, is_wanted in zip(nouns, wanted, strict=True) if is_wanted]
    if prompt == "caption":
        numbers = iter(range(len(spans)))
        return PhraseQuery(
            Query(text, tuple(spans)), tuple(next(numbers) if is_wanted else None for is_wanted in wanted)
        )
    columns = {phrase: column for column, phrase in enumerate(dict.fromkeys(text[slice(*span)] for span in spans))}
    return PhraseQuery(
        Query.of_phrases(tuple(columns)),
        tuple(
            columns[text[noun.start : noun.end]] if wants else None for noun, wants in zip(nouns, wanted, strict=True)
        ),
    )


def link(
    text: str, nouns: Sequence[NounPhrase], asked: PhraseQuery, regions: Sequence[Region], options: LinkOptions
) -> tuple[Phrase, ...]:
    """Link each noun phrase of a description to the regions that it names; return one phrase per noun phrase, in order.

    The regions are what was found for the query; their indices are the object ids.
    """
    nouns, beyond = nouns[:MOST_MENTIONS], nouns[MOST_MENTIONS:]
    mentions, firsts = _read(text, nouns)
    heads = [index for index, mention in enumerate(mentions) if mention is not None and firsts[index] is None]
    resolving = [mention for index in heads if (mention := mentions[index]) is not None]
    # Scores of each noun phrase for each region, 0 where it was not part of the query; shape (M, N).
    own = np.zeros((len(nouns), len(regions)))
    for index, column in enumerate(asked.columns[: len(nouns)]):
        if column is not None:
            own[index] = [region.phrase_scores[column] for region in regions]
    scores = _of_chains(own, firsts)
    instances = [Instance(place, region.is_group) for place, region in enumerate(regions)]
    is_crowd = np.array([region.is_group for region in regions], dtype=np.bool_)
    fit = _fits(resolving, scores[heads], options)
    fit = settle(resolving, fit, is_crowd, options.margin)
    evidence = Evidence(fit, np.zeros(fit.shape, dtype=np.bool_), fit)
    results = dict(zip(heads, resolve(resolving, instances, evidence), strict=True))
    phrases = []
    for index, noun in enumerate(nouns):
        first = firsts[index]
        result = results.get(index if first is None else first, Resolution())
        is_seen = bool(scores[index].max(initial=0.0) >= options.score_min)
        phrases.append(phrase_of(text, noun, _scored(result, own[index], is_seen=is_seen), Linker.MODEL))
    too_many = Resolution(reason=AlignmentReason.TOO_MANY_PHRASES)
    return (*phrases, *(phrase_of(text, noun, too_many, Linker.MODEL) for noun in beyond))


def _read(text: str, nouns: Sequence[NounPhrase]) -> tuple[list[Mention | None], list[int | None]]:
    """Read what each noun phrase names, None where it is not an object, and which earlier one it repeats."""
    lexicon, words = coco_lexicon(), english_words()
    contents = [content_words(text[noun.start : noun.end], words) for noun in nouns]
    mentions = [
        Mention(
            " ".join(sorted(content)),
            demand_of(noun, lexicon),
            noun.definite,
            noun.other,
            general=not content or len(lexicon.categories(noun.head)) > 1,
        )
        if noun.is_object
        else None
        for noun, content in zip(nouns, contents, strict=True)
    ]
    return mentions, find_repeats(mentions, contents)


def _of_chains(scores: _Array, firsts: Sequence[int | None]) -> _Array:
    """Assign to all mentions of the same things the best of their scores ("a black cat ... the cat"), shape (M, N)."""
    heads = [index if first is None else first for index, first in enumerate(firsts)]
    best = np.zeros_like(scores)
    for index, head in enumerate(heads):
        best[head] = np.maximum(best[head], scores[index])
    return best[heads]


def _fits(mentions: Sequence[Mention], scores: _Array, options: LinkOptions) -> _Array:
    """Keep those of the scores, shape (M, N), that support a mention."""
    fit = np.where(scores >= options.score_min, scores, 0.0)
    for index, mention in enumerate(mentions):
        for place, rival in enumerate(mentions):
            # "a cat and a dog": a region that is much more likely the dog is not the cat. A definite phrase ("the
            # animal") may be what another mention names, so its better score is not a reason against that mention.
            if place != index and not (mention if place < index else rival).definite:
                fit[index, scores[index] < options.rival_share * scores[place]] = 0.0
        if mention.demand is None:  # "cats": regions that score far below the best one are not cats
            fit[index, fit[index] < options.rival_share * fit[index].max(initial=0.0)] = 0.0
    return fit


def _scored(result: Resolution, scores: _Array, *, is_seen: bool) -> Resolution:
    """Add a phrase's own scores, shape (N,): the detector's confidence in what was found, or why nothing was found."""
    if result.reason is AlignmentReason.NO_INSTANCE:
        return replace(result, reason=AlignmentReason.OUTSCORED if is_seen else AlignmentReason.NOT_FOUND)
    if result.object_ids:
        return replace(result, score=round(float(scores[list(result.object_ids)].mean()), _SCORE_DIGITS))
    return result

"""Links of phrases with what a detector found for them. Owns what is asked and how scores become fits."""

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
class Asked:
    """What a detector is asked for a text.

    Each noun phrase has the index of its phrase in the query as its column, None where it is not asked for.
    """

    query: Query
    columns: tuple[int | None, ...]


def ask(text: str, nouns: Sequence[NounPhrase], prompt: Literal["phrases", "caption"]) -> Asked:
    """Ask for the noun phrases of a description, the first ``MOST_MENTIONS``, that may name something in the image.

    The prompt ``phrases`` is a list of them, equal ones once, ``caption`` the text with its phrases marked.
    """
    wanted = [noun.is_object and noun.number != 0 and place < MOST_MENTIONS for place, noun in enumerate(nouns)]
    spans = [(noun.start, noun.end) for noun, is_wanted in zip(nouns, wanted, strict=True) if is_wanted]
    if prompt == "caption":
        numbers = iter(range(len(spans)))
        return Asked(Query(text, tuple(spans)), tuple(next(numbers) if is_wanted else None for is_wanted in wanted))
    columns = {phrase: column for column, phrase in enumerate(dict.fromkeys(text[slice(*span)] for span in spans))}
    return Asked(
        Query.of_phrases(tuple(columns)),
        tuple(
            columns[text[noun.start : noun.end]] if wants else None for noun, wants in zip(nouns, wanted, strict=True)
        ),
    )


def link(
    text: str, nouns: Sequence[NounPhrase], asked: Asked, regions: Sequence[Region], options: LinkOptions
) -> tuple[Phrase, ...]:
    """Link each noun phrase of a description to the regions that it names: one phrase for each noun, in order.

    The regions are what was found for what was asked; their places are the object ids.
    """
    nouns, beyond = nouns[:MOST_MENTIONS], nouns[MOST_MENTIONS:]
    mentions, firsts = _read(text, nouns)
    heads = [index for index, mention in enumerate(mentions) if mention is not None and firsts[index] is None]
    resolving = [mention for index in heads if (mention := mentions[index]) is not None]
    # Of each noun phrase for each region, 0 where it was not asked for; shape (M, N).
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
    """Read what each noun phrase asks for, None where it names no object, and which earlier one it repeats."""
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
    """Let each phrase speak for all that repeat the same things: the best of their scores, shape (M, N)."""
    heads = [index if first is None else first for index, first in enumerate(firsts)]
    best = np.zeros_like(scores)
    for index, head in enumerate(heads):
        best[head] = np.maximum(best[head], scores[index])
    return best[heads]


def _fits(mentions: Sequence[Mention], scores: _Array, options: LinkOptions) -> _Array:
    """Leave of scores, shape (M, N), those that speak for a mention."""
    fit = np.where(scores >= options.score_min, scores, 0.0)
    for index, mention in enumerate(mentions):
        for place, rival in enumerate(mentions):
            # What is definite may be what another mention speaks of, and what it scores better is no loss to that.
            if place != index and not (mention if place < index else rival).definite:
                fit[index, scores[index] < options.rival_share * scores[place]] = 0.0
        if mention.demand is None:
            fit[index, fit[index] < options.rival_share * fit[index].max(initial=0.0)] = 0.0
    return fit


def _scored(result: Resolution, scores: _Array, *, is_seen: bool) -> Resolution:
    """Put in a phrase's own scores, shape (N,): how sure the detector is of what was found, or why nothing was."""
    if result.reason is AlignmentReason.NO_INSTANCE:
        return replace(result, reason=AlignmentReason.OUTSCORED if is_seen else AlignmentReason.NOT_FOUND)
    if result.object_ids:
        return replace(result, score=round(float(scores[list(result.object_ids)].mean()), _SCORE_DIGITS))
    return result

"""Which of an image's objects a text names, if the text may be wrong about the image. Owns what counts as named.

Phrases are aligned by words and categories (:mod:`datasetkit.annotation.alignment`). Then

- a phrase that is matched or ambiguous is present; a phrase of a known category without an object of it is absent. "no
cats" is neither, and so are words that name no known category ("the image") and pronouns;
- a matched phrase names its objects;
- an ambiguous phrase names as many of its candidates as its number, one if it has no number. If it may repeat an
earlier phrase ("the ring", or "a ring" again), it names what that phrase names; otherwise what no phrase has named yet;
otherwise the most likely candidates. So "a ring" names one of two rings, however often it is used, and "a large ring
and a small ring" both.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from datasetkit.annotation.alignment import AlignmentReason, KnownObjectAligner, extended
from datasetkit.annotation.alignment.repeats import content_words
from datasetkit.annotation.lexicon import coco_lexicon
from datasetkit.annotation.phrases import NounPhraseFinder
from datasetkit.annotation.phrases.words import english_words
from datasetkit.core.protocols import Naming, NounPhrase
from datasetkit.core.record import KeyObject, Phrase, PhraseStatus


class KnownObjectNamer:
    """Finds which objects of known categories a text names.

    Args:
        categories: of the whole dataset, so that categories which an image lacks are known too; None among them is
            skipped. COCO's are always known.

    """

    def __init__(self, categories: Iterable[str | None]) -> None:
        lexicon = extended(coco_lexicon(), categories)
        self._finder = NounPhraseFinder(lexicon)
        self._aligner = KnownObjectAligner(self._finder, lexicon)

    def name(self, text: str, objects: Sequence[KeyObject]) -> Naming:
        """Compare a text's phrases with the objects of an image."""
        nouns = self._finder.find(text)
        phrases = self._aligner.link(text, nouns, objects)
        named: list[_Named] = []
        for noun, phrase in zip(nouns, phrases, strict=True):
            if phrase.object_ids or phrase.candidates:
                named.append(_named(noun, phrase, named))
        return Naming(
            present=tuple(item.text for item in named),
            absent=tuple(
                phrase.text
                for phrase in phrases
                if phrase.status is PhraseStatus.ABSENT and phrase.reason == AlignmentReason.NO_INSTANCE
            ),
            object_ids=frozenset().union(*(item.object_ids for item in named)),
        )


@dataclass(frozen=True, slots=True)
class _Named:
    """A present phrase, its content words, and the objects that it names."""

    text: str
    content: frozenset[str]
    object_ids: frozenset[int]


def _named(noun: NounPhrase, phrase: Phrase, earlier: Sequence[_Named]) -> _Named:
    content = content_words(phrase.text, english_words())
    if phrase.object_ids:
        return _Named(phrase.text, content, frozenset(phrase.object_ids))
    again: set[int] = set()
    taken: set[int] = set()
    for item in earlier:
        may_repeat = not noun.other and (noun.definite or item.content == content)
        (again if may_repeat else taken).update(item.object_ids)
    # Candidates come best first, and the sort is stable.
    ranked = sorted(
        (candidate.object_id for candidate in phrase.candidates),
        key=lambda object_id: (object_id not in again, object_id in taken),
    )
    return _Named(phrase.text, content, frozenset(ranked[: noun.number or 1]))

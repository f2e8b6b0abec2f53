"""Why a phrase got its status. Owns the constants that go into ``Phrase.reason``."""

from __future__ import annotations

from enum import StrEnum


class AlignmentReason(StrEnum):
    """What kept a phrase from naming its objects, or made the match less than sure."""

    NO_SUCH_CATEGORY = "no_such_category"
    NO_INSTANCE = "no_instance"
    NEGATED = "negated"
    TOO_MANY_FIT = "too_many_fit"
    CONTESTED = "contested"
    FEWER_THAN_SAID = "fewer_than_said"
    CROWD_ONLY = "crowd_only"
    OBJECTS_UNKNOWN = "objects_unknown"
    NEAR_CATEGORY = "near_category"
    NOT_FOUND = "not_found"
    OUTSCORED = "outscored"

    @property
    def explanation(self) -> str:
        """One plain sentence for cards and tables."""
        return _EXPLANATIONS[self]


_EXPLANATIONS = {
    AlignmentReason.NO_SUCH_CATEGORY: "the noun names none of the categories",
    AlignmentReason.NO_INSTANCE: "no object of the picture is of a category that the noun names",
    AlignmentReason.NEGATED: 'the text says that there is none ("no cars")',
    AlignmentReason.TOO_MANY_FIT: "more objects fit than the phrase names, and the words do not tell which",
    AlignmentReason.CONTESTED: "other phrases name different things of the category, and there are not enough for all",
    AlignmentReason.FEWER_THAN_SAID: "the phrase says more than there are; it names what there is",
    AlignmentReason.CROWD_ONLY: "only a crowd region fits; the thing named is somewhere in it",
    AlignmentReason.OBJECTS_UNKNOWN: "the source has no objects and none were looked for",
    AlignmentReason.NEAR_CATEGORY: "nothing is of the noun's own category; what it names is of one often taken for it",
    AlignmentReason.NOT_FOUND: "the detector found nothing that the phrase scores highly enough",
    AlignmentReason.OUTSCORED: "what the detector found for it, it found with higher scores for other phrases",
}

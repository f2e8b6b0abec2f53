"""Why a phrase got its status. Owns the constants that go into ``Phrase.reason``."""

from __future__ import annotations

from datasetkit.core.text import Explained


class AlignmentReason(Explained):
    """What kept a phrase from naming its objects, or made the match less than sure."""

    NO_SUCH_CATEGORY = "no_such_category", "the noun names none of the categories"
    NO_INSTANCE = "no_instance", "no object of the image is of a category that the noun names"
    NEGATED = "negated", 'the text says that there is none ("no cars")'
    TOO_MANY_FIT = "too_many_fit", "more objects fit than the phrase names, and the words do not tell which"
    CONTESTED = "contested", "other phrases name different things of the category, and there are not enough for all"
    FEWER_THAN_SAID = "fewer_than_said", "the phrase says more than there are; it names what there is"
    CROWD_ONLY = "crowd_only", "only a crowd region fits; the thing named is somewhere in it"
    OBJECTS_UNKNOWN = "objects_unknown", "the source has no objects and none were looked for"
    NEAR_CATEGORY = "near_category", "nothing is of the noun's own category; what it names is of one often taken for it"
    INSTANCE_WITHOUT_MASK = (
        "instance_without_mask",
        "what it names is there, but not all of it has a mask, so the masks are not all that it names",
    )
    UNKNOWN_CATEGORY = (
        "unknown_category",
        "objects of unknown category are there, which the phrase may name as well",
    )
    PARTLY_ANNOTATED = "partly_annotated", "the source has not marked every object of the category in this image"
    TOO_MANY_PHRASES = (
        "too_many_phrases",
        "the description has a thousand noun phrases before it; what it names was not looked for",
    )
    NOT_FOUND = "not_found", "the detector found nothing that the phrase scores highly enough"
    OUTSCORED = "outscored", "what the detector found for it, it found with higher scores for other phrases"

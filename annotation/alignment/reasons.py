"""Why a phrase got its status. Owns the constants that are written to ``Phrase.reason``."""

from __future__ import annotations

from datasetkit.core.text import Explained


class AlignmentReason(Explained):
    """What kept a phrase from naming its objects, or made the match less than certain."""

    NO_SUCH_CATEGORY = "no_such_category", "the noun names none of the categories"
    NO_INSTANCE = "no_instance", "no object of the image is of a category that the noun names"
    NEGATED = "negated", 'the text says that there is none ("no cars")'
    TOO_MANY_FIT = "too_many_fit", "more objects fit than the phrase names, and the words do not say which"
    CONTESTED = "contested", "other phrases name different things of the category, and there are not enough for all"
    FEWER_THAN_SAID = "fewer_than_said", "the phrase names more things than there are; it is linked to those there are"
    CROWD_ONLY = "crowd_only", "only a crowd region fits; the thing that is named is somewhere in it"
    OBJECTS_UNKNOWN = "objects_unknown", "the source has no objects, and nobody has looked for any"
    NEAR_CATEGORY = "near_category", "nothing is of the noun's category; what is named is of one often confused with it"
    INSTANCE_WITHOUT_MASK = (
        "instance_without_mask",
        "what it names is there, but part of it has no mask, so its masks do not cover all that it names",
    )
    UNKNOWN_CATEGORY = (
        "unknown_category",
        "there are objects of unknown category, which the phrase may name as well",
    )
    PARTLY_ANNOTATED = "partly_annotated", "the source has not annotated every object of the category in this image"
    CHECKED_ABSENT = "checked_absent", "somebody looked for it in the image and did not find it"
    TOO_MANY_PHRASES = (
        "too_many_phrases",
        "the description has a thousand noun phrases before it; nothing was looked for",
    )
    NOT_LINKED_BY_SOURCE = "not_linked_by_source", "the source links other words of the text, and not these"
    NOT_FOUND = "not_found", "the detector found nothing with a high enough score for the phrase"
    OUTSCORED = "outscored", "what the detector found for it has higher scores for other phrases"

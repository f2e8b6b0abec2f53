"""Which objects the phrases of a description name."""

from datasetkit.annotation.alignment.aligner import KnownObjectAligner
from datasetkit.annotation.alignment.categories import extended
from datasetkit.annotation.alignment.links import PhraseQuery, link, phrase_query
from datasetkit.annotation.alignment.reasons import AlignmentReason

__all__ = ["AlignmentReason", "KnownObjectAligner", "PhraseQuery", "extended", "link", "phrase_query"]

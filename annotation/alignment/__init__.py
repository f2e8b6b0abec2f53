"""Which objects the phrases of a description name."""

from datasetkit.annotation.alignment.aligner import KnownObjectAligner
from datasetkit.annotation.alignment.categories import extended
from datasetkit.annotation.alignment.links import Asked, ask, link
from datasetkit.annotation.alignment.reasons import AlignmentReason

__all__ = ["AlignmentReason", "Asked", "KnownObjectAligner", "ask", "extended", "link"]

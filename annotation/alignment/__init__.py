"""Which objects the phrases of a description name."""

from annotation.alignment.aligner import KnownObjectAligner
from annotation.alignment.categories import extended
from annotation.alignment.links import Asked, ask, link
from annotation.alignment.reasons import AlignmentReason

__all__ = ["AlignmentReason", "Asked", "KnownObjectAligner", "ask", "extended", "link"]

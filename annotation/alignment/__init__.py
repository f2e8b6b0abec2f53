"""Which objects the phrases of a description name."""

from annotation.alignment.aligner import KnownObjectAligner
from annotation.alignment.reasons import AlignmentReason

__all__ = ["AlignmentReason", "KnownObjectAligner"]

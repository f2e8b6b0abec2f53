"""Which of several descriptions of an image is used. Owns the choice by objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from datasetkit.core.protocols import Aligner, Reading
from datasetkit.core.record import ObjectStatus


def most_objects_named(readings: Sequence[Reading], aligner: Aligner) -> Reading:
    """Annotate records and choose the one whose description names the most objects; the earlier one of equals."""
    aligned = [
        one
        if one.is_annotated or one.has_given_links
        else replace(one, record=aligner.align(one.record, one.synonyms, is_searched=one.is_searched))
        for one in readings
    ]
    return max(aligned, key=lambda one: sum(item.status is ObjectStatus.MENTIONED for item in one.record.objects))

"""COCO sources opened and read without a build."""

from __future__ import annotations

from typing import Any

from datasetkit.core.errors import UnusableError
from datasetkit.core.protocols import Reading, SourceContext
from datasetkit.options.sources import CocoOptions
from datasetkit.sources.coco import CocoSource
from tests.pipeline.builders import (
    Json,
    caption,
    image_entry,
)

GOOD: Json = {"images": [image_entry(1)], "captions": [caption(11, 1)]}


def opened(options: Json, context: SourceContext = SourceContext(), **more: Any) -> CocoSource:
    return CocoSource(CocoOptions(**{**options, **more}), context)


def readings(source: CocoSource) -> dict[str, Reading | UnusableError]:
    found: dict[str, Reading | UnusableError] = {}
    for entry in source.entries():
        try:
            found[entry.record_id] = source.read(entry)
        except UnusableError as error:
            found[entry.record_id] = error
    return found

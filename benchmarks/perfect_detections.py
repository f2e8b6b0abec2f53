"""A detector that knows the boxes and categories of a record, and scores phrases by what their nouns may name.

It never sees the labels of a benchmark.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from datasetkit.annotation.alignment import link, phrase_query
from datasetkit.annotation.alignment.categories import category_fits, near_categories
from datasetkit.annotation.lexicon import Lexicon, coco_lexicon
from datasetkit.annotation.phrases import NounPhraseFinder
from datasetkit.core.detections import Detections, FloatArray, Query, Region
from datasetkit.core.record import KeyObject, Phrase, Record
from datasetkit.options.grounding import LinkOptions

# Objects that a noun may name score almost equally, by less than a margin; objects often mistaken for them score half.
FITTING_SCORE = 0.9
NEAR_SCORE = 0.45


class RecordDetector:
    """Finds every object of a record, whatever the query."""

    def __init__(self, objects: Sequence[KeyObject], lexicon: Lexicon) -> None:
        self._objects = objects
        self._lexicon = lexicon

    def detect(self, query: Query) -> Detections:
        """Return the tight box of each object, and its score per phrase."""
        boxes = [corners(item) for item in self._objects]
        categories = [item.category or "" for item in self._objects]
        scores = [self._scores(phrase, categories) for phrase in query.phrases]
        shape = len(query.spans), len(boxes)
        return Detections(np.array(boxes).reshape(-1, 4), np.array(scores, dtype=np.float64).reshape(shape).T)

    def _scores(self, phrase: str, categories: Sequence[str]) -> FloatArray:
        fits = np.array(category_fits(phrase, categories, self._lexicon))
        near = np.array(near_categories(phrase, categories, self._lexicon), dtype=np.bool_)
        fitting = FITTING_SCORE + (1.0 - FITTING_SCORE) * fits
        return np.where(fits > 0.0, fitting, np.where(near, NEAR_SCORE, 0.0))


def corners(item: KeyObject) -> tuple[float, float, float, float]:
    """Return left, top, right, bottom of the tight box of an object, px."""
    left, top, width, height = item.box_xywh
    return left, top, left + width, top + height


def link_detections(record: Record) -> tuple[Phrase, ...]:
    """Align a record as if its objects had been detected; their ids must be their indices."""
    text = record.description or ""
    nouns = NounPhraseFinder().find(text)
    options = LinkOptions()
    asked = phrase_query(text, nouns, options.prompt)
    found = RecordDetector(record.objects, coco_lexicon()).detect(asked.query)
    regions = [
        Region(item.id, corners(item), tuple(scores), item.mask, is_group=item.is_crowd)
        for item, scores in zip(record.objects, found.scores.tolist(), strict=True)
    ]
    return link(text, nouns, asked, regions, options)

"""How often links of phrases and objects are right, as measured once. Owns the figures that cards and previews quote.

They are printed by ``python -m benchmarks.alignment --half b`` (with ``--detections``, those of detections): COCO
captions that were labelled by hand and looked at for nothing but this, with the masks that people drew for COCO.
Intervals are 95 % percentile bootstraps over captions.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LinkQuality:
    """Precision and recall of links, each with the bounds of its 95 % interval, range [0, 1].

    Args:
        captions: how many captions were labelled.
        labelled: links that the labels have.
        predicted: links that were made.
        right: links that were made and that the labels have.
        precision_95: interval of ``right / predicted``.
        recall_95: interval of ``right / labelled``.

    """

    captions: int
    labelled: int
    predicted: int
    right: int
    precision_95: tuple[float, float]
    recall_95: tuple[float, float]

    @property
    def precision(self) -> float:
        """Share of the links that were made which are right."""
        return self.right / self.predicted

    @property
    def recall(self) -> float:
        """Share of the labelled links which were made."""
        return self.right / self.labelled


# Phrases and objects of known categories, linked by words.
BY_WORDS = LinkQuality(50, 142, 144, 135, (0.859, 0.993), (0.892, 0.991))
# Phrases and boxes of a detector that overlooks nothing and confuses nothing.
BY_DETECTIONS = LinkQuality(50, 142, 143, 134, (0.860, 0.993), (0.882, 0.985))

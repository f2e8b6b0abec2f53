"""Captions compared with the objects of the image: what they name, and whether it is present. Owns these counts.

After Rohrbach et al., "Object Hallucination in Image Captioning" (arXiv 1809.02156). Their CHAIR_i, the share of named
objects that are absent, is 1 - precision; their CHAIR_s, the share of captions that name an absent object, is
``hallucination``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from datasetkit.core.protocols import Naming
from datasetkit.core.record import KeyObject
from datasetkit.hi_scoring.statistics import FloatArray


def key_object_statistics(namings: Sequence[Naming], objects: Sequence[Sequence[KeyObject]]) -> dict[str, FloatArray]:
    """Count the objects that captions name.

    Args:
        namings: the objects named by the caption of each of n images.
        objects: all objects of each image; only the key objects among them must be named.

    Returns:
        (n, 2) float64 each: ``key_precision``, phrases that name an object in the image, and phrases that name any
        object; ``key_recall``, named key objects, and all key objects; ``hallucination``, 1 if a phrase names an absent
        object, otherwise 0, and 1. The first and the last are 0 and 0 (not measured) if it is unknown which objects an
        image lacks.

    """
    counts = []
    for naming, present in zip(namings, objects, strict=True):
        keys = {item.id for item in present if item.is_key}
        recall = len(keys & naming.object_ids), len(keys)
        right, wrong = len(naming.present), len(naming.absent)
        is_known = knows_all(present)
        counts.append([(right, right + wrong), recall, (wrong > 0, 1)] if is_known else [(0, 0), recall, (0, 0)])
    by_metric = np.array(counts, np.float64).reshape(-1, 3, 2).swapaxes(0, 1)
    return dict(zip(("key_precision", "key_recall", "hallucination"), by_metric, strict=True))


def knows_all(objects: Sequence[KeyObject]) -> bool:
    """Whether it is known which objects an image lacks; detectors look only for objects that its description names."""
    return all(item.scores.detection is None for item in objects)

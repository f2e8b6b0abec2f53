"""How much an object stands out, and which objects are key. Owns the salience formula.

``salience = 0.5 * size + 0.2 * centrality + 0.3 * order``, each term and the sum in [0, 1]:

- size: square root of the share of the image that the mask covers (a quarter of the image counts 0.5);
- centrality: 1 if the box's centre is the image's centre, 0 if it is in a corner;
- order: ``1 / (1 + n)``, where the n-th (from 0) phrase that names anything is the first to name the object, times the
    candidate's score if that phrase is ambiguous; 0 if no phrase names it.

An object without a mask has no salience: it was not measured.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from datasetkit.core.mask import Mask
from datasetkit.core.record import ObjectStatus, Phrase, Record

SIZE_WEIGHT = 0.5
CENTRALITY_WEIGHT = 0.2
ORDER_WEIGHT = 0.3


def size_term(mask: Mask) -> float:
    """Return the square root of the mask's share of the image, in [0, 1]."""
    height, width = mask.size_hw
    return math.sqrt(mask.area / (height * width))


def centrality_term(mask: Mask) -> float:
    """Return 1 if the box's centre is the image's, falling to 0 towards the corners."""
    height, width = mask.size_hw
    left, top, box_width, box_height = mask.box_xywh
    away = math.hypot(left + box_width / 2 - width / 2, top + box_height / 2 - height / 2)
    return max(0.0, 1.0 - away / math.hypot(width / 2, height / 2))


def order_terms(phrases: Sequence[Phrase]) -> dict[int, float]:
    """Return the order term of each object that a phrase names or may name, by object id."""
    terms: dict[int, float] = {}
    naming = [phrase for phrase in phrases if phrase.object_ids or phrase.candidates]
    for place, phrase in enumerate(naming):
        shares = dict.fromkeys(phrase.object_ids, 1.0)
        shares.update({candidate.object_id: candidate.score or 0.0 for candidate in phrase.candidates})
        for object_id, share in shares.items():
            terms[object_id] = max(terms.get(object_id, 0.0), share / (1 + place))
    return terms


def with_phrases(record: Record, phrases: Sequence[Phrase], key_max: int | None = None) -> Record:
    """Return a record with these phrases, and with its objects' status, salience and key flag set by them.

    Args:
        record: the record; its previous phrases are replaced.
        phrases: the description's phrases with the objects that they name.
        key_max: how many of the mentioned objects that have masks, the most salient first, become key objects; None for
            all.

    """
    mentioned = {object_id for phrase in phrases for object_id in phrase.object_ids}
    candidates = {candidate.object_id for phrase in phrases for candidate in phrase.candidates}
    orders = order_terms(phrases)
    salience = {}
    for item in record.objects:
        if item.mask is None:
            continue
        value = SIZE_WEIGHT * size_term(item.mask) + CENTRALITY_WEIGHT * centrality_term(item.mask)
        value += ORDER_WEIGHT * orders.get(item.id, 0.0)
        # Six digits: platforms may differ in the last bits of a root, and equal input must yield equal bytes.
        salience[item.id] = round(min(1.0, value), 6)
    ranked = sorted(mentioned & salience.keys(), key=lambda object_id: (-salience[object_id], object_id))
    key_ids = set(ranked if key_max is None else ranked[:key_max])

    def status(object_id: int) -> ObjectStatus:
        if object_id in mentioned:
            return ObjectStatus.MENTIONED
        return ObjectStatus.CANDIDATE if object_id in candidates else ObjectStatus.UNMENTIONED

    objects = tuple(
        replace(item, status=status(item.id), salience=salience.get(item.id), is_key=item.id in key_ids)
        for item in record.objects
    )
    return replace(record, objects=objects, phrases=tuple(phrases))

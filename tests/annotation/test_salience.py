"""Salience: each term on literal masks, and which objects become key."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from datasetkit.annotation.salience import centrality_term, order_terms, size_term, with_phrases
from datasetkit.core.record import Candidate, ObjectStatus, Phrase, PhraseStatus
from tests.annotation.scenes import SIDE, mask, record


def phrase(start: int, *ids: int) -> Phrase:
    return Phrase("x", start, start + 1, object_ids=ids, status=PhraseStatus.MATCHED)


def test_size_is_the_root_of_the_area_share() -> None:
    assert size_term(mask(0, 0, SIDE // 2, SIDE // 2)) == pytest.approx(0.5)
    assert size_term(mask(0, 0, SIDE, SIDE)) == pytest.approx(1.0)


def test_centrality_falls_from_the_centre_to_the_corner() -> None:
    centre = centrality_term(mask(18, 18, 4, 4))
    edge = centrality_term(mask(0, 18, 4, 4))
    corner = centrality_term(mask(0, 0, 1, 1))
    assert centre == pytest.approx(1.0)
    assert edge == pytest.approx(1.0 - 18 / math.hypot(20, 20))
    assert corner == pytest.approx(1.0 - 19.5 / 20)


def test_order_counts_only_phrases_that_name_objects() -> None:
    unsure = Phrase(
        "x", 4, 5, candidates=(Candidate(2, 0.75), Candidate(3, 0.25)), status=PhraseStatus.AMBIGUOUS, score=0.75
    )
    nothing = Phrase("x", 2, 3, status=PhraseStatus.ABSENT)
    assert order_terms([phrase(0, 0), nothing, unsure, phrase(6, 0, 1)]) == {
        0: 1.0,
        2: 0.75 / 2,
        3: 0.25 / 2,
        1: 1 / 3,
    }


def test_salience_adds_up() -> None:
    scene = record("x", "cat")
    out = with_phrases(
        replace(scene, objects=(replace(scene.objects[0], mask=mask(0, 0, SIDE, SIDE)),)), [phrase(0, 0)]
    )
    assert out.objects[0].salience == 1.0
    assert with_phrases(scene, []).objects[0].salience == pytest.approx(0.5 * 0.1 + 0.2 * (1 - 18 / 20))


def test_key_max_keeps_the_most_salient_mentioned() -> None:
    scene = record("xyz", "cat, cat, cat, cat")
    big = replace(scene.objects[3], mask=mask(0, 0, SIDE, SIDE))
    scene = replace(scene, objects=(*scene.objects[:3], big))
    phrases = [replace(phrase(0, 0, 1, 2), text="x")]
    all_keys = with_phrases(scene, phrases)
    one_key = with_phrases(scene, phrases, key_max=1)
    assert [item.is_key for item in all_keys.objects] == [True, True, True, False]
    assert [item.status for item in one_key.objects][:3] == [ObjectStatus.MENTIONED] * 3
    keys = [item for item in one_key.objects if item.is_key]
    assert len(keys) == 1
    assert keys[0].salience == max(item.salience or 0.0 for item in one_key.objects[:3])

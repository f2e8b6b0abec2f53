"""The central types: contents, refused values, and immutability."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasetkit.core.errors import DatasetkitError, RecordError
from datasetkit.core.mask import Mask
from datasetkit.core.record import (
    Candidate,
    EncodedImage,
    KeyObject,
    ObjectStatus,
    Phrase,
    PhraseStatus,
    Provenance,
    Question,
    Record,
    Scores,
)
from tests.core.strategies import records

MASK = Mask.from_array(np.ones((4, 6), dtype=bool))
OTHER = Mask.from_array(np.ones((6, 4), dtype=bool))
SHA = "0123456789abcdef" * 4
NAN = float("nan")


def image(**change: Any) -> EncodedImage:
    return EncodedImage(**{"data": b"x", "name": "a.png", "width": 6, "height": 4, **change})


def key_object(**change: Any) -> KeyObject:
    return KeyObject(**{"id": 0, "mask": MASK, **change})


def phrase(**change: Any) -> Phrase:
    return Phrase(**{"text": "a cat", "start": 0, "end": 5, **change})


def matched(*ids: int, **change: Any) -> Phrase:
    return phrase(object_ids=ids, status=PhraseStatus.MATCHED, **change)


def ambiguous(*ids: int) -> Phrase:
    return phrase(candidates=tuple(Candidate(one, 0.5) for one in ids), status=PhraseStatus.AMBIGUOUS)


def question(**change: Any) -> Question:
    return Question(**{"question": "a cat?", "answer": "yes", "type": "existence", **change})


def provenance(**change: Any) -> Provenance:
    return Provenance(**{"uri": "a.png", "license": "mit", "sha256": SHA, **change})


def record(**change: Any) -> Record:
    valid = {"record_id": "1", "image_id": "1", "image": image(), "description": "a cat sat", "source": provenance()}
    return Record(**{**valid, "objects": (key_object(),), **change})


INVALID: list[tuple[Any, dict[str, Any], str]] = [
    (image, {"data": b""}, "has no bytes"),
    (image, {"name": ""}, "must be a file name, or a relative path"),
    (image, {"name": "a/../b.png"}, "must be a file name, or a relative path"),
    (image, {"name": "/b.png"}, "must be a file name, or a relative path"),
    (image, {"name": "a\\b.png"}, "must be a file name, or a relative path"),
    (image, {"width": 0}, "sides must be positive"),
    (image, {"height": -1}, "sides must be positive"),
    (Scores, {"detection": 1.01}, "score detection is 1.01; give a number in [0, 1]"),
    (Scores, {"stability": -0.1}, "score stability"),
    (Scores, {"cleaning_iou": NAN}, "score cleaning_iou is nan"),
    (Scores, {"similarity": float("inf")}, "score similarity is inf"),
    (Candidate, {"object_id": 1, "score": 2.0}, "candidate score"),
    (key_object, {"id": -1}, "object id -1"),
    (key_object, {"id": 2**31}, "must be a non-negative 32-bit number"),
    (key_object, {"category": ""}, "give None if it is unknown"),
    (key_object, {"salience": 1.5}, "salience is 1.5"),
    (key_object, {"is_key": True}, "key objects are mentioned ones"),
    (key_object, {"is_key": True, "status": ObjectStatus.CANDIDATE}, "is a key object but candidate"),
    (key_object, {"source_bbox": (1, 2, 3)}, "must be four finite numbers"),
    (key_object, {"source_bbox": (1, 2, 3, NAN)}, "must be four finite numbers"),
    (phrase, {"start": -1, "end": 4}, "has 5 characters but span [-1, 4)"),
    (phrase, {"end": 6}, "has 5 characters but span [0, 6)"),
    (phrase, {"text": "", "end": 0}, "has 0 characters"),
    (phrase, {"object_ids": (0,)}, "only a matched one names objects"),
    (phrase, {"status": PhraseStatus.MATCHED}, "is matched, names ()"),
    (phrase, {"object_ids": (0, 0), "status": PhraseStatus.MATCHED}, "names an object twice"),
    (phrase, {"candidates": (Candidate(0, 0.5),)}, "only an ambiguous one has them"),
    (phrase, {"score": 7}, "phrase score is 7"),
    (question, {"question": ""}, "needs a text and an answer"),
    (question, {"answer": ""}, "needs a text and an answer"),
    (question, {"options": ("no", "maybe")}, "answer 'yes' is not one of the options ('no', 'maybe')"),
    (provenance, {"license": ""}, 'give "unknown" if the source states none'),
    (provenance, {"sha256": "abc"}, "must be 64 hexadecimal digits"),
    (provenance, {"sha256": SHA.upper()}, "must be 64 hexadecimal digits"),
    (record, {"record_id": ""}, "must not be empty"),
    (record, {"image_id": ""}, "must not be empty"),
    (record, {"description": ""}, "give None if there is none"),
    (record, {"objects": (key_object(), key_object())}, "record 1: an object id is used twice"),
    (record, {"objects": (key_object(mask=OTHER),)}, "has a mask of (6, 4) on an image of (4, 6)"),
    (record, {"phrases": (phrase(text="a dog"),)}, "description[0:5] is not 'a dog'"),
    (record, {"phrases": (phrase(start=1, end=6),)}, "description[1:6] is not 'a cat'"),
    (record, {"description": None, "phrases": (phrase(),)}, "description[0:5] is not 'a cat'"),
    (record, {"phrases": (matched(0, 7),)}, "names objects {7}"),
    (record, {"phrases": (ambiguous(0, 9),)}, "names objects {9}"),
    (record, {"questions": (question(object_ids=(3,)),)}, "names an unknown object"),
]


@pytest.mark.parametrize(("kind", "change", "message"), INVALID)
def test_what_cannot_be_is_refused(kind: Any, change: dict[str, Any], message: str) -> None:
    with pytest.raises(RecordError, match=re.escape(message)) as caught:
        kind(**change)
    assert isinstance(caught.value, DatasetkitError)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        (Scores, {"detection": 0.0, "stability": 1.0}),
        (key_object, {"id": 2**31 - 1, "is_key": True, "status": ObjectStatus.MENTIONED, "salience": 1}),
        (key_object, {"source_bbox": (-3.5, 0, 1e6, 2)}),
        (phrase, {"status": PhraseStatus.NOT_AN_OBJECT, "reason": "abstract"}),
        (phrase, {"status": PhraseStatus.AMBIGUOUS}),
        (question, {"options": ("yes", "no")}),
        (record, {"phrases": (matched(0), ambiguous(0))}),
        (record, {"description": "😀 a cat", "phrases": (phrase(start=2, end=7),)}),
        (record, {"description": None, "objects": ()}),
    ],
)
def test_what_can_be_is_kept(kind: Any, change: dict[str, Any]) -> None:
    made = kind(**change)
    assert {name: getattr(made, name) for name in change} == change


@given(records(), st.data())
@pytest.mark.slow
def test_nothing_can_be_changed(made: Record, data: st.DataObject) -> None:
    part = data.draw(st.sampled_from([made, made.image, made.source, *made.objects, *made.phrases, *made.questions]))
    for field in dataclasses.fields(part):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(part, field.name, getattr(part, field.name))
    with pytest.raises((dataclasses.FrozenInstanceError, TypeError)):
        part.anything = 1


def test_key_objects_are_those_that_are_marked() -> None:
    marked = key_object(id=3, is_key=True, status=ObjectStatus.MENTIONED)
    made = record(objects=(key_object(), marked))
    assert made.key_objects == (marked,)
    assert (marked.area, marked.box_xywh) == (24, (0, 0, 6, 4))
    assert made.image.size_hw == (4, 6)


def test_images_are_not_printed() -> None:
    assert "secret" not in repr(record(image=image(data=b"secret")))

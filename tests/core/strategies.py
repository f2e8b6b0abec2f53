"""Hypothesis strategies for whole records: every field, every status, every null."""

from __future__ import annotations

import hashlib
import io

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from datasetkit.core.mask import Mask
from datasetkit.core.record import (
    Candidate,
    EncodedImage,
    KeyObject,
    Linker,
    Maker,
    ObjectProvenance,
    ObjectStatus,
    Phrase,
    PhraseKind,
    PhraseStatus,
    Provenance,
    Question,
    Record,
    Scores,
    box_inside,
)

UNIT = st.none() | st.floats(0, 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)


@st.composite
def images(draw: st.DrawFn) -> EncodedImage:
    size_hw = draw(st.tuples(st.integers(1, 12), st.integers(1, 12)))
    pixels = draw(hnp.arrays(np.uint8, (*size_hw, 3)))
    buffer = io.BytesIO()
    suffix = draw(st.sampled_from(["PNG", "JPEG"]))
    Image.fromarray(pixels).save(buffer, suffix)
    return EncodedImage(buffer.getvalue(), f"image.{suffix.lower()}", size_hw[1], size_hw[0])


@st.composite
def key_objects(draw: st.DrawFn, object_id: int, size_hw: tuple[int, int]) -> KeyObject:
    array = draw(hnp.arrays(np.bool_, size_hw))
    array[draw(st.integers(0, size_hw[0] - 1)), draw(st.integers(0, size_hw[1] - 1))] = True
    status = draw(st.sampled_from(ObjectStatus))
    finite = st.floats(-1e6, 1e6)
    has_mask = draw(st.booleans())
    return KeyObject(
        id=object_id,
        mask=Mask.from_array(array) if has_mask else None,
        category=draw(st.none() | TEXT),
        is_key=has_mask and status is ObjectStatus.MENTIONED and draw(st.booleans()),
        salience=draw(UNIT),
        is_crowd=draw(st.booleans()),
        status=status,
        scores=Scores(*(draw(UNIT) for _ in range(5))),
        source_bbox=draw(st.none() | st.tuples(finite, finite, finite, finite)),
        box=None if has_mask else box_inside(draw(st.tuples(finite, finite, finite, finite)), size_hw),
        provenance=ObjectProvenance(draw(st.none() | st.sampled_from(Maker)), draw(st.none() | st.sampled_from(Maker))),
        source_id=draw(st.none() | TEXT),
    )


@st.composite
def phrases(draw: st.DrawFn, description: str, ids: list[int]) -> Phrase:
    start = draw(st.integers(0, len(description) - 1))
    end = draw(st.integers(start + 1, len(description)))
    some = st.lists(st.sampled_from(ids), unique=True, min_size=1) if ids else st.just([])
    status = draw(st.sampled_from(PhraseStatus if ids else [PhraseStatus.ABSENT, PhraseStatus.NOT_AN_OBJECT]))
    named = tuple(draw(some)) if status is PhraseStatus.MATCHED else ()
    candidates = draw(some) if status is PhraseStatus.AMBIGUOUS else []
    return Phrase(
        text=description[start:end],
        start=start,
        end=end,
        object_ids=named,
        candidates=tuple(Candidate(object_id, draw(UNIT)) for object_id in candidates),
        score=draw(UNIT),
        status=status,
        reason=draw(st.none() | TEXT),
        provenance=draw(st.none() | st.sampled_from(Linker)),
        kind=draw(st.sampled_from(PhraseKind)),
    )


@st.composite
def records(draw: st.DrawFn, record_id: str = "1") -> Record:
    image = draw(images())
    objects = tuple(draw(key_objects(index * 3, image.size_hw)) for index in range(draw(st.integers(0, 3))))
    ids = [item.id for item in objects]
    description = draw(st.none() | TEXT)
    spans = draw(st.lists(phrases(description, ids), max_size=3)) if description else []
    options = draw(st.lists(TEXT, max_size=3))
    answer = draw(st.sampled_from(options)) if options else draw(TEXT)
    question = Question(draw(TEXT), answer, draw(TEXT), tuple(options), tuple(ids[:1]))
    sha256 = hashlib.sha256(image.data).hexdigest()
    return Record(
        record_id=record_id,
        image_id=draw(TEXT),
        image=image,
        description=description,
        source=Provenance(draw(TEXT), draw(TEXT), sha256),
        objects=objects,
        phrases=tuple(spans),
        questions=(question,) if draw(st.booleans()) else (),
        absent_categories=tuple(draw(st.lists(TEXT, max_size=2))),
        partial_categories=tuple(draw(st.lists(TEXT, max_size=2))),
        language=draw(st.none() | st.just("en")),
    )

"""The source: records that agree with their scenes, the same in every process."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from PIL import Image

from datasetkit.core.record import ObjectStatus, PhraseStatus
from datasetkit.options import ToyworldOptions
from datasetkit.sources.toyworld import ToyworldSource
from datasetkit.toyworld.raster import visible_masks
from datasetkit.toyworld.render import render
from datasetkit.toyworld.sampling import sample_scene
from datasetkit.toyworld.scenes import SEEN_COMBINATIONS, SceneConfig, Split, seed_for


def scenes(count: int = 40, **options: Any) -> ToyworldSource:
    return ToyworldSource(ToyworldOptions(**{"count": count, "scene_split": "test", "size_px": 128, **options}))


@pytest.fixture(scope="module")
def source() -> ToyworldSource:
    return scenes()


def test_entries_agree_with_readings(source: ToyworldSource) -> None:
    entries = list(source.entries())
    assert len(entries) == len(source) == 40
    assert entries == list(source.entries())
    assert [entry.record_id for entry in entries[:2]] == ["test-000000", "test-000001"]
    for entry in entries:
        reading = source.read(entry)
        assert reading.record.record_id == entry.record_id
        assert entry.split == "test"
        assert entry.annotation_ids == tuple(f"{entry.record_id}/{item.id}" for item in reading.record.objects)
        assert reading.drops == reading.notices == ()
    assert list(source.stray_drops()) == []


def test_records_agree_with_the_scene(source: ToyworldSource) -> None:
    for index, entry in enumerate(source.entries()):
        record, pixels = source.read(entry).record, source.read(entry).pixels
        scene = sample_scene(seed_for(Split.TEST, index), SceneConfig())
        decoded = Image.open(io.BytesIO(record.image.data))
        assert decoded.format == "PNG"
        np.testing.assert_array_equal(np.asarray(decoded), render(scene))
        np.testing.assert_array_equal(np.asarray(pixels), render(scene))
        assert pixels.mode == "RGB"
        assert record.source.sha256 == hashlib.sha256(record.image.data).hexdigest()
        assert record.source.uri == f"toyworld:test/{index:06d}"
        assert record.source.license == "cc0-1.0"
        for item, mask, seen in zip(record.objects, visible_masks(scene), scene.objects, strict=True):
            np.testing.assert_array_equal(item.mask.decode(), mask)
            assert item.category == f"{seen.colour} {seen.shape}"


def test_key_objects_are_those_that_phrases_name(source: ToyworldSource) -> None:
    unmentioned = pronouns = questions = 0
    for entry in source.entries():
        record = source.read(entry).record
        named = {object_id for phrase in record.phrases for object_id in phrase.object_ids}
        for item in record.objects:
            assert item.is_key == (item.id in named)
            assert item.status is (ObjectStatus.MENTIONED if item.id in named else ObjectStatus.UNMENTIONED)
        for phrase in record.phrases:
            assert phrase.status is PhraseStatus.MATCHED
            assert (phrase.reason == "pronoun") == (phrase.text.lower() in ("it", "they"))
            pronouns += phrase.reason == "pronoun"
        unmentioned += len(record.objects) - len(named)
        questions += len(record.questions)
    assert unmentioned > 10
    assert pronouns > 5
    assert questions > 5 * len(source)


def test_train_records_have_no_held_out_combination() -> None:
    seen = {f"{colour} {shape}" for colour, shape in SEEN_COMBINATIONS}
    source = scenes(60, scene_split="train")
    assert {item.category for entry in source.entries() for item in source.read(entry).record.objects} <= seen


def test_shifted_domain_shows_equal_objects_with_new_names() -> None:
    base, shifted = scenes(10), scenes(10, domain="shifted")
    for one, other in zip(base.entries(), shifted.entries(), strict=True):
        assert other.record_id == f"shifted-{one.record_id}"
        assert len(one.annotation_ids) == len(other.annotation_ids)
        record = shifted.read(other).record
        assert record.source.uri == f"toyworld:shifted/test/{record.record_id[-6:]}"
        for item, original in zip(record.objects, base.read(one).record.objects, strict=True):
            assert item.category != original.category


def test_images_of_other_sizes() -> None:
    source = scenes(3, size_px=160)
    assert {source.read(entry).record.image.size_hw for entry in source.entries()} == {(160, 160)}


@pytest.mark.parametrize(
    "other",
    [{"count": 41}, {"scene_split": "train"}, {"size_px": 129}, {"domain": "shifted"}],
    ids=lambda other: next(iter(other)),
)
def test_fingerprint_distinguishes_sources(source: ToyworldSource, other: dict[str, Any]) -> None:
    assert source.fingerprint() == scenes().fingerprint()
    assert source.fingerprint() != scenes(**other).fingerprint()


_IN_A_PROCESS = """
import hashlib, json
from datasetkit.options import ToyworldOptions
from datasetkit.sources.toyworld import ToyworldSource
source = ToyworldSource(ToyworldOptions(count=40, scene_split="test", size_px=128))
digests = [hashlib.sha256(repr(source.read(entry).record).encode()).hexdigest() for entry in source.entries()]
print(json.dumps([source.fingerprint(), digests]))
"""


@pytest.mark.slow
def test_records_are_equal_across_threads_and_processes(source: ToyworldSource) -> None:
    with ThreadPoolExecutor(4) as pool:
        records = list(pool.map(lambda entry: source.read(entry).record, source.entries()))
    digests = [hashlib.sha256(repr(record).encode()).hexdigest() for record in records]
    result = subprocess.run([sys.executable, "-c", _IN_A_PROCESS], capture_output=True, text=True, check=True)
    assert json.loads(result.stdout) == [source.fingerprint(), digests]


def test_scene_bytes_do_not_depend_on_the_processor() -> None:
    """Float32 sines and matrix products differ between processors, and so would a pixel of some scene."""
    program = (
        "from tests.toyworld.test_source import scenes\n"
        "source = scenes(count=60, scene_split='train')\n"
        "print([source.read(entry).record.source.sha256 for entry in source.entries()])"
    )
    plain = {"NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL", "OPENBLAS_CORETYPE": "Nehalem"}
    shown = [
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", program],
            env=os.environ | extra,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for extra in ({}, plain)
    ]
    assert shown[0] == shown[1]

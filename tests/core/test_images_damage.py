"""The loader and damaged files: whatever the bytes, it returns an image or an error with a reason."""

from __future__ import annotations

import random
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datasetkit.core.errors import UnusableError
from datasetkit.core.image import load_image
from datasetkit.core.limits import ImageLimits
from tests.core.images import samples

LIMITS = ImageLimits(max_pixels=10**6)
SAMPLES = samples()
SIGNATURES = (
    b"\x89PNG\r\n\x1a\n",
    b"\xff\xd8\xff\xe1",
    b"GIF89a",
    b"II*\0",
    b"MM\0*",
    b"RIFF\0\0\0\0WEBPVP8 ",
    b"BM",
    b"P6 ",
)


def load_or_refuse(data: bytes) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a warning of Pillow's would be raised here and fail the test
        try:
            loaded = load_image(data, "odd", LIMITS)
        except UnusableError as error:
            refusal = error.detail
            loaded = None
    if loaded is None:
        assert refusal.startswith("odd")
        assert " at 0x" not in refusal
        return
    assert loaded.pixels.mode == "RGB"
    assert np.asarray(loaded.pixels).shape == (*loaded.encoded.size_hw, 3)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from((b"", *SIGNATURES)), st.binary(max_size=200))
def test_any_bytes(signature: bytes, body: bytes) -> None:
    load_or_refuse(signature + body)


def damaged(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    kind = chance.random()
    if kind < 0.3:
        return bytes(changed[: chance.randrange(len(changed))])
    if kind < 0.9:
        reach = min(len(changed), 400) if chance.random() < 0.7 else len(changed)
        for _ in range(chance.choice([1, 1, 2, 4, 10])):
            changed[chance.randrange(reach)] = chance.choice([0, 1, 0x7F, 0x80, 255, chance.randrange(256)])
        return bytes(changed)
    start = chance.randrange(len(changed))
    if chance.random() < 0.5:
        del changed[start : start + chance.randrange(1, 20)]
    else:
        changed[start:start] = chance.randbytes(chance.randrange(1, 20))
    return bytes(changed)


@pytest.mark.parametrize("kind", sorted(SAMPLES))
def test_damaged_files(kind: str) -> None:
    chance = random.Random(kind)
    for _ in range(150):
        load_or_refuse(damaged(SAMPLES[kind], chance))

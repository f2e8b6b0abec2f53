"""Files that readers refuse: those with all of their pixels are repaired, and no others."""

from __future__ import annotations

import io
import tracemalloc
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from datasetkit.core.errors import UnusableError
from datasetkit.core.image import load_image
from datasetkit.core.ledger import DropReason, NoticeKind
from datasetkit.core.repair import repaired
from tests.core.images import encode, noise, png_chunk

PLAIN = encode(noise(), "PNG")
AFTER_HEADER, BEFORE_END = 33, len(PLAIN) - 12
END = b"\xff\xd9"
BOMB = zlib.compress(bytes(2**24), 9)
LONG = {
    "zTXt": png_chunk(b"zTXt", b"comment\0\0" + BOMB),
    "iTXt": png_chunk(b"iTXt", b"comment\0\1\0en\0remark\0" + BOMB),
    "iCCP": png_chunk(b"iCCP", b"profile\0\0" + BOMB),
}
SHORT = b"".join(
    (
        png_chunk(b"tEXt", b"title\0a bus"),
        png_chunk(b"zTXt", b"by\0\0" + zlib.compress(b"nobody")),
        png_chunk(b"iTXt", b"place\0\0\0\0\0here"),
        png_chunk(b"zTXt", b"broken\0\0no stream"),
    )
)
KINDS: dict[str, dict[str, Any]] = {
    "baseline": {},
    "baseline, restarts": {"restart_marker_rows": 1},
    "baseline, many restarts": {"restart_marker_blocks": 1},
    "coarse": {"quality": 3},
    "progressive": {"progressive": True},
    "progressive, restarts": {"progressive": True, "restart_marker_rows": 1},
    "own tables": {"quality": 95, "subsampling": 0, "optimize": True},
}


def jpeg(kind: str, mode: str = "RGB") -> bytes:
    return encode(Image.fromarray(noise((90, 70), seed=6)).convert(mode), "JPEG", **KINDS[kind])


def texts_of(data: bytes) -> dict[str, Any]:
    image = Image.open(io.BytesIO(data))
    image.load()
    assert isinstance(image, PngImagePlugin.PngImageFile)
    return dict(image.text)


@pytest.mark.parametrize("place", [AFTER_HEADER, BEFORE_END], ids=["before the pixels", "after them"])
@pytest.mark.parametrize("kind", LONG)
def test_a_long_text_of_a_png_is_left_out_alone(kind: str, place: int) -> None:
    if (kind, place) == ("iCCP", BEFORE_END):
        return  # no profile can be there
    data = PLAIN[:place] + SHORT + LONG[kind] + PLAIN[place:]
    loaded = load_image(data, "drawn.png")
    assert loaded.encoded.data == PLAIN[:place] + SHORT + PLAIN[place:]
    assert loaded.notices == (NoticeKind.TEXT_REMOVED,)
    assert (np.asarray(loaded.pixels) == noise()).all()
    assert texts_of(loaded.encoded.data) == {"title": "a bus", "by": "nobody", "place": "here", "broken": ""}


def test_of_many_texts_those_beyond_the_limit_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PngImagePlugin, "MAX_TEXT_CHUNK", 2**12)
    monkeypatch.setattr(PngImagePlugin, "MAX_TEXT_MEMORY", 2**18)
    chunk = png_chunk(b"zTXt", b"page\0\0" + zlib.compress(bytes(2**12 - 1), 9))
    loaded = load_image(PLAIN[:AFTER_HEADER] + chunk * 70 + SHORT + PLAIN[AFTER_HEADER:], "book.png")
    assert loaded.encoded.data.count(b"page\0\0") == 64
    assert load_image(loaded.encoded.data, "book.png").notices == ()


@pytest.mark.parametrize("kind", LONG)
def test_a_packed_text_costs_no_memory(kind: str) -> None:
    data = PLAIN[:AFTER_HEADER] + LONG[kind] * 40 + PLAIN[AFTER_HEADER:]
    load_image(PLAIN, "warm.png")
    tracemalloc.start()
    try:
        load_image(data, "bomb.png")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < len(data) * 4 + 2**22, "40 texts of 16 MiB"


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("missing", [1, 2])
def test_a_jpeg_that_lacks_its_end_alone_gets_it(kind: str, mode: str, missing: int) -> None:
    data = jpeg(kind, mode)
    assert data.endswith(END)
    loaded = load_image(data[:-missing], "sent.jpg")
    assert (loaded.encoded.data, loaded.encoded.name) == (data, "sent.jpg")
    assert loaded.notices == (NoticeKind.END_ADDED,)


@pytest.mark.parametrize("kind", KINDS)
def test_a_jpeg_that_lacks_pixels_is_dropped(kind: str) -> None:
    data = jpeg(kind)
    whole = np.asarray(load_image(data, "whole.jpg").pixels)
    for length in {*range(0, len(data), max(1, len(data) // 40)), *range(len(data) - 40, len(data) - 2)}:
        fixed = repaired(data[:length])
        if fixed is not None:
            assert length > len(data) - 8, "all that is missing are bits that fill the last byte"
            assert (np.asarray(load_image(fixed[0], "cut.jpg").pixels) == whole).all()
    with pytest.raises(UnusableError) as caught:
        load_image(data[: len(data) * 9 // 10], "cut.jpg")
    assert caught.value.reason is DropReason.TRUNCATED


@pytest.mark.parametrize("kind", KINDS)
def test_a_jpeg_cut_at_any_marker_is_dropped(kind: str) -> None:
    data = jpeg(kind)
    places = [place for place in range(2, len(data) - 2) if data[place] == 0xFF and data[place + 1] not in {0, 0xFF}]
    assert places
    for place in places:
        assert repaired(data[:place]) is None, f"cut before {data[place : place + 2].hex()} at {place} of {len(data)}"


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_jpeg_whose_rest_is_zeros_is_dropped(share: float) -> None:
    data = jpeg("baseline")
    kept = int(len(data) * share)
    assert repaired(data[:kept] + bytes(len(data) * 2 - kept)) is None

"""Pixels used from images of any mode, and equal pixels in published images."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageOps

from datasetkit.core.errors import UnusableError
from datasetkit.core.image import LoadedImage, load_image, published_pixels
from datasetkit.core.ledger import CHANGED_BYTES, DropReason, NoticeKind
from datasetkit.core.limits import ImageLimits
from datasetkit.core.rows import image_of
from tests.core.images import encode, noise, png_chunk, samples

BITS = {
    8: NoticeKind.RANGE_8_BIT,
    10: NoticeKind.RANGE_10_BIT,
    12: NoticeKind.RANGE_12_BIT,
    14: NoticeKind.RANGE_14_BIT,
    16: NoticeKind.SIXTEEN_BIT_SCALED,
}
SAMPLES = {kind: data for kind, data in samples().items() if kind != "tiff float"}


def as_readers(data: bytes) -> Image.Image:
    """Decode as `datasets` does, and convert as its users do."""
    image = Image.open(io.BytesIO(data))
    image.load()
    return ImageOps.exif_transpose(image).convert("RGB")


def assert_read_alike(loaded: LoadedImage, came: bytes) -> None:
    data = loaded.encoded.data
    for read in (as_readers(data), published_pixels(data, "a"), image_of({"bytes": data, "path": "a"})):
        assert (np.asarray(read) == np.asarray(loaded.pixels)).all()
    assert (np.asarray(image_of(Image.open(io.BytesIO(data)))) == np.asarray(loaded.pixels)).all()
    assert (data is came) == CHANGED_BYTES.isdisjoint(loaded.notices)
    again = load_image(data, loaded.encoded.name)
    assert again.encoded == loaded.encoded
    assert CHANGED_BYTES.isdisjoint(again.notices)


@pytest.mark.parametrize("kind", SAMPLES)
def test_readers_find_the_pixels_that_were_used(kind: str) -> None:
    data = encode(noise(), "TIFF") if kind == "tiff 32 bit" else SAMPLES[kind]
    assert_read_alike(load_image(data, "odd.png"), data)


MODES = ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I;16"]
FORMATS = {
    "JPEG": {"L", "RGB", "CMYK", "YCbCr"},
    "PNG": {"1", "L", "LA", "P", "RGB", "RGBA", "I;16"},
    "TIFF": {*MODES} - {"PA"},
    "WEBP": {"RGB", "RGBA"},
    "GIF": {"1", "L", "P", "RGB", "RGBA"},
    "JPEG2000": {"L", "LA", "RGB", "RGBA", "I;16"},
}


@st.composite
def files(draw: st.DrawFn) -> bytes:
    image_format = draw(st.sampled_from(sorted(FORMATS)))
    mode = draw(st.sampled_from(sorted(FORMATS[image_format])))
    size_hw = draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    chance = np.random.default_rng(draw(st.integers(0, 99)))
    if mode == "I;16":
        top = draw(st.sampled_from([1, 200, 255, 256, 1023, 4095, 4096, 16383, 65535]))
        image = Image.fromarray(chance.integers(0, top + 1, size_hw, dtype=np.uint16))
    else:
        values = chance.integers(0, 256, (*size_hw, 4), dtype=np.uint8)
        if draw(st.booleans()):
            values[..., 3] = draw(st.sampled_from([0, 254, 255]))
        rgba = Image.fromarray(values)
        image = rgba if mode == "RGBA" else rgba.convert("RGB").convert(mode)
        if mode == "LA":
            image.putalpha(rgba.getchannel("A"))
    how: dict[str, Any] = {}
    if image_format == "PNG" and mode in {"L", "P", "RGB"} and draw(st.booleans()):
        pixel = image.getpixel((0, 0))
        how["transparency"] = bytes(values[0, :, 3]) if mode == "P" and draw(st.booleans()) else pixel
    if image_format == "WEBP":
        how["lossless"] = draw(st.booleans())
    if image_format in {"PNG", "GIF", "WEBP"} and mode != "I;16" and draw(st.booleans()):
        how |= {"save_all": True, "append_images": [image.rotate(180)]}
    turn = draw(st.sampled_from([None, 1, 6])) if image_format not in {"GIF", "JPEG2000"} else None
    return encode(image, image_format, orientation=turn, **how)


@pytest.mark.filterwarnings("ignore:Palette images with Transparency")
@settings(max_examples=150, deadline=None)
@given(files())
def test_readers_find_the_pixels_of_any_file(data: bytes) -> None:
    assert_read_alike(load_image(data, "any"), data)


@pytest.mark.parametrize("image_format", ["PNG", "TIFF"])
@pytest.mark.parametrize(
    ("highest", "bits"),
    [(0, 8), (1, 8), (255, 8), (256, 10), (1023, 10), (1024, 12), (4095, 12), (4096, 14), (16383, 14), (16384, 16)],
)
def test_sixteen_bits_are_scaled_from_the_range_they_use(image_format: str, highest: int, bits: int) -> None:
    values = np.array([[0, highest // 2, highest]], dtype=np.uint16)
    loaded = load_image(encode(values, image_format), "scan.tiff")
    assert np.asarray(loaded.pixels)[..., 0].tolist() == scaled(values, bits)
    assert loaded.notices == (NoticeKind.REENCODED, BITS[bits])
    assert loaded.encoded.name == "scan.png"


def scaled(values: NDArray[np.uint16], bits: int) -> list[list[int]]:
    result: list[list[int]] = np.floor(values.astype(float) * 255 / (2**bits - 1) + 0.5).astype(int).tolist()
    return result


def with_sbit(data: bytes, bits: int) -> bytes:
    return data[:33] + png_chunk(b"sBIT", bytes([bits])) + data[33:]


def twelve_bit_tiff(values: list[int]) -> bytes:
    """Two pixels to three bytes, as cameras write them; Pillow writes none."""
    strip = b"".join(
        bytes([a >> 4, (a & 15) << 4 | b >> 8, b & 255]) for a, b in zip(values[::2], values[1::2], strict=True)
    )
    tags = {256: len(values), 257: 1, 258: 12, 259: 1, 262: 1, 273: 8, 277: 1, 278: 1, 279: len(strip)}
    fields = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    strip = strip.ljust(-(-len(strip) // 2) * 2, b"\0")
    header = struct.pack("<2sHI", b"II", 42, 8 + len(strip))
    return header + strip + struct.pack("<H", len(tags)) + fields + bytes(4)


DARK = np.array([[0, 100, 200, 900]], dtype=np.uint16)


@pytest.mark.parametrize(
    ("data", "bits"),
    [
        (encode(DARK, "PNG"), 10),
        (with_sbit(encode(DARK, "PNG"), 12), 12),
        (with_sbit(encode(DARK, "PNG"), 16), 16),
        (with_sbit(encode(DARK, "PNG"), 8), 10),
        (with_sbit(encode(DARK, "PNG"), 200), 16),
        (encode(DARK, "TIFF", tiffinfo={281: 4095}), 12),
        (encode(DARK, "TIFF", tiffinfo={281: 65535}), 16),
        (twelve_bit_tiff(DARK[0].tolist()), 12),
        (encode(DARK, "JPEG2000"), 16),
    ],
    ids=[
        "none",
        "12 of PNG",
        "16 of PNG",
        "too few",
        "too many",
        "12 of TIFF",
        "16 of TIFF",
        "packed TIFF",
        "JPEG2000",
    ],
)
def test_a_range_that_the_file_states_holds(data: bytes, bits: int) -> None:
    loaded = load_image(data, "dark")
    assert loaded.notices[-1] is BITS[bits]
    assert np.asarray(loaded.pixels)[..., 0].tolist() == scaled(DARK, bits)


def test_opaque_alpha_changes_neither_bytes_nor_ledger() -> None:
    data = encode(Image.fromarray(noise()).convert("RGBA"), "PNG")
    loaded = load_image(data, "shot.png")
    assert loaded.encoded.data is data
    assert loaded.notices == ()


def test_alpha_over_white_of_a_turned_image() -> None:
    image = Image.new("RGBA", (3, 2), (200, 0, 0, 255))
    image.putpixel((0, 0), (0, 0, 0, 0))
    loaded = load_image(encode(image, "PNG", orientation=3), "turned.png")
    assert loaded.notices == (NoticeKind.EXIF_ROTATED, NoticeKind.TRANSPARENCY_OVER_WHITE)
    assert as_readers(loaded.encoded.data).getpixel((2, 1)) == (255, 255, 255)


def test_a_colour_profile_stays_with_colours_of_its_kind() -> None:
    def of(space: bytes) -> bytes:
        return bytes(16) + space + bytes(108)

    rgba = Image.new("RGBA", (2, 2), (9, 9, 9, 9))
    kept = load_image(encode(rgba, "PNG", icc_profile=of(b"RGB ")), "a.png").encoded.data
    left = load_image(encode(np.ones((2, 2), np.uint16), "PNG", icc_profile=of(b"GRAY")), "a.png").encoded.data
    assert Image.open(io.BytesIO(kept)).info["icc_profile"] == of(b"RGB ")
    assert "icc_profile" not in Image.open(io.BytesIO(left)).info


def test_what_swells_beyond_the_limit_is_dropped() -> None:
    chance = np.random.default_rng(0)
    data = encode(Image.fromarray(chance.integers(0, 256, (40, 40, 4), dtype=np.uint8)), "WEBP", quality=1)
    with pytest.raises(UnusableError, match="after it is encoded again; at most 3,000") as caught:
        load_image(data, "noise.webp", ImageLimits(max_bytes=3000))
    assert caught.value.reason is DropReason.TOO_MANY_BYTES


def test_former_bytes_of_sixteen_bits_keep_their_range() -> None:
    """As versions before 0.4 published them, scaled from 0 to 65535."""
    data = encode(DARK, "PNG")
    for image in (published_pixels(data, "a"), image_of({"bytes": data}), image_of(Image.open(io.BytesIO(data)))):
        assert np.asarray(image)[..., 0].tolist() == scaled(DARK, 16)


def test_sixteen_bit_colours_are_those_of_readers() -> None:
    row = b"\0" + np.array([[1000, 2000, 3000], [60000, 1, 2]], dtype=">u2").tobytes()
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0))
    marked = png_chunk(b"tRNS", struct.pack(">HHH", 3, 7, 11))
    parts = (b"\x89PNG\r\n\x1a\n", header, marked, png_chunk(b"IDAT", zlib.compress(row)), png_chunk(b"IEND", b""))
    data = b"".join(parts)
    assert_read_alike(load_image(data, "deep.png"), data)

"""The loader: every odd image is kept correctly, every broken one is refused for the right reason."""

from __future__ import annotations

import io
import warnings

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from datasetkit.core.errors import UnusableError
from datasetkit.core.image import load_image
from datasetkit.core.ledger import DropReason, NoticeKind
from datasetkit.core.limits import ImageLimits
from tests.core.images import ORIENTATION, encode, noise, png_header, samples

LOSSLESS = {"PNG": {}, "TIFF": {}, "WEBP": {"lossless": True}, "BMP": {}}


def rgb_array(data: bytes) -> NDArray[np.uint8]:
    return np.asarray(load_image(data, "image").pixels)


def refusal(data: bytes, limits: ImageLimits = ImageLimits()) -> DropReason:
    with pytest.raises(UnusableError) as caught:
        load_image(data, "folder/odd.png", limits)
    assert "odd.png" in caught.value.detail
    assert "\n" not in caught.value.detail
    assert " at 0x" not in caught.value.detail, "an address of this process would make two builds differ"
    return caught.value.reason


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "JPEG2000"])
def test_pure_red_stays_red(image_format: str) -> None:
    red = np.zeros((16, 20, 3), dtype=np.uint8)
    red[..., 0] = 255
    loaded = load_image(encode(red, image_format), "red")
    assert loaded.pixels.mode == "RGB"
    assert np.abs(np.asarray(loaded.pixels).astype(int) - red).max() <= 2
    assert loaded.notices == ()


@pytest.mark.parametrize(("image_format", "how"), LOSSLESS.items())
def test_pixels_and_bytes_are_those_of_the_file(image_format: str, how: dict) -> None:
    data = encode(noise(), image_format, **how)
    loaded = load_image(data, "some/folder/name.bin")
    assert loaded.encoded.data is data
    assert (loaded.encoded.name, loaded.encoded.size_hw, loaded.raw_size_hw) == ("name.bin", (24, 31), (24, 31))
    assert (np.asarray(loaded.pixels) == noise()).all()
    assert rgb_array(data).shape == (24, 31, 3)
    assert rgb_array(data).dtype == np.uint8


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "GIF", "WEBP"])
def test_one_pixel(image_format: str) -> None:
    loaded = load_image(encode(np.full((1, 1, 3), 200, np.uint8), image_format), "dot")
    assert loaded.encoded.size_hw == (1, 1)
    assert np.asarray(loaded.pixels).shape == (1, 1, 3)


def test_grey_becomes_equal_channels() -> None:
    grey = noise()[..., 0]
    assert (rgb_array(encode(grey, "PNG")) == grey[..., None]).all()


def test_black_and_white_becomes_0_and_255() -> None:
    bits = Image.fromarray(noise()[..., 0] > 128)
    assert (rgb_array(encode(bits, "PNG")) == np.where(noise()[..., :1] > 128, 255, 0)).all()


def test_cmyk_keeps_its_colours_and_its_bytes() -> None:
    red = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    data = encode(red, "JPEG")
    assert Image.open(io.BytesIO(data)).mode == "CMYK"
    loaded = load_image(data, "print.jpg")
    assert np.abs(np.asarray(loaded.pixels).astype(int) - [255, 0, 0]).max() <= 2
    assert loaded.encoded.data is data


@pytest.mark.parametrize("image_format", ["PNG", "TIFF"])
def test_sixteen_bit_is_scaled_and_not_clipped(image_format: str) -> None:
    values = np.array([[0, 128, 129, 257, 300], [32768, 65280, 65406, 65407, 65535]], dtype=np.uint16)
    loaded = load_image(encode(values, image_format), "deep")
    expected = [[0, 0, 1, 1, 1], [128, 254, 254, 255, 255]]
    assert (np.asarray(loaded.pixels) == np.array(expected)[..., None]).all()
    assert loaded.notices == (NoticeKind.REENCODED, NoticeKind.SIXTEEN_BIT_SCALED)


def test_sixteen_bit_portable_graymap_is_scaled() -> None:
    data = b"P5 3 1 65535\n" + np.array([65535, 257, 32768], dtype=">u2").tobytes()
    assert rgb_array(data)[0, :, 0].tolist() == [255, 1, 128]


@pytest.mark.parametrize("mode", ["I", "F"])
def test_pixels_without_a_known_range_are_refused(mode: str) -> None:
    values = Image.fromarray(np.array([[-1, 70_000]], dtype=np.int32 if mode == "I" else np.float32))
    assert refusal(encode(values, "TIFF")) is DropReason.UNSUPPORTED_PIXELS


def test_palette_with_a_transparent_entry_lies_over_white() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 0, 0])
    image.putpixel((1, 0), 1)
    loaded = load_image(encode(image, "PNG", transparency=0), "palette.png")
    assert np.asarray(loaded.pixels).tolist() == [[[255, 255, 255], [200, 0, 0]]]
    assert loaded.notices == (NoticeKind.REENCODED, NoticeKind.TRANSPARENCY_OVER_WHITE)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_half_transparent_black_lies_over_white(mode: str) -> None:
    colour = (0, 0, 0, 128) if mode == "RGBA" else (0, 128)
    pixels = rgb_array(encode(Image.new(mode, (2, 2), colour), "PNG"))
    assert set(pixels.ravel().tolist()) == {127}


def test_a_colour_marked_transparent_lies_over_white() -> None:
    image = Image.fromarray(np.array([[[1, 2, 3], [200, 0, 0]]], dtype=np.uint8))
    loaded = load_image(encode(image, "PNG", transparency=(1, 2, 3)), "key.png")
    assert np.asarray(loaded.pixels).tolist() == [[[255, 255, 255], [200, 0, 0]]]
    assert loaded.notices == (NoticeKind.REENCODED, NoticeKind.TRANSPARENCY_OVER_WHITE)


@pytest.mark.parametrize("image_format", ["GIF", "PNG", "WEBP", "TIFF"])
def test_of_an_animation_the_first_frame_counts(image_format: str) -> None:
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    first, *others = (Image.new("RGB", (8, 8), colour) for colour in colours)
    data = encode(first, image_format, save_all=True, append_images=others)
    loaded = load_image(data, "moving")
    assert np.abs(np.asarray(loaded.pixels).astype(int) - [255, 0, 0]).max() <= 3
    assert loaded.notices == (NoticeKind.ANIMATION_FIRST_FRAME,)
    assert loaded.encoded.data is data


def test_a_phone_photo_with_a_second_image_is_not_animated() -> None:
    assert load_image(samples()["jpeg of several images"], "phone.jpg").notices == ()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("image_format", ["JPEG", "MPO", "PNG", "TIFF", "WEBP"])
def test_every_orientation_stands_upright(image_format: str, orientation: int) -> None:
    stored = Image.fromarray(noise())
    how = {"WEBP": {"lossless": True}, "MPO": {"save_all": True, "append_images": [stored]}}.get(image_format, {})
    data = encode(stored, image_format, orientation=orientation, **how)
    reference = Image.open(io.BytesIO(encode(stored, image_format, **how)))
    reference.getexif()[ORIENTATION] = orientation
    upright = np.asarray(ImageOps.exif_transpose(reference))
    loaded = load_image(data, "holiday.heif.bin")

    assert loaded.orientation == orientation
    assert loaded.raw_size_hw == (24, 31)
    assert loaded.encoded.size_hw == upright.shape[:2] == (loaded.pixels.height, loaded.pixels.width)
    assert loaded.notices == (() if orientation == 1 else (NoticeKind.EXIF_ROTATED,))
    assert (loaded.encoded.data is data) == (orientation == 1)
    is_lossy = image_format in {"JPEG", "MPO"} and orientation != 1
    assert np.abs(np.asarray(loaded.pixels).astype(int) - upright).max() <= (24 if is_lossy else 0)
    published = Image.open(io.BytesIO(loaded.encoded.data))
    assert ImageOps.exif_transpose(published).size == published.size
    if orientation != 1:
        assert published.getexif().get(ORIENTATION) is None
        assert published.format == ("JPEG" if is_lossy else "PNG")
        assert loaded.encoded.name == ("holiday.heif.jpg" if is_lossy else "holiday.heif.png")
        assert (np.asarray(published.convert("RGB")) == np.asarray(loaded.pixels)).all()


@pytest.mark.parametrize("mode", ["CMYK", "LAB", "I;16", "RGBA", "L", "1", "P"])
def test_a_turned_image_of_any_mode_is_encoded_again(mode: str) -> None:
    stored = Image.fromarray(noise()[..., 0].astype(np.uint16) * 257) if mode == "I;16" else Image.fromarray(noise())
    stored = stored if mode == "I;16" else stored.convert(mode)
    loaded = load_image(encode(stored, "TIFF", orientation=6), "scan.tif")
    published = load_image(loaded.encoded.data, loaded.encoded.name)
    assert published.encoded.size_hw == (31, 24)
    assert (np.asarray(published.pixels) == np.asarray(loaded.pixels)).all()


def test_an_orientation_in_xmp_does_not_turn_the_image_twice() -> None:
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf tiff:Orientation="6"/></x:xmpmeta>'
    loaded = load_image(encode(noise(), "JPEG", xmp=xmp), "edited.jpg")
    assert loaded.orientation == 6
    assert load_image(loaded.encoded.data, "again.jpg").orientation == 1


@pytest.mark.parametrize("value", [0, 9, 300])
def test_an_orientation_that_does_not_exist_is_ignored(value: int) -> None:
    data = encode(noise(), "JPEG", orientation=value)
    loaded = load_image(data, "odd.jpg")
    assert (loaded.orientation, loaded.encoded.data) == (1, data)


@pytest.mark.parametrize("kind", [5, 11, 12])  # RATIONAL, FLOAT, DOUBLE of TIFF 6.0
def test_an_orientation_of_another_type_is_read_as_readers_do(kind: int) -> None:
    directory = ImageFileDirectory_v2(prefix=b"II")
    directory.tagtype[ORIENTATION] = kind
    directory[ORIENTATION] = 6.0
    data = encode(noise(), "PNG", exif=b"Exif\0\0" + b"II*\0\x08\0\0\0" + directory.tobytes(8))
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    assert upright.size == noise().shape[:2]
    assert load_image(data, "x.png").pixels.size == upright.size


@pytest.mark.parametrize("image_format", ["PNG", "WEBP"])
def test_broken_exif_is_removed_so_that_readers_do_not_stop(image_format: str) -> None:
    data = encode(noise(), image_format, exif=b"Exif\0\0this is no TIFF header")
    with pytest.raises(SyntaxError):
        Image.open(io.BytesIO(data)).getexif()
    loaded = load_image(data, "edited.jpg")
    assert loaded.notices == (NoticeKind.EXIF_REMOVED,)
    assert len(Image.open(io.BytesIO(loaded.encoded.data)).getexif()) == 0


def test_shortened_exif_leaves_the_image_as_it_is() -> None:
    exif = Image.Exif()
    exif[0x010E] = "a long description " * 20
    data = encode(noise(), "JPEG", exif=exif.tobytes()[:60])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_image(data, "odd.jpg").encoded.data is data


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", DropReason.EMPTY),
        (b"hello, this is text and no image", DropReason.NOT_AN_IMAGE),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", DropReason.NOT_AN_IMAGE),
        (bytes(1000), DropReason.NOT_AN_IMAGE),
        (png_header(100_000, 100_000), DropReason.TOO_MANY_PIXELS),
        (png_header(10_000, 10_000), DropReason.TOO_MANY_PIXELS),
        (png_header(5_000, 5_000), DropReason.TRUNCATED),
        (png_header(0, 7), DropReason.NOT_AN_IMAGE),
        (b"GIF89a" + bytes(7) + b";", DropReason.NOT_AN_IMAGE),
    ],
    ids=[
        "empty",
        "text",
        "postscript",
        "zeros",
        "bomb",
        "between Pillow's limits",
        "one row",
        "no columns",
        "no frame",
    ],
)
def test_what_is_no_whole_image_is_refused(data: bytes, reason: DropReason) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert refusal(data) is reason


def test_the_limits_hold_exactly() -> None:
    data = encode(noise((10, 10)), "PNG")
    load_image(data, "fits", ImageLimits(max_bytes=len(data), max_pixels=100))
    assert refusal(data, ImageLimits(max_bytes=len(data) - 1)) is DropReason.TOO_MANY_BYTES
    assert refusal(data, ImageLimits(max_pixels=99)) is DropReason.TOO_MANY_PIXELS


@pytest.mark.parametrize("kind", sorted(samples()))
def test_a_shortened_file_is_refused_or_complete(kind: str) -> None:
    data = samples()[kind]
    whole = None if kind in {"tiff float"} else np.asarray(load_image(data, "odd.png").pixels)
    for length in range(0, len(data), max(1, len(data) // 60)):
        try:
            loaded = load_image(data[:length], "odd.png")
        except UnusableError:
            continue
        assert whole is not None
        assert (np.asarray(loaded.pixels) == whole).all(), f"{kind} cut to {length} of {len(data)} bytes lost pixels"


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("a/b/c.png", "c.png"),
        ("c\\d.png", "c_d.png"),
        ("", "picture"),
        ("\udcff.png", "_udcff.png"),
        ("кот 😀.png", "кот 😀.png"),
    ],
)
def test_any_name_becomes_a_file_name(name: str, kept: str) -> None:
    assert load_image(encode(noise(), "PNG"), name).encoded.name == kept

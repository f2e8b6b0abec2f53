"""Masks on rotated images: drawn before the EXIF rotation, after it, in either frame, or on another image."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from datasetkit.core.ledger import DropReason, NoticeKind
from datasetkit.core.mask import Mask
from datasetkit.core.protocols import Reading
from datasetkit.options import Recipe
from datasetkit.sources.coco import CocoSource
from tests.core.images import ORIENTATION, encode
from tests.pipeline.builders import built, caption, coco_recipe, image_entry, instance, reasons, write_coco

RAW_HW = (24, 32)


def marked(size_hw: tuple[int, int]) -> np.ndarray:
    """Return a mask of shape (H, W), bool, that looks different in every orientation."""
    array = np.zeros(size_hw, dtype=bool)
    array[2:12, 3:9] = True
    array[2:4, 3:20] = True
    return array


def turned(array: np.ndarray, orientation: int) -> np.ndarray:
    image = Image.fromarray(array.astype(np.uint8))
    image.getexif()[ORIENTATION] = orientation
    return np.asarray(ImageOps.exif_transpose(image)).astype(bool)


def coco_of(folder: Path, array: np.ndarray, stored: np.ndarray, orientation: int, image_format: str) -> Recipe:
    """Write an image that is white where ``stored`` is true, with an EXIF orientation, and the mask ``array``."""
    pixels = np.repeat(stored[..., None] * np.uint8(255), 3, axis=2)
    height, width = array.shape
    options = write_coco(
        folder,
        [image_entry(1, height=height, width=width)],
        [instance(5, 1, segmentation=Mask.from_array(array).to_coco(), bbox=[1, 2, 3, 4])],
        [caption(11, 1)],
        image_files={"1.png": encode(pixels, image_format, orientation=orientation)},
    )
    return coco_recipe(options)


def reading_of(recipe: Recipe) -> Reading:
    source = CocoSource(recipe.source)
    (entry,) = source.entries()
    return source.read(entry)


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_masks_in_the_raw_frame_are_rotated(tmp_path: Path, orientation: int, image_format: str) -> None:
    raw = marked(RAW_HW)
    reading = reading_of(coco_of(tmp_path, raw, raw, orientation, image_format))
    (item,) = reading.record.objects
    assert (item.mask.decode() == turned(raw, orientation)).all()
    white = np.asarray(reading.pixels)[..., 0] > 128
    assert (white == item.mask.decode()).all()
    published = np.asarray(Image.open(io.BytesIO(reading.record.image.data)).convert("L")) > 128
    assert (published == white).all()
    box = np.zeros(RAW_HW, dtype=bool)
    box[2:6, 1:4] = True
    left, top, *sides = item.source_bbox
    assert turned(box, orientation)[int(top) :, int(left) :][: int(sides[1]), : int(sides[0])].sum() == 12
    assumed = NoticeKind.MASK_FRAME_ASSUMED_RAW in [notice.kind for notice in reading.notices]
    assert assumed == (orientation in {2, 3, 4}), "only where both frames have one size is it an assumption"


@pytest.mark.parametrize("image_format", ["JPEG", "TIFF"])
@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_masks_in_the_upright_frame_stay(tmp_path: Path, orientation: int, image_format: str) -> None:
    raw = marked(RAW_HW)
    upright = turned(raw, orientation)
    reading = reading_of(coco_of(tmp_path, upright, raw, orientation, image_format))
    (item,) = reading.record.objects
    assert (item.mask.decode() == upright).all()
    assert ((np.asarray(reading.pixels)[..., 0] > 128) == upright).all()
    assert item.source_bbox == (1, 2, 3, 4)
    assert [notice.kind for notice in reading.notices] == [NoticeKind.EXIF_ROTATED]


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_masks_of_another_size_drop_the_record(tmp_path: Path, orientation: int) -> None:
    recipe = coco_of(tmp_path, marked((24, 33)), marked(RAW_HW), orientation, "PNG")
    _, found = built(recipe, tmp_path / "out")
    assert found == {}
    assert reasons(tmp_path / "out") == {"1": DropReason.SIZE_MISMATCH}


def test_rotated_square_image_is_assumed_raw(tmp_path: Path) -> None:
    raw = marked((24, 24))
    reading = reading_of(coco_of(tmp_path, raw, raw, 6, "PNG"))
    (item,) = reading.record.objects
    assert (item.mask.decode() == turned(raw, 6)).all()
    assert NoticeKind.MASK_FRAME_ASSUMED_RAW in [notice.kind for notice in reading.notices]
    assert item.source_bbox == (18, 1, 4, 3), "the box (1, 2, 3, 4) turns with its image"


def test_missing_size_means_the_raw_frame(tmp_path: Path) -> None:
    raw = marked(RAW_HW)
    recipe = coco_of(tmp_path, raw, raw, 6, "PNG")
    text = recipe.source.instances.read_text().replace('"height": 24, "width": 32', '"date": 0')
    recipe.source.instances.write_text(text)
    (item,) = reading_of(recipe).record.objects
    assert (item.mask.decode() == turned(raw, 6)).all()


def test_sizes_written_as_floats_are_sizes(tmp_path: Path) -> None:
    options = write_coco(tmp_path, [image_entry(1, height=24.0, width=31.0)], [instance(5, 1)], [caption(11, 1)])
    (item,) = reading_of(coco_recipe(options)).record.objects
    assert item.mask.size_hw == (24, 31)


def test_size_is_irrelevant_without_masks(tmp_path: Path) -> None:
    options = write_coco(tmp_path, [image_entry(1, height=9, width=None)], (), [caption(11, 1)])
    assert reading_of(coco_recipe(options)).record.image.size_hw == (24, 31)

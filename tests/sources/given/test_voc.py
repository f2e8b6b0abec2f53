"""Pascal VOC: boxes from 1 or 0, palettes and their colours, parts, lists of splits, and broken XML."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datasetkit.core.errors import SourceError, UnusableError
from datasetkit.core.ledger import DropReason
from datasetkit.core.record import Maker
from tests.sources.given.builders import (
    SIZE_WH,
    boxes_of,
    format_of,
    image_bytes,
    one_reading,
    png_bytes,
    readings_of,
    source_of,
    write,
)

Sides = tuple[float, float, float, float]


def voc_xml(*boxes: Sides, name: str = "a.png", inside: str = "") -> str:
    objects = "".join(
        f"<object><name>box</name>{inside}<bndbox><ymax>{bottom}</ymax><xmax>{right}</xmax><ymin>{top}</ymin>"
        f"<xmin>{left}</xmin></bndbox></object>"
        for left, top, right, bottom in boxes
    )
    size = f"<size><width>{SIZE_WH[0]}</width><height>{SIZE_WH[1]}</height></size>"
    return f"<annotation><filename>{name}</filename>{size}{objects}</annotation>"


def voc_kit(folder: Path, *boxes: Sides, name: str = "a") -> Path:
    write(folder / f"JPEGImages/{name}.png", image_bytes())
    return write(folder / f"Annotations/{name}.xml", voc_xml(*boxes, name=f"{name}.png"))


def test_boxes_count_from_one_and_include_their_ends(tmp_path: Path) -> None:
    voc_kit(tmp_path, (11, 6, 30, 20), (1, 1, 40, 30))
    reading = one_reading(tmp_path)
    assert boxes_of(reading) == [(10, 5, 20, 15), (0, 0, 40, 30)]
    assert {item.provenance.box for item in reading.record.objects} == {Maker.HUMAN}
    assert {item.scores.detection for item in reading.record.objects} == {None}


def test_zero_in_one_file_proves_it_for_all(tmp_path: Path) -> None:
    voc_kit(tmp_path, (10, 5, 30, 20))
    voc_kit(tmp_path, (0, 5, 30, 20), name="b")
    found = list(readings_of(tmp_path))
    assert [boxes_of(one) for one in found if not isinstance(one, UnusableError)] == [
        [(10, 5, 20, 15)],
        [(0, 5, 30, 15)],
    ]


def test_parts_are_no_objects_and_prove_nothing(tmp_path: Path) -> None:
    part = "<part><name>head</name><bndbox><xmin>0</xmin><ymin>0</ymin><xmax>3</xmax><ymax>3</ymax></bndbox></part>"
    write(tmp_path / "JPEGImages/a.png", image_bytes())
    write(tmp_path / "Annotations/a.xml", voc_xml((11, 6, 30.5, 20), inside=part))
    assert boxes_of(one_reading(tmp_path)) == [(10, 5, 20.5, 15)]


@pytest.mark.parametrize("is_painted", [False, True])
def test_index_of_the_palette_is_number_of_the_object(tmp_path: Path, is_painted: bool) -> None:
    voc_kit(tmp_path, (1, 1, 10, 10), (11, 1, 20, 10), (30, 1, 40, 10))
    indices = np.zeros((SIZE_WH[1], SIZE_WH[0]), np.uint8)
    indices[0:10, 0:10], indices[2:8, 10:20], indices[2, 10:20] = 1, 2, 255
    data = png_bytes(indices, palette=True)
    if is_painted:  # the first colours of the palette, as its definition lists them
        colours = np.array([[0, 0, 0], [128, 0, 0], [0, 128, 0], *[[0, 0, 0]] * 252, [224, 224, 192]], np.uint8)
        data = png_bytes(colours[indices])
    write(tmp_path / "SegmentationObject/a.png", data)
    reading = one_reading(tmp_path)
    assert [item.area for item in reading.record.objects] == [100, 50, None]
    assert boxes_of(reading)[2] == (29, 0, 11, 10)


def test_broken_mask_leaves_the_box(tmp_path: Path) -> None:
    voc_kit(tmp_path, (1, 1, 10, 10))
    write(tmp_path / "SegmentationObject/a.png", b"GIF89a")
    assert boxes_of(one_reading(tmp_path)) == [(0, 0, 10, 10)]


def test_lists_name_splits_and_lists_of_classes_do_not(tmp_path: Path) -> None:
    for name in ("a", "b", "c d"):
        voc_kit(tmp_path, (1, 1, 10, 10), name=name)
    write(tmp_path / "ImageSets/Main/train.txt", "a\n")
    write(tmp_path / "ImageSets/Main/val.txt", "b\nc d\n")
    write(tmp_path / "ImageSets/Main/trainval.txt", "a\nb\nc d\n")
    write(tmp_path / "ImageSets/Main/box_train.txt", "b -1\n")
    assert [entry.split for entry in source_of(tmp_path).entries()] == ["train", "validation", "validation"]


def test_images_beside_the_files(tmp_path: Path) -> None:
    write(tmp_path / "train/a.png", image_bytes())
    write(tmp_path / "train/a.xml", voc_xml((1, 1, 10, 10), name="C:\\images\\a.png"))
    (entry,) = source_of(tmp_path).entries()
    assert entry.split == "train"
    assert boxes_of(one_reading(tmp_path)) == [(0, 0, 10, 10)]


def test_file_name_without_ending_is_found(tmp_path: Path) -> None:
    write(tmp_path / "JPEGImages/a.png", image_bytes())
    write(tmp_path / "Annotations/a.xml", voc_xml((1, 1, 10, 10), name="a"))
    assert boxes_of(one_reading(tmp_path)) == [(0, 0, 10, 10)]


@pytest.mark.parametrize(
    "broken",
    [
        "<annotation><object>",
        '<!DOCTYPE a [<!ENTITY b "c">]><annotation><filename>&b;</filename></annotation>',
        voc_xml((1, 1, 10, 10)).replace("<xmin>1", "<xmin>x"),
    ],
)
def test_one_broken_file_is_dropped_alone(tmp_path: Path, broken: str) -> None:
    for name in "abc":
        voc_kit(tmp_path, (1, 1, 10, 10), name=name)
    write(tmp_path / "Annotations/b.xml", broken)
    found = list(readings_of(tmp_path))
    assert [one.reason for one in found if isinstance(one, UnusableError)] == [DropReason.BAD_ENTRY]
    assert len(found) == 3


def test_box_without_area_drops_its_object_alone(tmp_path: Path) -> None:
    voc_kit(tmp_path, (20, 5, 10, 20), (1, 1, 10, 10), (1, 1, float("nan"), 10))
    reading = one_reading(tmp_path)
    assert [drop.reason for drop in reading.drops] == [DropReason.BAD_BOX] * 2
    assert boxes_of(reading) == [(0, 0, 10, 10)]


def test_mask_of_another_size_is_scaled(tmp_path: Path) -> None:
    voc_kit(tmp_path, (1, 1, 10, 10))
    small = Image.new("P", (SIZE_WH[0] // 2, SIZE_WH[1] // 2), 1)
    write(tmp_path / "SegmentationObject/a.png", png_bytes(np.asarray(small), palette=True))
    assert one_reading(tmp_path).record.objects[0].area == SIZE_WH[0] * SIZE_WH[1]


def test_sentences_with_entities_are_another_format(tmp_path: Path) -> None:
    voc_kit(tmp_path, (1, 1, 10, 10))
    write(tmp_path / "Sentences/a.txt", "[/EN#1/other A box] .")
    assert format_of(tmp_path) == "flickr30k-entities"


def test_other_xml_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="in no known format"):
        source_of(write(tmp_path / "a.xml", "<annotation><folder>x</folder></annotation>"))

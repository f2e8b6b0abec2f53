"""YOLO: polygons fill to the masks they came from, and what they lose is measured.

``check_readers.py`` next to this file reads whole exports with supervision.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import assume, given
from hypothesis.extra import numpy as arrays
from pycocotools.coco import COCO
from scipy import ndimage

from datasetkit.core.mask import BoolArray, Mask
from datasetkit.core.record import KeyObject
from datasetkit.export.formats.exporting import export_folder
from datasetkit.export.formats.polygons import fill, trace
from tests.export.folders import bare_record, png, rows_of, write_folder
from tests.pipeline.builders import records

MASKS = arrays.arrays(np.bool_, arrays.array_shapes(min_dims=2, max_dims=2, max_side=12))


def drawn(*lines: str) -> BoolArray:
    return np.array([[letter == "#" for letter in line] for line in lines])


@given(MASKS)
def test_parts_and_holes_are_counted(mask: BoolArray) -> None:
    assume(mask.any())
    outline = trace(mask)
    padded = np.pad(~mask, 1, constant_values=True)
    assert outline.parts == ndimage.label(mask)[1]
    # What a part surrounds is one hole, also where it touches the next only at a corner.
    assert outline.holes == ndimage.label(padded, np.ones((3, 3)))[1] - 1
    assert len(outline.points_xy) >= 3


@given(MASKS)
def test_corners_are_pixels_of_the_mask(mask: BoolArray) -> None:
    assume(mask.any())
    points_xy = trace(mask).points_xy
    assert mask[points_xy[:, 1], points_xy[:, 0]].all()


@given(MASKS)
def test_one_part_without_holes_comes_back_whole(mask: BoolArray) -> None:
    assume(mask.any())
    labels = ndimage.label(mask)[0]
    part = ndimage.binary_fill_holes(labels == 1)
    outline = trace(part)
    assume((outline.parts, outline.holes) == (1, 0))
    np.testing.assert_array_equal(fill(outline.points_xy, part.shape), part)


@pytest.mark.parametrize(
    ("mask", "parts", "holes"),
    [
        (drawn("#"), 1, 0),
        (drawn("....", ".##.", "...."), 1, 0),
        (drawn("#####", "#...#", "#...#", "#####"), 1, 1),
        (drawn("#######", "#..#..#", "#######"), 1, 2),
        (drawn("##", "##", "..", "##"), 2, 0),
    ],
    ids=["pixel", "line", "ring", "two holes", "two parts"],
)
def test_small_shapes(mask: BoolArray, parts: int, holes: int) -> None:
    outline = trace(mask)
    assert (outline.parts, outline.holes) == (parts, holes)
    filled = fill(outline.points_xy, mask.shape)
    assert filled[mask].all()
    assert np.count_nonzero(filled & ~mask) <= parts - 1, "only the line between parts is added"


def test_labels_are_classes_and_fractions(small: Path, tmp_path: Path) -> None:
    result = export_folder(small, "yolo-seg", tmp_path / "out")
    assert (result.records, result.pictures, result.objects) == (5, 4, 9)
    assert result.mean_iou == 1.0
    losses = {"crowds": 3, "object_details": 9, "descriptions": 4, "missing_splits": 1}
    assert {loss.name: loss.count for loss in result.losses} == losses
    config = yaml.safe_load((tmp_path / "out" / "data.yaml").read_text())
    names = {0: "cat", 1: "object", 2: "person"}
    assert config == {"train": "images/train", "test": "images/test", "names": names}
    images = sorted((tmp_path / "out" / "images" / "train").iterdir())
    labels = sorted((tmp_path / "out" / "labels" / "train").iterdir())
    assert [path.stem for path in images] == [path.stem for path in labels]
    first = next(iter(records(small).values()))
    assert images[0].read_bytes() == first.image.data
    lines = labels[0].read_text().splitlines()
    assert [line.split()[0] for line in lines] == ["0", "0", "2"]
    for rounded in (np.floor, np.rint):  # readers do the one or the other
        for line, item in zip(lines, first.objects[:3], strict=True):
            points = np.array(line.split()[1:], dtype=np.float32).reshape(-1, 2) * (32, 24)
            np.testing.assert_array_equal(fill(rounded(points).astype(int), (24, 32)), item.mask.decode())
    assert (tmp_path / "out" / "labels" / "test" / "00000000-3.txt").read_text() == ""


def test_the_loss_is_measured(tmp_path: Path) -> None:
    parted, holed = np.zeros((2, 24, 32), dtype=np.bool_)
    parted[2, 2:6] = parted[8, 2:6] = True
    holed[1:9, 1:9] = True
    holed[3:6, 3:6] = False
    objects = tuple(KeyObject(n, Mask.from_array(mask)) for n, mask in enumerate([parted, holed]))
    item = replace(bare_record(0), image=png((24, 32)), objects=objects)
    write_folder(tmp_path / "in", {"validation": [rows_of([item], overlay=False)]}, described=False)
    result = export_folder(tmp_path / "in", "yolo-seg", tmp_path / "out")
    losses = {loss.name: loss.count for loss in result.losses}
    lost = {"holed_objects": 1, "parted_objects": 1, "changed_masks": 1, "unnamed_objects": 2, "missing_splits": 1}
    assert losses == lost
    assert result.mean_iou == pytest.approx((8 / 13 + 1) / 2), "five pixels lie between the parts"
    assert yaml.safe_load((tmp_path / "out" / "data.yaml").read_text())["val"] == "images/validation"


def test_every_split_is_listed(tmp_path: Path) -> None:
    splits = {name: [rows_of([bare_record(n)], overlay=False)] for n, name in enumerate(("val", "validation"))}
    write_folder(tmp_path / "in", splits, described=False)
    result = export_folder(tmp_path / "in", "yolo-seg", tmp_path / "out", split="val")
    assert {loss.name: loss.count for loss in result.losses} == {"absent_splits": 1, "missing_splits": 1}
    listed = yaml.safe_load((tmp_path / "out" / "data.yaml").read_text())
    assert listed == {"val": "images/val", "validation": "images/validation", "names": {}}


def test_nothing_is_measured_where_there_is_no_object(tmp_path: Path) -> None:
    write_folder(tmp_path / "in", {"train": [rows_of([bare_record(0)], overlay=False)]}, described=False)
    assert export_folder(tmp_path / "in", "yolo-seg", tmp_path / "out").mean_iou is None


def test_real_masks_lose_little(coco_mini: Path) -> None:
    coco = COCO(str(coco_mini / "annotations" / "instances_val2017.json"))
    parted = 0
    for annotation in coco.anns.values():
        mask = coco.annToMask(annotation).astype(bool)
        outline = trace(mask)
        filled = fill(outline.points_xy, mask.shape)
        if outline.parts == 1 and not outline.holes:
            np.testing.assert_array_equal(filled, mask)
        parted += outline.parts > 1
    assert parted > 5

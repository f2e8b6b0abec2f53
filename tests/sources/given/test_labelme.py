"""labelme: shapes of each type, groups, masks in base64, images inside the JSON, and broken files."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datasetkit.core.errors import SourceError, UnusableError
from datasetkit.core.ledger import DropReason, PassedOverKind
from datasetkit.core.record import Maker
from tests.sources.given.builders import (
    SIZE_WH,
    boxes_of,
    image_bytes,
    one_reading,
    png_bytes,
    readings_of,
    source_of,
    write,
)


def labelme_shape(kind: str | None, points: list[list[float]], **more: Any) -> dict[str, Any]:
    return {"label": "box", "points": points, "group_id": None, "shape_type": kind, "flags": {}, **more}


def labelme_file(path: Path, *shapes: dict[str, Any], **more: Any) -> None:
    entry = {"version": "5.4.1", "shapes": list(shapes), "imagePath": f"{path.stem}.png", "imageData": None}
    entry |= {"imageWidth": SIZE_WH[0], "imageHeight": SIZE_WH[1]}
    write(path, json.dumps(entry | more))


def in_base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def test_corners_of_a_rectangle_in_any_order(tmp_path: Path) -> None:
    write(tmp_path / "a.png", image_bytes())
    labelme_file(tmp_path / "a.json", labelme_shape("rectangle", [[30, 20], [10.0, 5.0]]))
    reading = one_reading(tmp_path)
    assert boxes_of(reading) == [(10, 5, 20, 15)]
    (item,) = reading.record.objects
    assert (item.mask, item.category, item.provenance.box, item.scores.detection) == (None, "box", Maker.HUMAN, None)


def test_shapes_of_one_group_are_one_object(tmp_path: Path) -> None:
    write(tmp_path / "a.png", image_bytes())
    halves = [[[0, 0], [10, 0], [10, 5], [0, 5]], [[0, 10], [10, 10], [10, 15], [0, 15]]]
    shapes = [labelme_shape("polygon", half, group_id=3) for half in halves]
    other = labelme_shape("polygon", halves[0], group_id=3, label="lid")
    labelme_file(tmp_path / "a.json", *shapes, other)
    first, second = one_reading(tmp_path).record.objects
    assert (first.area, first.box_xywh, first.provenance.mask) == (100, (0, 0, 10, 15), Maker.HUMAN)
    assert (second.category, second.area) == ("lid", 50)


def test_mask_is_placed_at_its_inclusive_box(tmp_path: Path) -> None:
    write(tmp_path / "a.png", image_bytes())
    crop = np.ones((4, 6), np.uint8)
    crop[0, 0] = 0
    shape = labelme_shape("mask", [[35, 27], [40, 30]], mask=in_base64(png_bytes(crop)))
    inside = labelme_shape("mask", [[2.0, 3.0], [7.0, 6.0]], mask=in_base64(png_bytes(crop)))
    labelme_file(tmp_path / "a.json", shape, inside)
    cut, whole = one_reading(tmp_path).record.objects
    assert (cut.area, cut.box_xywh) == (14, (35, 27, 5, 3))
    assert (whole.area, whole.box_xywh) == (23, (2, 3, 6, 4))


def test_circle_has_its_area(tmp_path: Path) -> None:
    write(tmp_path / "a.png", image_bytes())
    labelme_file(tmp_path / "a.json", labelme_shape("circle", [[15, 15], [15, 25]]))
    (item,) = one_reading(tmp_path).record.objects
    assert item.area == pytest.approx(np.pi * 100, abs=8)


def test_missing_type_is_a_polygon(tmp_path: Path) -> None:
    write(tmp_path / "a.png", image_bytes())
    labelme_file(tmp_path / "a.json", labelme_shape(None, [[0, 0], [10, 0], [10, 10], [0, 10]]))
    assert one_reading(tmp_path).record.objects[0].area == 100


def test_points_and_lines_are_passed_over(tmp_path: Path) -> None:
    write(tmp_path / "a.png", image_bytes())
    shapes = [labelme_shape("point", [[1, 1]]), labelme_shape("line", [[1, 1], [5, 5]])]
    labelme_file(tmp_path / "a.json", *shapes, labelme_shape("linestrip", [[1, 1], [5, 5]]))
    source = source_of(tmp_path)
    assert len(source) == 1
    assert [(item.kind, item.count) for item in source.passed_over()] == [(PassedOverKind.OTHER_COLUMN, 3)]


@pytest.mark.parametrize("stated", ["..\\raw\\a.png", "C:\\data\\a.png", "../../etc/a.png", "/srv/a.png", "a.png"])
def test_image_lies_beside_whatever_path_is_stated(tmp_path: Path, stated: str) -> None:
    write(tmp_path / "sub/a.png", image_bytes())
    write(tmp_path / "a.png", image_bytes(color=1))
    labelme_file(tmp_path / "sub/a.json", imagePath=stated, imageData=in_base64(image_bytes(color=2)))
    assert one_reading(tmp_path).pixels.convert("L").getpixel((0, 0)) == 90


def test_image_inside_the_file_is_used_if_there_is_no_other(tmp_path: Path) -> None:
    labelme_file(tmp_path / "a.json", imagePath="b.jpg", imageData=in_base64(image_bytes(color=7)))
    assert one_reading(tmp_path).pixels.convert("L").getpixel((0, 0)) == 7


def test_one_broken_file_is_dropped_alone(tmp_path: Path) -> None:
    for name in "abc":
        write(tmp_path / f"{name}.png", image_bytes())
        labelme_file(tmp_path / f"{name}.json", labelme_shape("rectangle", [[0, 0], [5, 5]]))
    write(tmp_path / "b.json", '{"shapes": [')
    found = list(readings_of(tmp_path))
    faults = [one.reason for one in found if isinstance(one, UnusableError)]
    assert (len(found), faults) == (3, [DropReason.BAD_ENTRY])


@pytest.mark.parametrize("mask", ["no base64!", in_base64(b"GIF89a"), None, in_base64(image_bytes()[:60])])
def test_broken_mask_drops_its_object_alone(tmp_path: Path, mask: str | None) -> None:
    write(tmp_path / "a.png", image_bytes())
    shape = labelme_shape("mask", [[1, 1], [4, 4]], mask=mask)
    labelme_file(tmp_path / "a.json", shape, labelme_shape("rectangle", [[0, 0], [5, 5]]))
    reading = one_reading(tmp_path)
    assert len(reading.record.objects) == 1
    assert [drop.reason for drop in reading.drops] == [DropReason.BAD_MASK]


def test_broken_image_inside_the_file_is_a_reason(tmp_path: Path) -> None:
    labelme_file(tmp_path / "a.json", imageData="no base64!")
    (found,) = readings_of(tmp_path)
    assert isinstance(found, UnusableError)


def test_broken_file_is_refused_with_what_was_seen(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="in no known format"):
        source_of(write(tmp_path / "a.json", "{"))

"""CVAT: shapes of each type, runs of masks inside their crop, turned boxes, subsets, and broken XML."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from datasetkit.core.errors import SourceError, UnusableError
from datasetkit.core.ledger import DropReason
from datasetkit.core.record import Maker
from tests.sources.given.builders import boxes_of, format_of, image_bytes, one_reading, readings_of, source_of, write

POLYGON = '<polygon label="box" points="0.0,0.0;10.0,0.0;10.0,10.0;0.0,10.0"></polygon>'


def cvat_file(folder: Path, *images: str, meta: str = "", size: str = 'width="40" height="30"') -> Path:
    parts = []
    for number, inside in enumerate(images):
        write(folder / f"images/{number}.png", image_bytes())
        parts.append(f'<image id="{number}" name="{number}.png" {size}>{inside}</image>')
    text = f"<annotations><meta>{meta}</meta>{'<!-- é -->'.join(parts)}</annotations>"
    return write(folder / "annotations.xml", f'<?xml version="1.0" encoding="utf-8"?>{text}')


def cvat_box(sides: tuple[float, float, float, float], rotation: float = 0, source: str = "manual") -> str:
    left, top, right, bottom = sides
    turn = f'rotation="{rotation}"' if rotation else ""
    return f'<box label="box" source="{source}" xtl="{left}" ytl="{top}" xbr="{right}" ybr="{bottom}" {turn}/>'


@pytest.mark.parametrize(
    ("rotation", "box"),
    [(0, (10.5, 5, 20, 10)), (90, (15.5, 0, 10, 20)), (180, (10.5, 5, 20, 10)), (270, (15.5, 0, 10, 20))],
)
def test_box_is_turned_about_its_middle(tmp_path: Path, rotation: float, box: tuple[float, ...]) -> None:
    reading = one_reading(cvat_file(tmp_path, cvat_box((10.5, 5, 30.5, 15), rotation)))
    assert boxes_of(reading) == [pytest.approx(box)]
    assert reading.record.objects[0].mask is None


def test_runs_go_through_the_crop_row_by_row(tmp_path: Path) -> None:
    mask = '<mask label="a &amp; b" rle="1, 2, 3" left="10" top="20" width="3" height="2"></mask>'
    reading = one_reading(cvat_file(tmp_path, mask))
    (item,) = reading.record.objects
    assert (item.category, item.area, item.box_xywh) == ("a & b", 2, (11, 20, 2, 1))


def test_mask_that_leaves_the_image_is_cut(tmp_path: Path) -> None:
    mask = '<mask label="a" rle="0, 16" left="-2" top="28" width="4" height="4"></mask>'
    assert boxes_of(one_reading(cvat_file(tmp_path, mask))) == [(0, 28, 2, 2)]


@pytest.mark.parametrize("rle", ["1, 2", "7", "-1, 7", "x", "", "0, 99999999999999999999"])
def test_wrong_runs_drop_their_object_alone(tmp_path: Path, rle: str) -> None:
    mask = f'<mask label="a" rle="{rle}" left="10" top="20" width="3" height="2"></mask>'
    reading = one_reading(cvat_file(tmp_path, mask + POLYGON))
    assert len(reading.record.objects) == 1
    assert [drop.reason for drop in reading.drops] == [DropReason.BAD_MASK]


def test_huge_crop_is_refused_before_it_is_drawn(tmp_path: Path) -> None:
    mask = '<mask label="a" rle="0, 10000000000" left="0" top="0" width="100000" height="100000"></mask>'
    (drop,) = one_reading(cvat_file(tmp_path, mask)).drops
    assert "at most" in drop.detail


def test_ellipse_has_its_area(tmp_path: Path) -> None:
    reading = one_reading(cvat_file(tmp_path, '<ellipse label="a" cx="20" cy="15" rx="12" ry="5" rotation="90"/>'))
    assert reading.record.objects[0].area == pytest.approx(math.pi * 60, abs=8)
    assert boxes_of(reading) == [pytest.approx((15, 3, 10, 24), abs=1)]


def test_lines_points_and_tags_are_passed_over(tmp_path: Path) -> None:
    lines = '<polyline label="a" points="1,1;2,2"/><points label="a" points="1,1"/><tag label="a"/>'
    source = source_of(cvat_file(tmp_path, lines + POLYGON))
    assert len(source) == 1
    assert [item.count for item in source.passed_over()] == [3]


def test_automatic_shapes_are_of_a_model(tmp_path: Path) -> None:
    shapes = cvat_box((1, 1, 9, 9)) + cvat_box((1, 1, 8, 8), source="auto")
    reading = one_reading(cvat_file(tmp_path, shapes))
    assert [item.provenance.box for item in reading.record.objects] == [Maker.HUMAN, Maker.MODEL]
    assert {item.scores.detection for item in reading.record.objects} == {None}


def test_subsets_are_splits_and_default_is_none(tmp_path: Path) -> None:
    place = cvat_file(tmp_path, POLYGON, POLYGON)
    text = place.read_text()
    text = text.replace('name="0.png"', 'name="0.png" subset="val"').replace(
        'name="1.png"', 'name="1.png" subset="default"'
    )
    write(place, text)
    assert [entry.split for entry in source_of(place).entries()] == ["validation", None]


def test_labels_are_the_label_map(tmp_path: Path) -> None:
    meta = "<job><labels><label><name>box</name></label><label><name>a &amp; b</name></label></labels></job>"
    source = source_of(cvat_file(tmp_path, POLYGON, meta=meta))
    assert [category.name for category in source.label_map()] == ["box", "a & b"]


def test_one_broken_image_is_dropped_alone(tmp_path: Path) -> None:
    place = cvat_file(tmp_path, POLYGON, POLYGON, POLYGON)
    write(place, place.read_text().replace('name="1.png"', ""))
    found = list(readings_of(place))
    assert [one.reason for one in found if isinstance(one, UnusableError)] == [DropReason.BAD_ENTRY]
    assert len(found) == 3


def test_one_broken_shape_is_dropped_alone(tmp_path: Path) -> None:
    shapes = '<polygon label="a" points="1,1;x"/><box label="a" xtl="1"/>' + cvat_box((9, 9, 9, 20)) + POLYGON
    reading = one_reading(cvat_file(tmp_path, shapes))
    assert (len(reading.record.objects), len(reading.drops)) == (1, 3)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("</annotations>", "", "is not valid XML"),
        ("<annotations>", '<!DOCTYPE a [<!ENTITY b "bbbb">]><annotations>', "defines entities"),
    ],
)
def test_broken_file_ends_in_one_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    place = cvat_file(tmp_path, POLYGON)
    write(place, place.read_text().replace(old, new))
    with pytest.raises(SourceError, match=message):
        source_of(place, format="cvat")


def test_folder_with_the_file_is_recognised(tmp_path: Path) -> None:
    cvat_file(tmp_path, POLYGON)
    assert format_of(tmp_path) == "cvat"

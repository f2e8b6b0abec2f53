"""Open Images: shares, masks that belong to boxes, crowds, classes, narratives, and broken rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from datasetkit.core.errors import SourceError, UnusableError
from datasetkit.core.record import Maker
from datasetkit.sources.given.indexed import CsvRows
from tests.sources.given.builders import (
    boxes_of,
    format_of,
    image_bytes,
    one_reading,
    png_bytes,
    readings_of,
    source_of,
    write,
)

BOX_HEADER = "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf\n"
MASK_HEADER = "MaskPath,ImageID,LabelName,BoxID,BoxXMin,BoxXMax,BoxYMin,BoxYMax,PredictedIoU,Clicks\n"
BOX = "a,xclick,/m/1,1,0.25,0.75,0.5,1,0,0,0\n"


def open_images(folder: Path, rows: str = BOX, masks: str = "", classes: str = '/m/1,"Box, red"\n/m/2,Lid\n') -> Path:
    write(folder / "validation/a.jpg", image_bytes())
    write(folder / "validation-annotations-bbox.csv", BOX_HEADER + rows)
    write(folder / "classes.csv", classes)
    if masks:
        write(folder / "validation-masks.csv", MASK_HEADER + masks)
    return folder


@pytest.mark.parametrize("header", ["", "LabelName,DisplayName\n"])
def test_shares_are_in_the_order_of_the_header(tmp_path: Path, header: str) -> None:
    place = open_images(tmp_path, classes=f'{header}/m/1,"Box, red"\n')
    reading = one_reading(place)
    (item,) = reading.record.objects
    assert boxes_of(reading) == [(10, 15, 20, 15)]
    assert (item.category, item.mask, item.is_crowd) == ("Box, red", None, False)
    assert (item.provenance.box, item.scores.detection) == (Maker.HUMAN, None)
    assert [category.name for category in source_of(place).label_map()] == ["Box, red"]
    assert [entry.split for entry in source_of(place).entries()] == ["validation"]


@pytest.mark.parametrize(("flag", "is_crowd"), [("1", True), ("0", False), ("-1", False)])
def test_groups_are_crowds_and_unknown_is_not(tmp_path: Path, flag: str, is_crowd: bool) -> None:
    reading = one_reading(open_images(tmp_path, BOX.replace(",0\n", f",{flag}\n")))
    assert reading.record.objects[0].is_crowd is is_crowd


def test_boxes_of_a_model_are_marked(tmp_path: Path) -> None:
    reading = one_reading(open_images(tmp_path, BOX.replace("xclick", "activemil")))
    assert reading.record.objects[0].provenance.box is Maker.MODEL


def test_masks_belong_to_the_box_of_their_class_and_corners(tmp_path: Path) -> None:
    others = BOX.replace("/m/1", "/m/2") + BOX.replace("0.25,", "0.5,")
    place = open_images(
        tmp_path,
        others + BOX,
        "m.png,a,/m/1,x1,0.250000,0.750000,0.500000,1.000000,0.8,\nn.png,a,/m/2,x2,0,0.1,0,0.1,,\n",
    )
    half = np.zeros((15, 20), np.uint8)  # of half the size of the image
    half[8:15, 5:15] = 255
    write(tmp_path / "masks/m.png", png_bytes(half))
    write(tmp_path / "masks/n.png", png_bytes(np.full((15, 20), 255, np.uint8)))
    found = one_reading(place).record.objects
    assert [(item.category, item.area) for item in found] == [
        ("Lid", None),
        ("Box, red", None),
        ("Box, red", 280),
        ("Lid", 1200),
    ]
    assert (found[2].source_id, found[2].box_xywh, found[2].provenance.mask) == ("x1", (10, 16, 20, 14), Maker.HUMAN)


def test_missing_mask_leaves_the_box(tmp_path: Path) -> None:
    masks = "../../m.png,a,/m/1,x1,0.25,0.75,0.5,1,0.8,\n"
    assert boxes_of(one_reading(open_images(tmp_path, masks=masks))) == [(10, 15, 20, 15)]


def test_narratives_are_descriptions(tmp_path: Path) -> None:
    lines = ['{"image_id": "a", "caption": "A red box."}', '{"image_id": "b", "caption": "x"}']
    write(tmp_path / "narratives.jsonl", "\n".join([*lines, '{"image_id": "a", "caption": "A lid."}']))
    place = open_images(tmp_path)
    assert one_reading(place).record.description == "A red box."
    assert [entry.record_id for entry in source_of(place, caption="all").entries()] == ["a/0", "a/1"]


def test_broken_row_drops_its_object_alone(tmp_path: Path) -> None:
    rows = BOX + "a,xclick,/m/1,1,x,0.75,0.5,1\na,xclick\n" + BOX.replace("0.75", "0.1") + BOX.replace("0.75", "nan")
    reading = one_reading(open_images(tmp_path, rows))
    assert (len(reading.record.objects), len(reading.drops)) == (1, 4)


def test_missing_image_is_dropped_alone(tmp_path: Path) -> None:
    found = list(readings_of(open_images(tmp_path, BOX + BOX.replace("a,", "b,", 1))))
    assert [isinstance(one, UnusableError) for one in found] == [False, True]


def test_rows_are_found_wherever_they_are(tmp_path: Path) -> None:
    text = 'ImageID,Name\r\na,1\r\nb,"2, ""3"""\r\n\r\na,4\r\n'
    rows = CsvRows(write(tmp_path / "a.csv", b"\xef\xbb\xbf" + text.encode()), "ImageID")
    assert [[row["Name"] for row in rows.of(key)] for key in rows.keys] == [["1", "4"], ['2, "3"']]
    assert list(rows.of("c")) == []


def test_row_without_image_is_an_entry_of_its_own(tmp_path: Path) -> None:
    found = list(readings_of(open_images(tmp_path, BOX + '"\x00\r",x\n' + ",xclick,/m/1,1,0,1,0,1,0,0,0\n")))
    assert not isinstance(found[0], UnusableError)
    assert all(isinstance(one, UnusableError) for one in found[1:])


@pytest.mark.parametrize("start", [b"a,b\rc,d\re\n", b'"a\n', b"\x00\r\x01\n", b"\x1f\x9d\r,\n"])
def test_files_that_are_no_tables_are_refused(tmp_path: Path, start: bytes) -> None:
    with pytest.raises(SourceError, match="in no known format"):
        source_of(write(tmp_path / "a.csv", start))


def test_table_without_the_column_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="has no column ImageID; it has a, b"):
        CsvRows(write(tmp_path / "a.csv", "a,b\n1,2\n"), "ImageID")


def test_other_tables_are_another_format(tmp_path: Path) -> None:
    open_images(tmp_path)
    assert format_of(tmp_path) == "open-images"
    with pytest.raises(SourceError, match="in no known format"):
        source_of(tmp_path / "classes.csv")

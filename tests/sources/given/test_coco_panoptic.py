"""COCO panoptic: ids in colours, void, crowds, missing PNGs, and captions with marks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datasetkit.core.errors import SourceError, UnusableError
from datasetkit.core.protocols import Reading
from datasetkit.core.record import Linker
from datasetkit.sources.given.formats.coco_panoptic import unmarked
from tests.sources.given.builders import SIZE_WH, image_bytes, one_reading, png_bytes, readings_of, source_of, write


def panoptic_segment(number: int, category: int, **more: Any) -> dict[str, Any]:
    return {"id": number, "category_id": category, "iscrowd": 0, "bbox": [1, 2, 3, 4], "area": 12} | more


def panoptic(folder: Path, annotations: list[Any], ids: np.ndarray, masks: str = "panoptic_val2017") -> Path:
    for number in range(1, len(annotations) + 1):
        write(folder / f"{number}.jpg", image_bytes(color=number))
        colours = np.stack([ids & 255, ids >> 8 & 255, ids >> 16], axis=-1).astype(np.uint8)
        write(folder / masks / f"{number}.png", png_bytes(colours if ids.max() > 255 else ids.astype(np.uint8)))
    sides = {"width": SIZE_WH[0], "height": SIZE_WH[1]}
    images = [{"id": number, "file_name": f"{number}.jpg"} | sides for number in range(1, len(annotations) + 1)]
    categories = [{"id": 1, "name": "box", "isthing": 1}, {"id": 2, "name": "floor-merged", "isthing": 0}]
    data = {"images": images, "annotations": annotations, "categories": categories}
    return write(folder / "panoptic_val2017.json", json.dumps(data))


def two_segments(first: int, second: int) -> np.ndarray:
    """Return ids of shape (H, W), with void around two segments of 20 and 12 px."""
    ids = np.zeros(SIZE_WH[::-1], np.int64)
    ids[2:6, 3:8], ids[10:13, 20:24] = first, second
    return ids


def annotation_of(*segments: dict[str, Any], number: int = 1) -> dict[str, Any]:
    return {"image_id": number, "file_name": f"{number}.png", "segments_info": list(segments)}


@pytest.mark.parametrize(("first", "second"), [(300, 70000), (1, 2)])
def test_ids_of_colours_and_of_grey(tmp_path: Path, first: int, second: int) -> None:
    segments = panoptic_segment(first, 1), panoptic_segment(second, 2, iscrowd=1)
    record = one_reading(panoptic(tmp_path, [annotation_of(*segments)], two_segments(first, second))).record
    assert [(item.category, item.area, item.is_crowd) for item in record.objects] == [
        ("box", 20, False),
        ("floor-merged", 12, True),
    ]
    assert (record.objects[0].box_xywh, record.description) == ((3, 2, 5, 4), None)


def test_segment_without_pixels_keeps_its_box(tmp_path: Path) -> None:
    place = panoptic(tmp_path, [annotation_of(panoptic_segment(9, 1))], two_segments(300, 2))
    (item,) = one_reading(place).record.objects
    assert (item.mask, item.box_xywh) == (None, (1, 2, 3, 4))


def test_folder_of_pngs_is_missing(tmp_path: Path) -> None:
    place = panoptic(tmp_path, [annotation_of(panoptic_segment(300, 1))], two_segments(300, 2), "elsewhere")
    with pytest.raises(SourceError, match="panoptic_val2017 is not a folder"):
        source_of(place)


@pytest.mark.parametrize("broken", [{"image_id": 2}, annotation_of(7, number=2), annotation_of({}, number=2)])  # type: ignore[arg-type]
def test_broken_annotation_drops_its_image_alone(tmp_path: Path, broken: Any) -> None:
    good = annotation_of(panoptic_segment(300, 1))
    first, second = readings_of(panoptic(tmp_path, [good, broken], two_segments(300, 2)))
    assert isinstance(first, Reading)
    assert isinstance(second, UnusableError)


def test_name_of_a_png_may_not_lead_out(tmp_path: Path) -> None:
    annotation = annotation_of(panoptic_segment(300, 1)) | {"file_name": "../1.jpg"}
    (item,) = one_reading(panoptic(tmp_path, [annotation], two_segments(300, 2))).record.objects
    assert item.mask is None


def test_marked_captions_link_segments(tmp_path: Path) -> None:
    segments = panoptic_segment(1, 1), panoptic_segment(2, 2)
    place = panoptic(tmp_path, [annotation_of(*segments)], two_segments(1, 2), "panoptic_val2017_masks")
    write(tmp_path / "panoptic_val2017_captions/1.txt", "<1: A box> on <2, 1: the floor>, <0: noise>.\n")
    record = one_reading(place).record
    assert record.description == "A box on the floor, noise."
    found = [(phrase.text, phrase.object_ids, phrase.reason, phrase.provenance) for phrase in record.phrases]
    assert found == [
        ("A box", (0,), None, Linker.HUMAN),
        ("the floor", (1, 0), None, Linker.HUMAN),
        ("noise", (), "no_box", Linker.HUMAN),
    ]


@pytest.mark.parametrize(
    ("marked", "text", "links"),
    [
        ("<1:a dog>", "a dog", [("a dog", ("1",))]),
        ("<0>a dog> runs", "a dog runs", [("a dog", ("1",))]),
        ("< 1 , 2 : dogs>", "dogs", [("dogs", ("1", "2"))]),
        ("a < b and 2 > 1", "a < b and 2 > 1", []),
    ],
)
def test_marks(marked: str, text: str, links: list[tuple[str, tuple[str, ...]]]) -> None:
    found = unmarked(marked, {"1", "2"})
    assert found.text == text
    assert [(text[phrase.start : phrase.end], phrase.objects) for phrase in found.phrases] == links


def test_coco_captions_by_image_id(tmp_path: Path) -> None:
    place = panoptic(tmp_path, [annotation_of(panoptic_segment(300, 1))], two_segments(300, 2))
    captions = {"images": [{"id": 1}], "annotations": [{"id": 4, "image_id": 1, "caption": "a box"}]}
    path = write(tmp_path / "captions.json", json.dumps(captions))
    reading = one_reading(place, captions=path)
    assert (reading.record.description, reading.has_given_links, reading.is_searched) == ("a box", False, True)

"""Label Studio: percent, brushes, spans and relations, cancelled annotations, names of images, and broken tasks."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasetkit.core.errors import SourceError, UnusableError
from datasetkit.core.given import NoLink
from datasetkit.core.ledger import DropReason
from datasetkit.core.record import Linker, Maker, PhraseStatus
from datasetkit.sources.given.brush import decode_brush
from tests.sources.given.builders import boxes_of, image_bytes, one_reading, readings_of, source_of, write

TEXT = "📦 A red box and a lid."


def ls_runs(mask: np.ndarray, repeats: bool = True) -> list[int]:
    """Encode a mask of shape (H, W), dtype bool, as runs of equal values or as single values."""
    values = np.repeat(mask.reshape(-1, 1), 4, axis=1).ravel() * 255
    bits = f"{len(values):032b}{7:05b}" + "".join(f"{size - 1:04b}" for size in (3, 4, 8, 16))
    starts = [0, *(np.flatnonzero(np.diff(values)) + 1)] if repeats else list(range(0, len(values), 200))
    for start, end in zip(starts, [*starts[1:], len(values)], strict=True):
        bits += f"{int(repeats)}11{end - start - 1:016b}"
        bits += "".join(f"{value:08b}" for value in (values[start : start + 1] if repeats else values[start:end]))
    bits += "0" * (-len(bits) % 8)
    return [int(bits[at : at + 8], 2) for at in range(0, len(bits), 8)]


def ls_region(key: str, kind: str, value: dict[str, Any], **more: Any) -> dict[str, Any]:
    size = {"original_width": 40, "original_height": 30, "origin": "manual", "from_name": "x", "to_name": "image"}
    return {"id": key, "type": kind, "value": value, **size, **more}


def ls_box(key: str, x: float, y: float, width: float, height: float, **more: Any) -> dict[str, Any]:
    value = {"x": x, "y": y, "width": width, "height": height, "rotation": 0, "rectanglelabels": ["box"], **more}
    return ls_region(key, "rectanglelabels", value)


def ls_span(key: str, words: str, start: int | None = None) -> dict[str, Any]:
    first = TEXT.index(words) if start is None else start
    value = {"start": first, "end": first + len(words), "text": words, "labels": ["thing"]}
    return {"id": key, "type": "labels", "from_name": "label", "to_name": "text", "value": value}


def ls_relation(first: str, second: str) -> dict[str, Any]:
    return {"type": "relation", "from_id": first, "to_id": second, "direction": "right"}


def ls_task(*regions: dict[str, Any], image: str = "/data/upload/1/0f1e2d3c-a.png", **more: Any) -> dict[str, Any]:
    annotation = {"id": 5, "was_cancelled": False, "result": list(regions)}
    return {"id": 1, "data": {"image": image, "caption": TEXT}, "annotations": [annotation], **more}


def ls_file(folder: Path, *tasks: dict[str, Any], name: str = "a.png") -> Path:
    write(folder / name, image_bytes())
    return write(folder / "export.json", json.dumps(list(tasks)))


def test_percent_become_pixels(tmp_path: Path) -> None:
    reading = one_reading(ls_file(tmp_path, ls_task(ls_box("r", 25, 50, 50, 20))))
    (item,) = reading.record.objects
    assert boxes_of(reading) == [pytest.approx((10, 15, 20, 6))]
    assert (item.category, item.provenance.box, item.scores.detection) == ("box", Maker.HUMAN, None)


def test_rectangle_turns_about_its_upper_left_corner(tmp_path: Path) -> None:
    reading = one_reading(ls_file(tmp_path, ls_task(ls_box("r", 50, 50, 25, 20, rotation=90))))
    assert boxes_of(reading) == [pytest.approx((14, 15, 6, 10))]


def test_polygon_and_ellipse_have_masks(tmp_path: Path) -> None:
    polygon = {"points": [[0, 0], [25, 0], [25, 50], [0, 50]], "polygonlabels": ["a"]}
    ellipse = {"x": 50, "y": 50, "radiusX": 25, "radiusY": 20, "rotation": 90, "ellipselabels": ["b"]}
    task = ls_task(ls_region("p", "polygonlabels", polygon), ls_region("e", "ellipselabels", ellipse))
    first, second = one_reading(ls_file(tmp_path, task)).record.objects
    assert (first.area, first.category) == (150, "a")
    assert second.area == pytest.approx(np.pi * 60, abs=8)
    assert second.box_xywh == pytest.approx((14, 5, 12, 20), abs=1)


@pytest.mark.parametrize("repeats", [True, False])
def test_brush_is_a_mask(tmp_path: Path, repeats: bool) -> None:
    mask = np.zeros((30, 40), np.bool_)
    mask[3:9, 20:40] = True
    value = {"format": "rle", "rle": ls_runs(mask, repeats), "brushlabels": ["lid"]}
    (item,) = one_reading(ls_file(tmp_path, ls_task(ls_region("b", "brushlabels", value)))).record.objects
    assert (item.area, item.box_xywh, item.category) == (120, (20, 3, 20, 6), "lid")


@given(st.lists(st.lists(st.booleans(), min_size=5, max_size=5), min_size=1, max_size=6), st.booleans())
def test_any_mask_is_decoded_as_it_was_encoded(rows: list[list[bool]], repeats: bool) -> None:
    mask = np.array(rows, np.bool_)
    assert np.array_equal(decode_brush(ls_runs(mask, repeats), 5, len(rows)), mask)


@given(st.binary(max_size=60))
def test_any_bytes_end_in_a_mask_or_a_value_error(data: bytes) -> None:
    with suppress(ValueError):
        decode_brush([0, 0, 0, 80, *data], 5, 4)


def test_broken_brush_drops_its_object_alone(tmp_path: Path) -> None:
    brush = {"format": "rle", "rle": ls_runs(np.ones((30, 40), np.bool_))[:-2], "brushlabels": ["lid"]}
    huge = ls_region("h", "brushlabels", {"rle": [255] * 9}, original_width=10**6, original_height=10**6)
    task = ls_task(ls_region("b", "brushlabels", brush), huge, ls_box("r", 0, 0, 50, 50))
    reading = one_reading(ls_file(tmp_path, task))
    assert len(reading.record.objects) == 1
    assert [drop.reason for drop in reading.drops] == [DropReason.BAD_MASK] * 2


@pytest.mark.parametrize(("first", "second"), [("s", "r"), ("r", "s")])
def test_relations_run_either_way(tmp_path: Path, first: str, second: str) -> None:
    task = ls_task(
        ls_box("r", 0, 0, 50, 50), ls_span("s", "A red box"), ls_span("t", "a lid"), ls_relation(first, second)
    )
    linked, alone = one_reading(ls_file(tmp_path, task)).record.phrases
    assert (linked.text, linked.object_ids, linked.score, linked.provenance) == ("A red box", (0,), None, Linker.HUMAN)
    assert (alone.text, alone.status, alone.reason) == ("a lid", PhraseStatus.ABSENT, NoLink.NO_RELATION)


def test_spans_in_utf_16_units_follow_their_text(tmp_path: Path) -> None:
    span = ls_span("s", "a lid", TEXT.index("a lid") + 1)
    task = ls_task(ls_box("r", 0, 0, 50, 50), span, ls_relation("s", "r"))
    (phrase,) = one_reading(ls_file(tmp_path, task)).record.phrases
    assert (phrase.text, phrase.start) == ("a lid", TEXT.index("a lid"))


def test_cancelled_annotations_and_predictions_are_left_out(tmp_path: Path) -> None:
    box = [ls_box("r", 0, 0, 50, 50)]
    task = ls_task(annotations=[{"was_cancelled": True, "result": box}], predictions=[{"result": box}])
    source = source_of(ls_file(tmp_path, task))
    assert len(source) == 1
    assert sum(item.count for item in source.passed_over()) == 2
    assert one_reading(tmp_path / "export.json").record.objects == ()


@pytest.mark.parametrize("is_true", [True, False])
def test_ground_truth_or_the_newest_annotation_is_read(tmp_path: Path, is_true: bool) -> None:
    old = {"id": 1, "updated_at": "2025-01-01", "ground_truth": is_true, "result": [ls_box("r", 0, 0, 50, 50)]}
    new = {"id": 2, "updated_at": "2026-01-01", "result": [ls_box("r", 50, 0, 50, 50)]}
    reading = one_reading(ls_file(tmp_path, ls_task(annotations=[old, new])))
    assert boxes_of(reading) == [(0, 0, 20, 15) if is_true else (20, 0, 20, 15)]


def test_completions_are_annotations_of_older_exports(tmp_path: Path) -> None:
    task = ls_task(ls_box("r", 0, 0, 50, 50))
    task["completions"] = task.pop("annotations")
    assert boxes_of(one_reading(ls_file(tmp_path, task))) == [(0, 0, 20, 15)]


def test_accepted_predictions_are_of_a_model(tmp_path: Path) -> None:
    origins = ["prediction", "prediction-changed"]
    boxes = [{**ls_box(one, 0, 0, 50, 50), "origin": one} for one in origins]
    reading = one_reading(ls_file(tmp_path, ls_task(*boxes)))
    assert [item.provenance.box for item in reading.record.objects] == [Maker.MODEL, Maker.REVIEWED]


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("/data/upload/1/0f1e2d3c-a.png", "a.png"),
        ("/data/upload/1/0f1e2d3c-a.png", "0f1e2d3c-a.png"),
        ("/data/local-files/?d=set%2Fb%20b.png", "set/b b.png"),
        ("s3://bucket/set/a.png", "set/a.png"),
        ("https://example.org/x/a%20b.png?token=1", "a b.png"),
    ],
)
def test_addresses_name_files(tmp_path: Path, address: str, name: str) -> None:
    place = ls_file(tmp_path, ls_task(ls_box("r", 0, 0, 50, 50), image=address), name=name)
    assert len(one_reading(place).record.objects) == 1


def test_points_are_passed_over(tmp_path: Path) -> None:
    task = ls_task(ls_region("k", "keypointlabels", {"x": 1, "y": 1, "width": 0.5, "keypointlabels": ["a"]}))
    source = source_of(ls_file(tmp_path, task))
    assert len(source) == 1
    assert sum(item.count for item in source.passed_over()) == 1


def test_one_broken_task_is_dropped_alone(tmp_path: Path) -> None:
    tasks = [ls_task(id=1), {"id": 2, "annotations": []}, ls_task(id=3)]
    found = list(readings_of(ls_file(tmp_path, *tasks)))
    assert [one.reason for one in found if isinstance(one, UnusableError)] == [DropReason.BAD_ENTRY]
    assert len(found) == 3


def test_broken_file_ends_in_one_line(tmp_path: Path) -> None:
    place = ls_file(tmp_path, ls_task())
    write(place, place.read_text()[:-1] + ",")
    with pytest.raises(SourceError, match="is not valid JSON"):
        source_of(place)

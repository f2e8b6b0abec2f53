"""The COCO source and bad entries: what is dropped, what is fatal, and that everything else is untouched."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from datasetkit.core.errors import SourceError
from datasetkit.core.ledger import DropReason, NoticeKind
from datasetkit.core.record import Maker, ObjectProvenance, PhraseStatus
from tests.core.images import png_header
from tests.pipeline.builders import (
    CATEGORIES,
    Json,
    built,
    caption,
    coco_recipe,
    image_entry,
    instance,
    ledger,
    make_image,
    reasons,
    write_coco,
)
from tests.sources.coco_reading import GOOD, opened

pytestmark = pytest.mark.slow

BAD_RECORDS: dict[str, tuple[Json, bytes | None, DropReason]] = {
    "missing": ({}, None, DropReason.MISSING),
    "empty": ({}, b"", DropReason.EMPTY),
    "not an image": ({}, b"hello", DropReason.NOT_AN_IMAGE),
    "truncated": ({}, make_image()[:-400], DropReason.TRUNCATED),
    "decompression bomb": ({}, png_header(100_000, 100_000), DropReason.TOO_MANY_PIXELS),
    "too many bytes": ({}, bytes(100_001), DropReason.TOO_MANY_BYTES),
    "escapes": ({"file_name": "../outside.png"}, make_image(), DropReason.PATH_ESCAPES),
    "escapes deeper": ({"file_name": "a/../../outside.png"}, make_image(), DropReason.PATH_ESCAPES),
    "absolute": ({"file_name": "/etc/passwd"}, make_image(), DropReason.PATH_ESCAPES),
    "drive": ({"file_name": "C:\\outside.png"}, make_image(), DropReason.PATH_ESCAPES),
    "circle of links": ({"file_name": "circle.png"}, make_image(), DropReason.UNREADABLE),
    "zero byte": ({"file_name": "a\0b.png"}, make_image(), DropReason.PATH_ESCAPES),
    "a name without end": ({"file_name": "n" * 5000}, make_image(), DropReason.UNREADABLE),
    "folder": ({"file_name": "."}, make_image(), DropReason.UNREADABLE),
    "pipe": ({"file_name": "pipe.png"}, make_image(), DropReason.UNREADABLE),
    "no name": ({"file_name": None}, make_image(), DropReason.MISSING),
    "number for a name": ({"file_name": 7}, make_image(), DropReason.MISSING),
    "other size": ({"height": 25}, make_image(), DropReason.SIZE_MISMATCH),
    "size in words": ({"height": "25"}, make_image(), DropReason.SIZE_MISMATCH),
}


@pytest.mark.parametrize("case", BAD_RECORDS)
def test_bad_image_drops_only_its_record(tmp_path: Path, case: str) -> None:
    change, data, reason = BAD_RECORDS[case]
    options = write_coco(
        tmp_path,
        [image_entry(1), image_entry(2) | change, image_entry(3)],
        [instance(5, 1), instance(6, 2), instance(7, 2), instance(8, 3)],
        [caption(11, 1), caption(12, 2), caption(13, 3)],
        image_files={"1.png": make_image(1), "3.png": make_image(3)} | ({} if data is None else {"2.png": data}),
    )
    (tmp_path / "outside.png").write_bytes(make_image())
    (tmp_path / "images" / "circle.png").symlink_to("circle.png")
    os.mkfifo(tmp_path / "images" / "pipe.png")
    manifest, found = built(coco_recipe(options, limits={"max_bytes": 100_000}), tmp_path / "out")
    assert list(found) == ["1", "3"]
    assert reasons(tmp_path / "out") == {"2": reason}
    assert reasons(tmp_path / "out", "annotation") == {"6": "record_dropped", "7": "record_dropped"}
    (detail,) = (line["detail"] for line in ledger(tmp_path / "out") if line["scope"] == "record")
    assert str(tmp_path) not in detail
    assert manifest.tally.read == {"record": 3, "annotation": 4, "detection": 0}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"image_id": 99}, DropReason.UNKNOWN_IMAGE),
        ({"segmentation": [[90, 90, 95, 90, 95, 95]]}, DropReason.OUTSIDE_IMAGE),
    ],
)
def test_only_the_annotation_outside_is_dropped(tmp_path: Path, change: Json, reason: DropReason) -> None:
    annotations = [instance(5, 1), instance(6, 1) | change, instance(7, 1, category_id=18)]
    options = write_coco(tmp_path, [image_entry(1)], annotations, [caption(11, 1)])
    manifest, found = built(coco_recipe(options), tmp_path / "out")
    assert [item.category for item in found["1"].objects] == ["cat", "dog"]
    assert [item.id for item in found["1"].objects] == [0, 1]
    assert reasons(tmp_path / "out", "annotation") == {"6": reason}
    assert manifest.tally.read == {"record": 1, "annotation": 3, "detection": 0}


@pytest.mark.parametrize(
    ("segmentation", "box"),
    [
        ([[1, 1, 5, 6]], (1, 1, 4, 5)),
        ([[1, 1, 5, 6, float("nan"), 3]], (1, 1, 4, 5)),
        ([], None),
        (None, None),
        ({"size": [24, 31], "counts": "?"}, None),
        ({"size": [31, 24], "counts": [0, 744]}, None),
        ([[3, 3, 3, 9, 3, 5]], None),
    ],
)
@pytest.mark.parametrize("bbox", [None, [2, 3, 8, 40]])
def test_instance_without_mask_stays(tmp_path: Path, segmentation: Any, box: Any, bbox: Any) -> None:
    change = {"segmentation": segmentation} | ({} if bbox is None else {"bbox": bbox})
    options = write_coco(tmp_path, [image_entry(1)], [instance(5, 1), instance(6, 1) | change], [caption(11, 1)])
    manifest, found = built(coco_recipe(options), tmp_path / "out")
    sound, poor = found["1"].objects
    assert (poor.mask, poor.area, poor.is_key, poor.source_id) == (None, None, False, "6")
    assert poor.box_xywh == (box if bbox is None else (2, 3, 8, 21))
    assert [phrase.status for phrase in found["1"].phrases][:1] == [PhraseStatus.AMBIGUOUS]
    assert manifest.tally.kept["annotation"] == 2
    assert manifest.tally.notices[NoticeKind.INSTANCE_WITHOUT_MASK] == 1
    (notice,) = (line for line in ledger(tmp_path / "out", "notice") if line["kind"] == "instance_without_mask")
    assert notice["detail"].startswith("annotation 6: ")
    assert sound.provenance == ObjectProvenance(None, Maker.HUMAN)


def test_second_image_with_an_id_is_dropped(tmp_path: Path) -> None:
    images = [image_entry(1), image_entry(1, file_name="other.png"), image_entry(2)]
    options = write_coco(tmp_path, images, [instance(5, 1)], [caption(11, 1), caption(12, 2)])
    _, found = built(coco_recipe(options), tmp_path / "out")
    assert found["1"].image.data == make_image(1)
    assert list(found) == ["1", "2"]
    assert reasons(tmp_path / "out") == {"1": "duplicate_id"}


@pytest.mark.parametrize("text", ["", "   ", None, 0, False, [], float("nan")])
def test_empty_caption_drops_record_if_required(tmp_path: Path, text: Any) -> None:
    options = write_coco(tmp_path, [image_entry(1), image_entry(2)], (), [caption(11, 1, text), caption(12, 2)])
    _, found = built(coco_recipe(options), tmp_path / "out")
    assert [record.description for record in found.values()] == [None, "a cat on a mat"]
    built(coco_recipe(options | {"require_description": True}), tmp_path / "required")
    assert reasons(tmp_path / "required") == {"1": "no_description"}


BAD_ENTRIES: list[tuple[str, Any, str, str]] = [
    ("images", 7, "record", "images[1] of captions.json (byte 72): its value is 7;"),
    ("images", {"file_name": "2.png"}, "record", "its id is None; COCO requires a number or a string"),
    ("images", {"id": [2]}, "record", "its id is [2];"),
    ("images", {"id": float("nan")}, "record", "its id is nan;"),
    ("images", {"id": True}, "record", "its id is True;"),
    ("instances", instance(6, None), "annotation", "annotations[1] of instances.json (byte"),
    ("instances", instance(6, {"id": 1}), "annotation", "its image_id is {'id': 1};"),
    ("instances", "x", "annotation", "its value is 'x';"),
    ("captions", [], "annotation", "annotations[1] of captions.json (byte"),
    ("captions", caption(12, 1, ["a", "b"]), "annotation", "its caption is ['a', 'b']; COCO requires a string"),
    ("captions", caption(12, 1, 7), "annotation", "its caption is 7;"),
    ("categories", "cat", "", ""),
    ("categories", {"name": "ox"}, "", ""),
]


@pytest.mark.parametrize(("key", "entry", "scope", "detail"), BAD_ENTRIES)
def test_only_the_bad_entry_is_left_out(tmp_path: Path, key: str, entry: Any, scope: str, detail: str) -> None:
    lists: Json = {"images": [image_entry(1)], "instances": [instance(5, 1)], "captions": [caption(11, 1)]}
    lists["categories"] = CATEGORIES
    lists[key] = [lists[key][0], entry, *lists[key][1:]]
    if key == "images":
        lists["instances"] = None
    _, found = built(coco_recipe(write_coco(tmp_path, **lists, image_files={"1.png": make_image(1)})), tmp_path / "out")
    assert found["1"].description == "a cat on a mat"
    assert [item.category for item in found["1"].objects] == ([] if key == "images" else ["cat"])
    dropped = [(line["scope"], line["reason"]) for line in ledger(tmp_path / "out")]
    assert dropped == ([(scope, "bad_entry")] if scope else [])
    assert all(detail in line["detail"] for line in ledger(tmp_path / "out"))


OTHER_KINDS: dict[str, tuple[Any, str]] = {
    "panoptic": ({"images": [], "annotations": [{"segments_info": []}]}, "is COCO panoptic"),
    "mdetr captions": ({"images": [{"id": 1, "caption": "a cat"}]}, "is MDETR .* --ignore caption"),
    "mdetr links": ({"annotations": [{"tokens_positive": [[0, 5]]}]}, "is MDETR .* --ignore tokens_positive"),
    "karpathy": ({"images": [{"sentences": [{"raw": "a cat"}]}]}, "is Karpathy's caption splits"),
    "grand-f": ([{"caption": "a cat", "groundings": {}}], "is GranD-f data"),
    "results": ([{"image_id": 1, "category_id": 1, "bbox": [1, 1, 2, 2], "score": 0.9}], "is a list of detections"),
    "caption results": ([{"image_id": 1, "caption": "a cat"}], "is a list of captions"),
    "another list": ([1, 2], "is a list; COCO is an object"),
    "an empty list": ([], "has neither images nor annotations; it is empty"),
    "another object": (
        {"shapes": [], "version": "1"},
        "has neither images nor .*; it has 'shapes', 'version'",
    ),
    "images by id": ({"images": {"1": {}}}, "has images that are not a list"),
}


@pytest.mark.parametrize("case", OTHER_KINDS)
def test_other_file_formats_are_recognised(tmp_path: Path, case: str) -> None:
    document, message = OTHER_KINDS[case]
    options = write_coco(tmp_path, **GOOD)
    options["instances"].write_text(json.dumps(document))
    with pytest.raises(SourceError, match=rf"instances\.json {message}") as caught:
        opened(options)
    assert "\n" not in str(caught.value)


def test_ignored_keys_are_skipped(tmp_path: Path) -> None:
    images = [image_entry(1, caption="a dog")]
    options = write_coco(tmp_path, images, [instance(5, 1, tokens_positive=[[0, 5]], tag="x")], [caption(11, 1)])
    source = opened(options, ignore=("caption", "tokens_positive"))
    assert [(item.kind, item.examples) for item in source.passed_over()] == [
        ("ignored", ("annotations.tokens_positive", "images.caption")),
        ("other_column", ("annotations.tag",)),
    ]


def test_broken_json_is_fatal_in_one_line(tmp_path: Path) -> None:
    options = write_coco(tmp_path, **GOOD)
    options["captions"].write_text('{"images": [{"id": 1}')
    with pytest.raises(SourceError, match=r"captions\.json is not valid JSON: .* \(byte 21\)$"):
        opened(options)


def test_missing_files_are_fatal(tmp_path: Path) -> None:
    options = write_coco(tmp_path, **GOOD)
    with pytest.raises(SourceError, match=r"none\.json does not exist"):
        opened(options | {"captions": tmp_path / "none.json"})
    with pytest.raises(SourceError, match="is not a folder"):
        opened(options | {"images": tmp_path / "none"})
    with pytest.raises(ValueError, match="give instances, captions or both"):
        opened({"images": tmp_path})

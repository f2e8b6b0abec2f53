"""The COCO source: how good entries become records."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datasetkit.annotation.alignment import KnownObjectAligner
from datasetkit.core.errors import SourceError
from datasetkit.core.ledger import DropReason
from datasetkit.core.limits import ImageLimits
from datasetkit.core.mask import Mask
from datasetkit.core.protocols import Reading, SourceContext
from tests.pipeline.builders import (
    BOX,
    CATEGORIES,
    Json,
    built,
    caption,
    coco_recipe,
    image_entry,
    instance,
    make_image,
    write_coco,
)
from tests.sources.coco_reading import GOOD, opened, readings


def only_reading(options: Json, context: SourceContext = SourceContext(), **more: Any) -> Reading:
    (reading,) = readings(opened(options, context, **more)).values()
    assert isinstance(reading, Reading), reading
    return reading


def test_plain_entry(tmp_path: Path) -> None:
    options = write_coco(
        tmp_path,
        [image_entry(1, license=4, flickr_url="http://flickr/1")],
        [instance(5, 1, bbox=[2, 1, 5, 3], area=15)],
        [caption(11, 1, "  a cat  ")],
        licenses=[{"id": 4, "name": "x", "url": "http://creativecommons.org/licenses/by/2.0/"}],
    )
    source = opened(options)
    (entry,) = source.entries()
    assert (entry.record_id, entry.annotation_ids, entry.split, len(source)) == ("1", ("5",), None, 1)
    record = source.read(entry).record
    assert record.image.data == make_image(1)
    assert (record.image_id, record.description) == ("1", "a cat")
    assert record.source.uri == "http://flickr/1"
    assert record.source.license == "cc-by-2.0"
    assert record.source.sha256 == hashlib.sha256(make_image(1)).hexdigest()
    (item,) = record.objects
    assert (item.id, item.category, item.is_crowd, item.source_bbox) == (0, "cat", False, (2, 1, 5, 3))
    assert (item.area, item.box_xywh) == (15, (2, 1, 5, 3))


def test_every_format_of_a_mask(tmp_path: Path) -> None:
    array = np.zeros((24, 31), dtype=bool)
    array[1:4, 2:7] = True
    mask = Mask.from_array(array)
    runs = [2 * 24 + 1, *[3, 21] * 4, 3, 24 - 4 + 24 * 24]
    spellings = [
        BOX,
        [[2, 1, 4, 1, 4, 4, 2, 4], [4, 1, 7, 1, 7, 4, 4, 4]],
        {"size": [24, 31], "counts": runs},
        {"size": [24, 31], "counts": mask.counts},
    ]
    annotations = [instance(n, 1, segmentation=item, iscrowd=n % 2) for n, item in enumerate(spellings)]
    objects = only_reading(write_coco(tmp_path, [image_entry(1)], annotations, [caption(11, 1)])).record.objects
    assert [item.mask for item in objects] == [mask] * 4
    assert [item.is_crowd for item in objects] == [False, True, False, True]


CAPTIONS = [caption(11, 1, "short"), caption(12, 1, "the longest of all"), caption(13, 1, " "), caption(14, 1, "a dog")]


@pytest.mark.parametrize(("choice", "expected"), [("first", "short"), ("longest", "the longest of all")])
def test_one_caption_is_chosen(tmp_path: Path, choice: Any, expected: str) -> None:
    options = write_coco(tmp_path, [image_entry(1)], (), CAPTIONS)
    assert only_reading(options, caption=choice).record.description == expected


def test_first_caption_is_the_first_with_words(tmp_path: Path) -> None:
    options = write_coco(tmp_path, [image_entry(1)], (), CAPTIONS[2:])
    assert only_reading(options).record.description == "a dog"


def test_each_caption_becomes_a_record(tmp_path: Path) -> None:
    options = write_coco(tmp_path, [image_entry(1)], [instance(5, 1)], [*CAPTIONS, caption(14, 1, "again")])
    source = opened(options, caption="all")
    found = readings(source)
    assert len(source) == 5
    assert list(found) == ["1/11", "1/12", "1/13", "1/14"]
    assert [found[key].record.description for key in ("1/11", "1/12")] == ["short", "the longest of all"]
    assert found["1/13"].record.description is None
    assert found["1/14"].reason is DropReason.DUPLICATE_ID
    assert found["1/11"].record.image_id == "1"
    assert found["1/11"].record.objects == found["1/12"].record.objects


def test_best_aligned_caption_ignores_key_max(tmp_path: Path) -> None:
    two = [instance(5, 1), instance(6, 1, category_id=18)]
    captions = [caption(11, 1, "a cat"), caption(12, 1, "a cat and a dog")]
    options = write_coco(tmp_path, [image_entry(1)], two, captions) | {"caption": "best-aligned"}
    context = SourceContext(aligner=KnownObjectAligner(key_max=1))
    assert only_reading(options, context).record.description == "a cat and a dog"
    with pytest.raises(SourceError, match="aligner"):
        opened(options)


def test_without_captions_a_description_may_be_missing(tmp_path: Path) -> None:
    options = write_coco(tmp_path, [image_entry(1)], [instance(5, 1)], None)
    assert only_reading(options).record.description is None


def test_without_instances_there_are_no_objects(tmp_path: Path) -> None:
    options = write_coco(tmp_path, [image_entry(1), image_entry(2)], None, [caption(11, 1), caption(12, 2)])
    assert [item.record.objects for item in readings(opened(options)).values()] == [(), ()]


def test_images_only_in_the_captions_file_count(tmp_path: Path) -> None:
    options = write_coco(tmp_path, [image_entry(1)], [instance(5, 1), instance(6, 2)], [caption(11, 1)])
    other = write_coco(tmp_path / "b", [image_entry(2), image_entry(1)], None, [caption(12, 2), caption(11, 1)])
    (options["images"] / "2.png").write_bytes(make_image(2))
    found = readings(opened(options | {"captions": other["captions"]}))
    assert list(found) == ["1", "2"]
    assert [len(item.record.objects) for item in found.values()] == [1, 1]


@pytest.mark.parametrize(
    ("license_value", "expected"), [(4, "Own"), (9, "mit"), (None, "mit"), ([4], "mit"), ({"id": 4}, "mit")]
)
def test_licenses(tmp_path: Path, license_value: Any, expected: str) -> None:
    options = write_coco(
        tmp_path, [image_entry(1, license=license_value)], (), [caption(11, 1)], licenses=[{"id": 4, "name": "Own"}, 7]
    )
    assert only_reading(options, SourceContext(license="mit")).record.source.license == expected


def test_missing_license_is_unknown(tmp_path: Path) -> None:
    assert only_reading(write_coco(tmp_path, **GOOD)).record.source.license == "unknown"


def test_unlisted_category_is_none(tmp_path: Path) -> None:
    kinds = [{"category_id": 99}, {"category_id": [1]}, {"category_id": 3}, {"category_id": 4}, {}]
    annotations = [instance(n, 1) | kind for n, kind in enumerate(kinds)]
    categories = [*CATEGORIES, {"id": 3, "name": ""}, {"id": 4}]
    options = write_coco(tmp_path, [image_entry(1)], annotations, [caption(11, 1)], categories=categories)
    categories_found = [item.category for item in only_reading(options).record.objects]
    assert categories_found == [None, None, None, None, "cat"]


@pytest.mark.parametrize("bbox", [None, [1, 2, 3], [1, 2, 3, "4"], [1, 2, float("nan"), 4], [1, 2, 3, 10**400], "box"])
def test_invalid_box_is_left_out(tmp_path: Path, bbox: Any) -> None:
    options = write_coco(tmp_path, [image_entry(1)], [instance(5, 1, bbox=bbox)], [caption(11, 1)])
    (item,) = only_reading(options).record.objects
    assert item.source_bbox is None


@pytest.mark.parametrize("text", ["😀 cat قطة \U0001f408", "مرحبا بالعالم", "e\u0301", "x" * 5000, "half \ud83d pair"])
def test_any_words_are_kept(tmp_path: Path, text: str) -> None:
    options = write_coco(tmp_path, [image_entry(1)], (), [caption(11, 1, text)])
    _, found = built(coco_recipe(options), tmp_path / "out")
    assert found["1"].description == text.encode("utf-8", "replace").decode()


def test_fingerprint_depends_on_the_files(tmp_path: Path) -> None:
    options = write_coco(tmp_path, **GOOD)
    before = opened(options).fingerprint()
    assert opened(options).fingerprint() == before
    options["captions"].write_text(options["captions"].read_text().replace("mat", "hat"))
    assert opened(options).fingerprint() != before


def test_limits_are_passed_on(tmp_path: Path) -> None:
    options = write_coco(tmp_path, **GOOD)
    source = opened(options, SourceContext(ImageLimits(max_pixels=10)))
    assert readings(source)["1"].reason is DropReason.TOO_MANY_PIXELS

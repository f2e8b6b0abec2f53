"""The small rooms of the ground floor: ledger, schema, registry, splits, threads, overlays."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator

import datasets
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from datasetkit.drawing import draw_overlay, object_colour
from datasetkit.engines.local import map_in_order
from datasetkit.errors import BuiltFolderError, DatasetkitError, RecordError, UnknownNameError
from datasetkit.ledger import Drop, DropReason, NoticeKind, Tally
from datasetkit.masks import Mask
from datasetkit.record import KeyObject
from datasetkit.registry import Registry
from datasetkit.schema import SCHEMA_VERSION, check_schema_version, features_json, row_schema, row_to_record
from datasetkit.sources import SOURCES
from datasetkit.splits import split_by_hash


def test_tallies_add_up_and_survive_json() -> None:
    tally = Tally()
    tally.read.update({"record": 3, "annotation": 5})
    tally.kept.update({"record": 2, "annotation": 4})
    tally.add_drop(Drop("record", "a", DropReason.MISSING, "gone"))
    tally.add_drop(Drop("annotation", "9", DropReason.BAD_POLYGON, "two points"))
    tally.notices[NoticeKind.EXIF_ROTATED] += 1
    assert Tally.from_json(tally.to_json()).to_json() == tally.to_json()
    both = Tally()
    both.update(tally)
    both.update(tally)
    assert both.read == {"record": 6, "annotation": 10}
    assert both.dropped["record"] == {DropReason.MISSING: 2}
    for scope in ("record", "annotation"):
        assert both.kept[scope] + sum(both.dropped[scope].values()) == both.read[scope]


def test_every_reason_and_notice_is_explained() -> None:
    assert all(item.explanation for item in (*DropReason, *NoticeKind))


@pytest.mark.parametrize("overlay", [True, False])
def test_the_features_are_the_arrow_schema(overlay: bool) -> None:
    schema = row_schema(overlay=overlay)
    features = datasets.Features.from_dict(features_json(overlay=overlay))
    assert features.arrow_schema.remove_metadata() == schema.remove_metadata()
    assert datasets.Features.from_arrow_schema(schema) == features
    assert ("overlay" in schema.names) == overlay


@pytest.mark.parametrize("version", ["2.0", "0.9", None])
def test_other_schema_versions_are_refused(version: str | None) -> None:
    schema = row_schema().remove_metadata()
    if version is not None:
        schema = schema.with_metadata({b"datasetkit": f'{{"schema_version": "{version}"}}'.encode()})
    with pytest.raises(BuiltFolderError, match=SCHEMA_VERSION):
        check_schema_version(schema, "shard")
    check_schema_version(row_schema(), "shard")


def test_a_decoded_picture_is_refused_with_the_way_out() -> None:
    with pytest.raises(RecordError, match="decode=False"):
        row_to_record({"image": Image.new("RGB", (2, 2))})


def test_registry() -> None:
    assert [SOURCES.load(name).__name__ for name in SOURCES.names] == ["CocoSource", "FolderSource", "ToyworldSource"]
    with pytest.raises(UnknownNameError) as refused:
        Registry("source", {"b": "x:y", "a": "x:y"}).load("c")
    assert str(refused.value) == "no source is called 'c'; known: a, b"
    assert isinstance(refused.value, KeyError)
    assert isinstance(refused.value, DatasetkitError)


@given(st.binary(min_size=32, max_size=32).map(bytes.hex))
def test_every_hash_goes_to_one_split(digest: str) -> None:
    shares = {"train": 0.9, "validation": 0.05, "test": 0.05}
    place = int(digest[:13], 16) / 16**13
    expected = "train" if place < 0.9 else "validation" if place < 0.9 + 0.05 else "test"
    assert split_by_hash(digest, shares) == expected
    assert split_by_hash(digest, {"only": 1.0}) == "only"
    assert split_by_hash("f" * 64, {"a": 1 / 3, "b": 1 / 3, "c": 1 / 3}) == "c"


def test_results_come_in_order_and_few_wait() -> None:
    started = 0
    lock = threading.Lock()

    def work(item: int) -> int:
        nonlocal started
        with lock:
            started += 1
        return item * item

    results: Iterator[int] = map_in_order(work, itertools.count(), workers=2)
    assert list(itertools.islice(results, 50)) == [item * item for item in range(50)]
    assert started < 80
    results.close()  # type: ignore[attr-defined]


def test_an_error_in_a_thread_reaches_the_consumer() -> None:
    results = map_in_order(lambda item: 1 // item, [1, 0, 1], workers=2)
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_nothing_to_do() -> None:
    assert list(map_in_order(str, [], workers=3)) == []


def square(object_id: int, top: int, left: int, side: int) -> KeyObject:
    array = np.zeros((40, 60), dtype=np.bool_)
    array[top : top + side, left : left + side] = True
    return KeyObject(object_id, Mask.from_array(array))


def test_overlay_tints_masks_and_leaves_the_rest() -> None:
    grey = Image.new("RGB", (60, 40), (128, 128, 128))
    drawn = np.asarray(draw_overlay(grey, [square(3, 5, 10, 20), square(4, 10, 15, 5)], max_side_px=60)).astype(int)
    assert drawn.shape == (40, 60, 3)
    assert (drawn[0, 0] == 128).all()
    assert tuple(drawn[5, 12]) == object_colour(3)
    assert tuple(drawn[10, 16]) == object_colour(4)
    for (row, column), object_id in (((22, 12), 3), ((12, 17), 4)):
        wanted = 128 + 115 / 255 * (np.array(object_colour(object_id)) - 128)
        assert np.abs(drawn[row, column] - wanted).max() <= 1


@pytest.mark.parametrize(("size", "expected"), [((60, 40), (60, 40)), ((600, 400), (384, 256)), ((2000, 1), (384, 1))])
def test_overlay_size(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert draw_overlay(Image.new("RGB", size), []).size == expected


def test_colours_of_neighbours_differ() -> None:
    colours = [np.array(object_colour(number)) for number in range(200)]
    assert all(np.abs(a - b).sum() > 100 for a, b in itertools.pairwise(colours))

"""The COCO source and the variants that tools write: ids, sizes, polygons, crowds, categories, file names."""

from __future__ import annotations

import gzip
import json
import logging
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasetkit.core.errors import UnusableError
from datasetkit.core.ledger import DropReason
from datasetkit.core.mask import Mask
from datasetkit.core.protocols import Reading
from datasetkit.core.record import Phrase, Record
from datasetkit.export.verification.files import FolderFiles
from datasetkit.export.verification.verify import verify_files
from datasetkit.options import Recipe
from datasetkit.sources.coco_values import identity, is_crowd, sound_segmentation, spelled, whole
from tests.pipeline.builders import (
    BOX,
    Json,
    built,
    caption,
    coco_recipe,
    image_entry,
    instance,
    make_image,
    put,
    reasons,
    write_coco,
)
from tests.sources.coco_reading import opened, readings

FLAT = BOX[0]
POINTS = [[2, 1], [7, 1], [7, 4], [2, 4]]
RUNS = [2 * 24 + 1, *[3, 21] * 4, 3, 24 - 4 + 24 * 24]
PLAIN = Mask.from_coco(BOX, (24, 31))


def only(options: Json, **more: Any) -> tuple[Record, list[str]]:
    (reading,) = readings(opened(options, **more)).values()
    assert isinstance(reading, Reading), reading
    return reading.record, [notice.kind.value for notice in reading.notices]


def one_image(folder: Path, annotation: Json, **image: Any) -> Json:
    return write_coco(folder, [image_entry(1) | image], [instance(5, 1) | annotation], [caption(11, 1)])


IDS = [(1, "1", []), (1.0, "1", ["id_respelled"]), ("1", "1", []), ("0001", "0001", []), ("x2", "x2", [])]


@pytest.mark.parametrize(("image_id", "published", "notices"), [*IDS, (2**70, str(2**70), []), ("кот", "кот", [])])
@pytest.mark.parametrize("plain", [False, True])
def test_ids_of_images(tmp_path: Path, image_id: Any, published: str, notices: list[str], plain: bool) -> None:
    images = [image_entry(1, id=image_id, file_name="1.png")]
    options = write_coco(
        tmp_path, images, [instance(5, image_id)], [caption(11, image_id)], image_files={"1.png": make_image()}
    )
    options["captions"].write_text(json.dumps(json.loads(options["captions"].read_text()), ensure_ascii=plain))
    record, found = only(options)
    assert (record.record_id, record.image_id, len(record.objects), record.description) == (
        published,
        published,
        1,
        "a cat on a mat",
    )
    assert found == notices


@pytest.mark.parametrize(("in_images", "in_annotations"), [("000001", 1), (1, "1"), ("1", 1.0), (1, "000001")])
def test_ids_in_two_spellings_are_one(tmp_path: Path, in_images: Any, in_annotations: Any) -> None:
    images = [image_entry(1, id=in_images)]
    options = write_coco(tmp_path, images, [instance(5, in_annotations)], None, image_files={"1.png": make_image()})
    assert len(only(options)[0].objects) == 1


@pytest.mark.parametrize(
    ("ids", "published", "notices"),
    [
        ([5, "x2", 7.0, "8"], ["5", "x2", "7", "8"], ["id_respelled"]),
        ([None, 5, None], ["6", "5", "7"], ["id_respelled"]),
        ([None, True, [1]], ["1", "2", "3"], ["id_respelled"]),
        ([5, 2**70, "000007"], ["5", str(2**70), "000007"], []),
    ],
)
def test_ids_of_annotations(tmp_path: Path, ids: list[Any], published: list[str], notices: list[str]) -> None:
    options = write_coco(tmp_path, [image_entry(1)], [instance(0, 1, id=one) for one in ids], None)
    source = opened(options)
    (entry,) = source.entries()
    assert list(entry.annotation_ids) == published
    assert only(options)[1] == notices
    assert len(only(options)[0].objects) == len(ids)


@given(st.integers(-(10**17), 10**17))
def test_number_has_one_identity(number: int) -> None:
    assert {identity(value) for value in (number, str(number), f" {number} ", f"{number}.0")} == {number}
    assert spelled(number) == str(number)


@given(st.none() | st.booleans() | st.floats() | st.text() | st.lists(st.integers()))
def test_any_value_is_an_id_or_none(value: Any) -> None:
    assert (identity(value) is None) == (spelled(value) is None)
    assert whole(value) is None or whole(value) == identity(value)


SIZES: list[Json] = [{"height": value, "width": value} for value in (None, 0, -1, "", "x", [], float("nan"))]


@pytest.mark.parametrize("size", [*SIZES, {"height": 24, "width": None}, {"height": 0, "width": 31}])
def test_invalid_size_is_unknown(tmp_path: Path, size: Json) -> None:
    record, notices = only(one_image(tmp_path, {}, **size))
    assert record.objects[0].mask == PLAIN
    assert notices == ["size_unknown"]


@pytest.mark.parametrize("size", [{"height": "24", "width": "31"}, {"height": 24.0, "width": 31.0}])
def test_size_in_another_spelling_is_known(tmp_path: Path, size: Json) -> None:
    assert only(one_image(tmp_path, {}, **size))[1] == []


def test_one_unfitting_side_is_a_mismatch(tmp_path: Path) -> None:
    found = readings(opened(one_image(tmp_path, {}, height=25, width=None)))["1"]
    assert isinstance(found, UnusableError)
    assert found.reason is DropReason.SIZE_MISMATCH


SEGMENTATIONS: list[tuple[Any, list[str]]] = [
    (FLAT, ["segmentation_respelled"]),
    (POINTS, ["segmentation_respelled"]),
    ([POINTS], ["segmentation_respelled"]),
    ([*BOX, []], ["polygon_part_dropped"]),
    ([[60, 60, 61, 61], *BOX], ["polygon_part_dropped"]),
    ([*BOX, [1, 1, 2, 2, 3]], ["polygon_part_dropped"]),
    ([*BOX, [1, 1, 2, 2, 3, float("nan")]], ["polygon_part_dropped"]),
    ([*BOX, [1, 1, 2, 2, 3, "3"]], ["polygon_part_dropped"]),
    ([*BOX, [1, 1, 2, 2, 3, 1e9]], ["polygon_part_dropped"]),
    ([*BOX, None], ["polygon_part_dropped"]),
    ([*BOX, {"x": 1}], ["polygon_part_dropped"]),
    ([*BOX, 5], ["polygon_part_dropped"]),
    ({"size": [24, 31], "counts": [float(run) for run in RUNS]}, ["segmentation_respelled"]),
    ({"size": [24.0, 31.0], "counts": PLAIN.counts}, ["segmentation_respelled"]),
    ({"size": ["24", "31"], "counts": RUNS}, ["segmentation_respelled"]),
    ({"size": [24, 31], "counts": str(PLAIN.counts.encode())}, ["segmentation_respelled"]),
    (BOX, []),
]


@pytest.mark.parametrize(("segmentation", "notices"), SEGMENTATIONS)
def test_masks_in_other_spellings(tmp_path: Path, segmentation: Any, notices: list[str]) -> None:
    record, found = only(one_image(tmp_path, {"segmentation": segmentation}))
    assert record.objects[0].mask == PLAIN
    assert found == notices


@pytest.mark.parametrize("segmentation", [[[]], [[1, 1, 2, 2]], [1, 2, 3], [POINTS[:2]], [[], [1, 2]], [None], ["x"]])
def test_without_a_valid_part_there_is_no_mask(segmentation: Any) -> None:
    sound, _ = sound_segmentation(segmentation, (24, 31))
    with pytest.raises(UnusableError) as caught:
        Mask.from_coco(sound, (24, 31))
    assert caught.value.reason is DropReason.BAD_POLYGON


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=8) | st.dictionaries(st.sampled_from(["size", "counts"]), inner),
    max_leaves=20,
)


@given(VALUES)
def test_any_segmentation_is_a_mask_or_unusable(value: Any) -> None:
    sound, notices = sound_segmentation(value, (6, 9))
    try:
        mask = Mask.from_coco(sound, (6, 9))
    except UnusableError:
        return
    assert mask.area
    try:
        assert Mask.from_coco(value, (6, 9)) == mask
    except UnusableError:
        assert notices


@pytest.mark.parametrize("value", [1, 1.0, "1", True, "true", "True", "yes", " 1 ", 10**400])
def test_a_crowd(value: Any) -> None:
    assert is_crowd(value)


@pytest.mark.parametrize("value", [0, 0.0, "0", False, "false", None, "", "no", float("nan"), [], "0.0", {}])
def test_no_crowd(value: Any) -> None:
    assert not is_crowd(value)


def crowd_set(folder: Path, *flags: int) -> Recipe:
    annotations = [instance(number, 1, iscrowd=flag) for number, flag in enumerate(flags)]
    return coco_recipe(write_coco(folder, [image_entry(1)], annotations, [caption(11, 1, "a cat on a mat")]))


def cat_of(recipe: Recipe, out: Path, crowds: str) -> tuple[list[bool], Phrase]:
    value = recipe.model_copy(update={"source": recipe.source.model_copy(update={"crowds": crowds})})
    _, found = built(value, out)
    return [item.is_crowd for item in found["1"].objects], found["1"].phrases[0]


def test_all_crowds_become_objects_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    recipe = crowd_set(tmp_path, 1, 1)
    with caplog.at_level(logging.WARNING):
        flags, cat = cat_of(recipe, tmp_path / "auto", "auto")
    assert (flags, cat.status, cat.reason) == ([False, False], "ambiguous", "too_many_fit")
    assert "every instance has iscrowd" in caplog.text
    caplog.clear()
    flags, cat = cat_of(recipe, tmp_path / "keep", "keep")
    assert (flags, cat.status, cat.reason) == ([True, True], "ambiguous", "too_many_fit")
    flags, cat = cat_of(recipe, tmp_path / "instances", "instances")
    assert (flags, cat.status) == ([False, False], "ambiguous")
    assert not caplog.text


def test_some_crowds_stay_crowds(tmp_path: Path) -> None:
    recipe = crowd_set(tmp_path, 1, 0)
    assert cat_of(recipe, tmp_path / "auto", "auto")[0] == [True, False]
    assert cat_of(recipe, tmp_path / "instances", "instances")[0] == [False, False]


def test_ignored_crowds_count_without_masks(tmp_path: Path) -> None:
    recipe = crowd_set(tmp_path, 1, 0)
    value = recipe.model_copy(update={"source": recipe.source.model_copy(update={"crowds": "ignore"})})
    _, found = built(value, tmp_path / "out")
    assert [(item.is_crowd, item.mask is None) for item in found["1"].objects] == [(True, True), (False, False)]
    assert [item.id for item in found["1"].key_objects] == [1]


@pytest.mark.parametrize(("category_id", "listed"), [("17", 17), (17.0, 17), (17, "17"), (17, 17.0), ("c7", "c7")])
def test_ids_of_categories(tmp_path: Path, category_id: Any, listed: Any) -> None:
    options = write_coco(
        tmp_path,
        [image_entry(1)],
        [instance(5, 1, category_id=category_id)],
        None,
        categories=[{"id": listed, "name": "street_sign"}],
    )
    record, notices = only(options)
    assert (record.objects[0].category, notices) == ("street_sign", [])


@pytest.mark.parametrize("category", [{"category_id": 99}, {"category_id": None}, {"category_id": [17]}])
def test_unknown_category_is_noticed(tmp_path: Path, category: Json) -> None:
    record, notices = only(one_image(tmp_path, category))
    assert (record.objects[0].category, notices) == (None, ["unknown_category"])


@pytest.mark.parametrize("categories", [None, []])
def test_missing_categories_are_warned_about(tmp_path: Path, caplog: pytest.LogCaptureFixture, categories: Any) -> None:
    options = write_coco(tmp_path, [image_entry(1)], [instance(5, 1)], None, categories=categories)
    with caplog.at_level(logging.WARNING):
        assert only(options)[1] == ["unknown_category"]
    assert "has no categories" in caplog.text


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1251"])
@pytest.mark.parametrize("packed", [False, True])
def test_files_of_any_text(tmp_path: Path, encoding: str, packed: bool) -> None:
    options = write_coco(tmp_path, [image_entry(1)], [instance(5, 1)], [caption(11, 1, "кот")])
    for key in ("instances", "captions"):
        text = json.dumps(json.loads(options[key].read_text()), ensure_ascii=False)
        data = text.replace('"cat"', '"кот"').encode(encoding)
        options[key].write_bytes(gzip.compress(data) if packed else data)
    record, _ = only(options, encoding="cp1251" if encoding == "cp1251" else None)
    assert (record.description, record.objects[0].category) == ("кот", "кот")


NAMES: dict[str, tuple[str, str, list[str]]] = {
    "backslashes": ("a\\1.png", "a/1.png", ["name_backslashes"]),
    "case": ("1.PNG", "1.png", ["name_case"]),
    "the folder's own name": ("images/1.png", "1.png", ["name_prefix"]),
    "no ending": ("1", "1.png", ["name_ending"]),
}


@pytest.mark.parametrize("case", NAMES)
def test_names_of_files(tmp_path: Path, case: str) -> None:
    name, file, expected = NAMES[case]
    options = write_coco(
        tmp_path, [image_entry(1, file_name=name)], [instance(5, 1)], None, image_files={file: make_image(1)}
    )
    record, notices = only(options)
    assert (record.image.name, record.source.uri, notices) == ("1.png", file, expected)


def test_absolute_name_is_published_relative(tmp_path: Path) -> None:
    name = str(tmp_path / "images/a/1.png")
    options = write_coco(
        tmp_path, [image_entry(1, file_name=name)], [instance(5, 1)], None, image_files={"a/1.png": make_image(1)}
    )
    record, notices = only(options)
    assert (record.source.uri, notices) == ("a/1.png", ["name_absolute"])


def test_lvis_names_images_by_url(tmp_path: Path) -> None:
    entry = {"id": 1, "coco_url": "http://images.cocodataset.org/train2017/1.png", "height": 24, "width": 31}
    record, _ = only(write_coco(tmp_path, [entry], [instance(5, 1)], None, image_files={"1.png": make_image(1)}))
    assert (record.image.name, record.source.uri) == ("1.png", entry["coco_url"])


def test_entry_of_the_other_file_fills_gaps(tmp_path: Path) -> None:
    options = write_coco(
        tmp_path,
        [image_entry(1, file_name="train/1.png", height=None)],
        [instance(5, 1)],
        None,
        image_files={"1.png": make_image(1)},
    )
    other = write_coco(tmp_path / "b", [image_entry(1)], None, [caption(11, 1)])
    record, notices = only(options | {"captions": other["captions"]})
    assert (record.image.name, len(record.objects), notices) == ("1.png", 1, [])


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("1.png", "2.png", ["names_differ"]),
        ("/elsewhere/2.png", "1.png", ["names_differ"]),
        ("1.png", "train/1.PNG", []),
        ("1.png", "COCO_train2014_1.png", []),
    ],
)
def test_files_that_name_different_images(tmp_path: Path, first: str, second: str, expected: list[str]) -> None:
    files = {"1.png": make_image(1)}
    options = write_coco(tmp_path / "a", [image_entry(1, file_name=first)], [instance(5, 1)], None, image_files=files)
    other = write_coco(tmp_path / "b", [image_entry(1, file_name=second)], None, [caption(11, 1)], image_files={})
    record, notices = only(options | {"captions": other["captions"]})
    assert (record.image.data, notices) == (make_image(1), expected)


def test_category_of_two_names_is_unknown(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    categories = [{"id": 17, "name": "cat"}, {"id": 17, "name": "dog"}, {"id": 18, "name": "hat"}] * 2
    options = write_coco(tmp_path, [image_entry(1)], [instance(5, 1)], [caption(11, 1)], categories=categories)
    record, notices = only(options)
    assert (record.objects[0].category, notices) == (None, ["unknown_category"])
    assert caplog.messages == ["category 17 is both 'cat' and 'dog': its objects have no category"]


@pytest.mark.parametrize("above", ["train/", "/home/else/train/", "C:\\train\\", "../train/"])
def test_folder_without_images_is_refused_with_advice(tmp_path: Path, above: str) -> None:
    images = [image_entry(number, file_name=f"{above}{number}.png") for number in (1, 2)]
    options = write_coco(
        tmp_path, images, [instance(5, 1)], None, image_files={"1.png": make_image(1), "2.png": make_image(2)}
    )
    with pytest.raises(ValueError, match=r"/images has none of the images .* 2 of .* without the prefix .*train/"):
        opened(options)


def test_user_link_is_followed(tmp_path: Path) -> None:
    options = write_coco(tmp_path / "in", [image_entry(1)], [instance(5, 1)], None, image_files={})
    put(tmp_path, {"elsewhere.png": make_image(1)})
    (options["images"] / "1.png").symlink_to(tmp_path / "elsewhere.png")
    assert only(options)[0].image.data == make_image(1)


def test_notices_add_up_and_verify(tmp_path: Path) -> None:
    images = [image_entry(1), image_entry(2, id=2.0, height=0), {"file_name": "3.png"}]
    instances = [
        instance(5, 1, segmentation=[*BOX, []]),
        instance(6, 1, id=None, category_id=99),
        instance(7, None),
        instance(8, 2, segmentation=FLAT, iscrowd="0"),
        7,
    ]
    options = write_coco(
        tmp_path,
        images,
        instances,
        [caption(11, 1), caption(12, 2, 7)],
        image_files={"1.png": make_image(1), "2.png": make_image(2)},
    )
    _, found = built(coco_recipe(options), tmp_path / "out")
    assert [len(record.objects) for record in found.values()] == [2, 1]
    assert reasons(tmp_path / "out") == {"images[2]": "bad_entry"}
    assert set(reasons(tmp_path / "out", "annotation")) == {"7", "12", "annotations[4]"}
    assert not list(verify_files(FolderFiles(tmp_path / "out")))

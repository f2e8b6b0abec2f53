"""Round trips: exports to COCO or imagefolder that are built again yield the same rows and label map."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from pycocotools.coco import COCO

from datasetkit.core.label_map import Category
from datasetkit.export.dataset.manifest import Manifest
from datasetkit.export.formats.exporting import export_folder
from datasetkit.export.verification.files import FolderFiles
from datasetkit.export.verification.verify import verify_files
from datasetkit.options import Recipe
from datasetkit.options.build import RunOptions
from datasetkit.options.presets import preset
from datasetkit.pipeline.build import build
from tests.export.folders import bare_record, rows_of, write_folder
from tests.export.format_trips import (
    IDS,
    LABEL_MAP,
    build_of,
    coco_and_back,
    exported_coco,
    loaded,
    rows,
    write_odd_coco,
    write_rich,
)
from tests.pipeline.builders import make_image, put

Edit = Callable[[dict[str, Any]], None]


@pytest.fixture(scope="module", autouse=True)
def no_plots() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("datasetkit.export.card.describe.write_plots", lambda *_: ())
        yield


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """COCO data with everything that COCO can represent, built."""
    place = tmp_path_factory.mktemp("odd")
    build_of(write_odd_coco(place / "in"), place / "out")
    return place / "out"


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Records with all fields."""
    return write_rich(tmp_path_factory.mktemp("rich") / "out")


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scenes with objects found by models."""
    out = tmp_path_factory.mktemp("scenes") / "out"
    source = {"name": "toyworld", "count": 3, "size_px": 128, "scene_split": "test"}
    build_of(source, out, grounding=preset("toyworld", {}))
    return out


@pytest.fixture(scope="module")
def trip(odd: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("trip") / "coco"
    assert not export_folder(odd, "coco", place).losses[1:], "but objects without a mask"
    return place


@pytest.mark.parametrize("name", ["odd", "rich", "scenes"])
def test_coco_gives_the_same_rows(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    dataset: Path = request.getfixturevalue(name)
    again = coco_and_back(dataset, tmp_path)
    assert again == rows(dataset)


@pytest.mark.parametrize("name", ["odd", "rich", "scenes"])
def test_imagefolder_gives_the_same_rows(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    dataset: Path = request.getfixturevalue(name)
    assert export_folder(dataset, "imagefolder", tmp_path / "export").losses == ()
    manifest = build_of({"name": "folder", "folder": tmp_path / "export"}, tmp_path / "again")
    assert rows(tmp_path / "again") == rows(dataset)
    assert manifest.label_map == Manifest.read(dataset).label_map
    assert manifest.passed_over == (), "not even the export's own marker"
    assert [fault for fault in faults(tmp_path / "again") if not fault.is_warning] == []


def faults(out: Path) -> list[Any]:
    return list(verify_files(FolderFiles(out)))


def test_categories_and_names_come_back_as_they_were(trip: Path) -> None:
    document = loaded(trip / "instances_train.json")
    assert document["categories"] == LABEL_MAP
    assert [(image["id"], image["file_name"]) for image in document["images"]] == [
        (7, "a/b/one.png"),
        (3, "a/two.PNG"),
        (12, "c/one.png"),
        (5, "plain.png"),
    ]
    assert [item["id"] for item in document["annotations"]] == [900, 17, 18, 1, 2, 3, 4]
    assert document["images"][0]["neg_category_ids"] == [13, 499]
    coco = COCO(str(trip / "instances_train.json"))
    assert sorted(coco.getCatIds()) == sorted(IDS)
    assert coco.getCatIds(catNms=["cat"]) == [1000003]
    captions = COCO(str(trip / "captions_train.json")).anns.values()
    assert all(isinstance(item["caption"], str) for item in captions)


def test_our_own_export_is_known_by_itself(odd: Path, trip: Path, tmp_path: Path) -> None:
    source = exported_coco(trip, "train")
    manifest = build_of(source, tmp_path / "out")
    assert manifest.label_map == Manifest.read(odd).label_map
    assert manifest.recipe["source"]["caption"] == "auto", "and takes all captions of its own"
    assert manifest.passed_over == ()
    assert dict(manifest.tally.notices)["links_given"] == 4
    build_of({**source, "caption": "first"}, tmp_path / "first")
    (first,) = rows(tmp_path / "first").values()
    (every,) = rows(odd).values()
    assert [row["record_id"] for row in first] == ["7", "3", "12", "5"]
    assert first[0]["phrases"] == every[0]["phrases"]
    build_of({**source, "instances": None}, tmp_path / "without")
    (without,) = rows(tmp_path / "without").values()
    assert {phrase["reason"] for row in without for phrase in row["phrases"]} <= {"objects_unknown", None}
    examples = {name for item in Manifest.read(tmp_path / "without").passed_over for name in item.examples}
    assert "annotations.phrases" in examples


def edited(trip: Path, place: Path, edit: Edit, split: str = "train", key: str = "captions") -> list[dict[str, Any]]:
    """Rebuild an export in which something was edited."""
    document = loaded(trip / f"{key}_{split}.json")
    edit(document)
    path = place / f"{key}.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    build_of({**exported_coco(trip, split), key: path}, place / "out")
    return [row for found in rows(place / "out").values() for row in found]


def notices(place: Path) -> Counter[str]:
    return Counter({kind.value: count for kind, count in Manifest.read(place / "out").tally.notices.items()})


def test_an_edited_link_comes_back_as_edited(trip: Path, tmp_path: Path) -> None:
    def edit(document: dict[str, Any]) -> None:
        cat, dog = document["annotations"][0]["phrases"]
        assert (cat["annotation_ids"], dog["annotation_ids"]) == ([], [17])
        cat |= {"annotation_ids": [900], "provenance": "human"}
        dog["annotation_ids"] = []

    first, *others = edited(trip, tmp_path, edit)
    reported = [
        (phrase["text"], phrase["object_ids"], phrase["status"], phrase["provenance"]) for phrase in first["phrases"]
    ]
    assert reported == [("A cat", [0], "matched", "human"), ("a dog", [], "absent", "words")]
    assert [(item["status"], item["is_key"]) for item in first["objects"]] == [
        ("mentioned", True),
        ("unmentioned", False),
        ("unmentioned", False),
    ]
    before = build_again(trip, tmp_path)
    assert first["objects"][1]["salience"] < before[0]["objects"][1]["salience"], "it is no longer named"
    assert others == before[1:]
    assert notices(tmp_path)["links_edited"] == 1


def build_again(trip: Path, place: Path) -> list[dict[str, Any]]:
    build_of(exported_coco(trip, "train"), place / "again")
    return [row for found in rows(place / "again").values() for row in found]


def test_phrases_are_added_and_deleted(trip: Path, tmp_path: Path) -> None:
    def edit(document: dict[str, Any]) -> None:
        first, second, *_ = document["annotations"]
        first["phrases"].append({"text": "A", "start": 0, "end": 1, "annotation_ids": [900, 18, 18]})
        second["phrases"] = []
        document["annotations"].append(
            {"id": 99, "image_id": 5, "caption": "A dog", "record_id": "mine", "phrases": []}
        )

    found = {row["record_id"]: row for row in edited(trip, tmp_path, edit)}
    assert [(phrase["text"], phrase["object_ids"]) for phrase in found["7/1"]["phrases"]][:2] == [
        ("A cat", []),
        ("A", [0, 2]),
    ]
    assert found["7/2"]["phrases"] == [], "it is not aligned again"
    assert {item["status"] for item in found["7/2"]["objects"]} == {"unmentioned"}
    assert found["mine"]["description"] == "A dog"


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"annotation_ids": [123456]}, "annotation 123456 is not one of the image's objects"),
        ({"start": 1}, "characters 1 to 5 of the caption are not 'A cat'"),
        ({"end": 5000}, "characters 0 to 5000 of the caption are not 'A cat'"),
        ({"start": "0"}, "'0' must be of type int"),
        ({"status": "sure"}, "'sure' is not a valid PhraseStatus"),
        ({"provenance": 5}, "5 is not a valid Linker"),
        ({"candidates": [{"annotation_id": 900, "score": 7}], "status": "ambiguous"}, "candidate score is 7"),
        ({"annotation_ids": 7}, "7 must be of type list"),
    ],
)
def test_a_phrase_that_cannot_be_is_left_out(trip: Path, tmp_path: Path, change: dict[str, Any], text: str) -> None:
    def edit(document: dict[str, Any]) -> None:
        document["annotations"][0]["phrases"][0] |= change

    first, *_ = edited(trip, tmp_path, edit)
    assert [phrase["text"] for phrase in first["phrases"]] == ["a dog"]
    assert notices(tmp_path)["link_unusable"] == 1
    assert f"phrase 0: {text}" in (tmp_path / "out" / "ledger.jsonl").read_text(encoding="utf-8")


def test_a_link_that_leads_nowhere_is_left_out_alone(odd: Path, trip: Path, tmp_path: Path) -> None:
    def edit(document: dict[str, Any]) -> None:
        [phrase] = [phrase for phrase in document["annotations"][0]["phrases"] if phrase["annotation_ids"]]
        phrase["annotation_ids"].append(123456)

    first, *_ = edited(trip, tmp_path, edit)
    [before] = [row for row in rows(odd)["train"] if row["record_id"] == first["record_id"]]
    assert first == before
    assert notices(tmp_path)["link_unusable"] == 1
    assert ": annotation 123456 is not one of the image's objects" in (tmp_path / "out" / "ledger.jsonl").read_text(
        encoding="utf-8"
    )


def test_links_that_are_not_said_are_unusable(trip: Path, tmp_path: Path) -> None:
    def edit(document: dict[str, Any]) -> None:
        del document["annotations"][0]["phrases"][0]["annotation_ids"]

    first, *_ = edited(trip, tmp_path, edit)
    assert [phrase["text"] for phrase in first["phrases"]] == ["a dog"]
    assert "phrase 0: 'annotation_ids' is missing" in (tmp_path / "out" / "ledger.jsonl").read_text(encoding="utf-8")


def test_a_new_caption_is_aligned_anew(trip: Path, tmp_path: Path) -> None:
    def edit(document: dict[str, Any]) -> None:
        document["annotations"][0]["caption"] = "Some words about one cat"

    first, *_ = edited(trip, tmp_path, edit)
    assert "one cat" in [phrase["text"] for phrase in first["phrases"]]
    assert notices(tmp_path)["link_unusable"] == 2


def test_objects_are_added_deleted_and_spoilt(rich: Path, tmp_path: Path) -> None:
    export_folder(rich, "coco", tmp_path / "coco")
    before = rows(rich)["train"]

    def edit(document: dict[str, Any]) -> None:
        one, _, *others = document["annotations"]
        one["is_key"] = "very"
        new = {"id": 5000, "image_id": one["image_id"], "category_id": one["category_id"], "bbox": [1, 1, 5, 5]}
        document["annotations"] = [one, *others, new]

    found = edited(tmp_path / "coco", tmp_path, edit, key="instances")
    assert [item["id"] for item in found[0]["objects"]] == [0, 2, 5, 9, 11, 12]
    assert [item["id"] for item in found[1]["objects"]] == [3, 4, 5], "what no record lists belongs to all"
    assert found[0]["objects"][-1]["bbox"] == [1, 1, 5, 5]
    assert found[0]["objects"][0]["scores"]["detection"] is None
    texts = [[phrase["text"] for phrase in row["phrases"]] for row in (found[0], before[0])]
    assert texts[0] == texts[1]
    assert [len(row["phrases"][0]["object_ids"]) for row in (found[0], before[0])] == [1, 2], "the other one is gone"
    assert notices(tmp_path)["details_unusable"] == 2
    assert notices(tmp_path)["link_unusable"] == 1


def test_a_record_id_that_comes_twice_is_dropped(trip: Path, tmp_path: Path) -> None:
    def edit(document: dict[str, Any]) -> None:
        document["annotations"][2]["record_id"] = document["annotations"][0]["record_id"]

    found = edited(trip, tmp_path, edit)
    assert [row["record_id"] for row in found] == ["7/1", "7/2", "12/6", "5"]
    assert Manifest.read(tmp_path / "out").tally.to_json()["records"]["dropped"] == {"duplicate_id": 1}


def test_what_is_said_of_an_image_may_be_wrong(trip: Path, tmp_path: Path) -> None:
    def edit(document: dict[str, Any]) -> None:
        document["images"][0]["source"] = {"uri": "x", "sha256": "no digest"}
        document["images"][1]["source"]["sha256"] = "0" * 64

    found = edited(trip, tmp_path, edit, key="instances")
    assert found[0]["source"]["uri"] == "a/b/one.png"
    assert found[2]["source"]["sha256"] == "0" * 64
    assert notices(tmp_path) >= Counter(details_unusable=2, other_bytes=1)
    assert [fault for fault in faults(tmp_path / "out") if not fault.is_warning] == []


def test_equal_names_are_told_and_kept(tmp_path: Path) -> None:
    source = write_odd_coco(tmp_path / "in")
    document = loaded(source["instances"])
    document["categories"] = [{"id": "x", "name": "cat"}, *document["categories"], {"id": "60", "name": "dog"}]
    source["instances"].write_text(json.dumps(document))
    build_of(source, tmp_path / "out")
    again = coco_and_back(tmp_path / "out", tmp_path)
    reported = loaded(tmp_path / "coco" / ".datasetkit-export.json")["losses"]
    assert {loss["name"]: loss["count"] for loss in reported} == {"objects_without_mask": 2, "equal_names": 5}
    document = loaded(tmp_path / "coco" / "instances_train.json")
    assert document["categories"] == [{"id": "x", "name": "cat"}, *LABEL_MAP, {"id": "60", "name": "dog"}]
    assert [item["category_id"] for item in document["annotations"]] == ["x", 0, 0, "x", "x", 13, 13]
    assert again == rows(tmp_path / "out")
    assert Manifest.read(tmp_path / "train").label_map == Manifest.read(tmp_path / "out").label_map


def test_categories_that_the_map_lacks_come_after_it(odd: Path, rich: Path, tmp_path: Path) -> None:
    first = export_folder(rich, "coco", tmp_path / "rich")
    assert [loss.name for loss in first.losses] == ["unnamed_objects", "objects_without_mask"]
    categories = loaded(tmp_path / "rich" / "instances_train.json")["categories"]
    assert [(one["id"], one["name"]) for one in categories] == [(1, "cat"), (2, "object"), (3, "person")]
    manifest = Manifest.read(odd)
    shutil.copytree(odd, tmp_path / "odd")
    replace(manifest, label_map=(Category("900", "dog"), Category(4, "cat"))).write(tmp_path / "odd")
    export_folder(tmp_path / "odd", "coco", tmp_path / "less")
    categories = loaded(tmp_path / "less" / "instances_train.json")["categories"]
    assert categories == [
        {"id": "900", "name": "dog"},
        {"id": 4, "name": "cat"},
        {"id": 901, "name": "street_sign", "supercategory": ""},
        {"id": 902, "name": "thing 499", "supercategory": ""},
    ]


def test_names_that_cannot_stay_are_told(tmp_path: Path) -> None:
    names = ["x.png", "X.png", "d/../x.png", "x.png/y.png", ".hidden.png", "a:b.png", "turned.tif", "z"]
    items = []
    for number, name in enumerate(names):
        one = bare_record(number)
        image = replace(one.image, name="turned.png" if name == "turned.tif" else name.rpartition("/")[2])
        items.append(replace(one, image=image, source=replace(one.source, uri=name)))
    write_folder(tmp_path / "in", {"train": [rows_of(items, overlay=False)]}, described=False)
    result = export_folder(tmp_path / "in", "coco", tmp_path / "out")
    assert {loss.name: loss.count for loss in result.losses} == {"renamed_pictures": 7}
    written = [image["file_name"] for image in loaded(tmp_path / "out" / "instances_train.json")["images"]]
    assert written == [
        "x.png",
        "00000001-X.png",
        "00000002-x.png",
        "00000003-y.png",
        "00000004-hidden.png",
        "00000005-a-b.png",
        "turned.png",
        "00000007-z.png",
    ]
    build_of(exported_coco(tmp_path / "out", "train"), tmp_path / "again", "train")
    assert rows(tmp_path / "again") == rows(tmp_path / "in"), "but the rows have the names that they had"
    export_folder(tmp_path / "in", "imagefolder", tmp_path / "folder")
    build_of({"name": "folder", "folder": tmp_path / "folder"}, tmp_path / "third")
    assert rows(tmp_path / "third") == rows(tmp_path / "in")


def test_turned_images_come_back(tmp_path: Path) -> None:
    source = write_odd_coco(tmp_path / "in")
    put(tmp_path / "in" / "images", {"plain.png": make_image(5, orientation=3)})
    build_of(source, tmp_path / "out")
    assert coco_and_back(tmp_path / "out", tmp_path) == rows(tmp_path / "out")
    assert Manifest.read(tmp_path / "train").tally.to_json()["notices"]["other_bytes"] == 1
    assert [fault for fault in faults(tmp_path / "train") if not fault.is_warning] == []
    build_of({"name": "parquet", "files": [tmp_path / "out"]}, tmp_path / "rows")
    assert rows(tmp_path / "rows") == rows(tmp_path / "out")
    assert Manifest.read(tmp_path / "rows").label_map == Manifest.read(tmp_path / "out").label_map
    assert [fault for fault in faults(tmp_path / "rows") if not fault.is_warning] == []


def test_the_label_map_outlives_update_and_retry(tmp_path: Path) -> None:
    source = write_odd_coco(tmp_path / "in")
    hidden = tmp_path / "in" / "images" / "plain.png"
    data = hidden.read_bytes()
    hidden.unlink()
    recipe = Recipe.checked({"source": source, "overlay": False})
    first = build(recipe, RunOptions(out=tmp_path / "out", workers=1))
    assert first.tally.dropped["record"].total() == 1
    hidden.write_bytes(data)
    retried = build(recipe, RunOptions(out=tmp_path / "out", workers=1, retry_failed=True))
    assert retried.tally.dropped["record"].total() == 0
    document = loaded(source["instances"])
    document["categories"].reverse()
    source["instances"].write_text(json.dumps(document))
    updated = build(recipe, RunOptions(out=tmp_path / "out", workers=1, update=True))
    assert [one.to_json() for one in first.label_map] == LABEL_MAP
    assert first.label_map == retried.label_map == updated.label_map[::-1]
    value = loaded(tmp_path / "out" / "manifest.json")
    value["label_map"][3]["id"] = value["label_map"][4]["id"]
    (tmp_path / "out" / "manifest.json").write_text(json.dumps(value))
    (fault,) = faults(tmp_path / "out")
    assert "two categories have the id" in fault.what
    del value["label_map"]
    (tmp_path / "out" / "manifest.json").write_text(json.dumps(value))
    assert [fault for fault in faults(tmp_path / "out") if not fault.is_warning] == [], "as versions before 0.4 had it"


def test_yolo_names_all_categories_in_their_order(odd: Path, tmp_path: Path) -> None:
    result = export_folder(odd, "yolo-seg", tmp_path / "out")
    reported = {loss.name: loss.count for loss in result.losses}
    assert (reported["category_details"], reported["missing_splits"]) == (80, 1)
    document = yaml.safe_load((tmp_path / "out" / "data.yaml").read_text(encoding="utf-8"))
    assert list(document["names"].items()) == list(enumerate(one["name"] for one in LABEL_MAP))
    lines = [path.read_text() for path in sorted((tmp_path / "out" / "labels" / "train").iterdir())]
    assert [line.split()[0] for text in lines for line in text.splitlines()] == ["2", "0", "2", "1"]


def test_rows_of_an_imagefolder_may_be_edited(rich: Path, tmp_path: Path) -> None:
    export_folder(rich, "imagefolder", tmp_path / "export")
    path = tmp_path / "export" / "train" / "metadata.parquet"
    table = pq.read_table(path).to_pylist()
    table[0]["phrases"][1] |= {"object_ids": [2], "candidates": [], "status": "matched", "provenance": "human"}
    table[1]["width"] += 1
    table[2]["file_name"] = "gone.png"
    table.append(table[0] | {"language": "fr"})
    # As other writers type it: long texts, 64-bit numbers, no metadata.
    pq.write_table(pa.Table.from_pylist(table), path)
    (tmp_path / "export" / "train" / "more.png").write_bytes(make_image(40))
    build_of({"name": "folder", "folder": tmp_path / "export"}, tmp_path / "out")
    found = rows(tmp_path / "out")
    assert [row["record_id"] for row in found["train"]] == ["record 0", "train/1.png", "train/more.png"]
    assert found["train"][0]["phrases"] == table[0]["phrases"]
    assert found["testA"] == rows(rich)["testA"]
    dropped = Manifest.read(tmp_path / "out").tally.to_json()["records"]["dropped"]
    assert dropped == {"bad_row": 1, "duplicate_id": 1, "missing": 1}


def test_an_export_of_0_3_comes_back(odd: Path, tmp_path: Path) -> None:
    export_folder(odd, "coco", tmp_path / "coco")
    source = exported_coco(tmp_path / "coco", "train")
    for key in ("instances", "captions"):
        document = loaded(source[key])
        document.pop("uncaptioned", None)
        for image in document["images"]:
            del image["source"]
        for item in document["annotations"]:
            item.pop("objects", None)
        source[key].write_text(json.dumps(document))
    build_of(source, tmp_path / "out")
    (found,) = rows(tmp_path / "out").values()
    (before,) = rows(odd).values()
    for row, former in zip(found, before, strict=True):
        assert (row["record_id"], row["phrases"]) == (former["record_id"], former["phrases"])
        for item, other in zip(row["objects"], former["objects"], strict=True):
            # It had the salience of an image's first record alone, and told so.
            assert item | {"salience": None} == other | {"salience": None}

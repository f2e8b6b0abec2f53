"""COCO: pycocotools reads exports bit for bit, and a build restores them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO

from datasetkit.core.record import Scores
from datasetkit.export.dataset.manifest import Manifest
from datasetkit.export.formats.exporting import export_folder
from tests.export.folders import record, rows_of, write_folder
from tests.pipeline.builders import built, coco_recipe, records


@pytest.fixture(scope="module")
def exported(mini: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("coco") / "out"
    result = export_folder(mini, "coco", out)
    assert (result.records, result.pictures) == (100, 20)
    assert result.losses == (), "captions say which objects they mention, each of its own"
    return out


@pytest.mark.slow
def test_pycocotools_reads_the_masks_of_the_source_bit_for_bit(exported: Path, coco_mini: Path) -> None:
    ours = COCO(str(exported / "instances_validation.json"))
    theirs = COCO(str(coco_mini / "annotations" / "instances_val2017.json"))
    assert sorted(ours.getImgIds()) == sorted(theirs.getImgIds())
    assert len(ours.dataset["images"]) == 20
    assert len(ours.anns) == len(theirs.anns)
    for image_id in theirs.getImgIds():
        pairs = zip(ours.imgToAnns[image_id], theirs.imgToAnns[image_id], strict=True)
        for mine, source in pairs:
            mask = ours.annToMask(mine)
            np.testing.assert_array_equal(mask, theirs.annToMask(source))
            rows, columns = np.nonzero(mask)
            assert mine["area"] == mask.sum()
            box = [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]
            assert mine["bbox"] == box
            assert mine["iscrowd"] == source["iscrowd"]
            assert ours.cats[mine["category_id"]]["name"] == theirs.cats[source["category_id"]]["name"]
        entry = ours.imgs[image_id]
        data = (exported / "images" / "validation" / entry["file_name"]).read_bytes()
        assert data == (coco_mini / "val2017" / theirs.imgs[image_id]["file_name"]).read_bytes()
        assert (entry["width"], entry["height"]) == (theirs.imgs[image_id]["width"], theirs.imgs[image_id]["height"])


def test_captions_say_which_annotations_their_phrases_name(exported: Path, mini: Path) -> None:
    captions = COCO(str(exported / "captions_validation.json"))
    instances = COCO(str(exported / "instances_validation.json"))
    found = {item["record_id"]: item for item in captions.anns.values()}
    expected = records(mini)
    assert found.keys() == expected.keys()
    linked = 0
    for record_id, caption in found.items():
        source = expected[record_id]
        masks = {item.id: item.mask for item in source.objects}
        assert caption["caption"] == source.description
        assert len(caption["phrases"]) == len(source.phrases)
        for mine, phrase in zip(caption["phrases"], source.phrases, strict=True):
            assert caption["caption"][mine["start"] : mine["end"]] == mine["text"] == phrase.text
            named = [instances.anns[number] for number in mine["annotation_ids"]]
            assert [item["image_id"] for item in named] == [caption["image_id"]] * len(phrase.object_ids)
            assert [item["segmentation"]["counts"] for item in named] == [masks[i].counts for i in phrase.object_ids]
            candidates = [instances.anns[item["annotation_id"]]["area"] for item in mine["candidates"]]
            assert candidates == [masks[item.object_id].area for item in phrase.candidates]
            linked += len(named)
    assert linked > 50


@pytest.mark.slow
def test_a_build_reads_records_back(exported: Path, mini: Path, tmp_path: Path) -> None:
    source = {
        "name": "coco",
        "images": exported / "images" / "validation",
        "instances": exported / "instances_validation.json",
        "captions": exported / "captions_validation.json",
    }
    recipe = coco_recipe(source, splits={"validation": 1.0}, overlay=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("datasetkit.export.card.describe.write_plots", lambda *_: ())
        manifest, again = built(recipe, tmp_path / "again")
    assert again == records(mini)
    assert manifest.label_map == Manifest.read(mini).label_map
    assert len(manifest.label_map) == 80


def test_objects_of_several_records_are_united(small: Path, tmp_path: Path) -> None:
    result = export_folder(small, "coco", tmp_path / "out")
    assert (result.records, result.pictures, result.objects) == (5, 4, 12)
    assert {loss.name: loss.count for loss in result.losses} == {"unnamed_objects": 3}
    train = json.loads((tmp_path / "out" / "instances_train.json").read_text())
    test = json.loads((tmp_path / "out" / "instances_test.json").read_text())
    assert [entry["id"] for entry in train["images"]] == [1, 2, 3], "ids that are no numbers give way to numbers"
    assert [item["image_id"] for item in train["annotations"]] == [1] * 4 + [2] * 4 + [3] * 4
    assert [item["iscrowd"] for item in train["annotations"]] == [0, 0, 0, 1] * 3
    assert test["annotations"] == []
    names = [{"id": 1, "name": "cat"}, {"id": 2, "name": "object"}, {"id": 3, "name": "person"}]
    assert [{"id": item["id"], "name": item["name"]} for item in test["categories"]] == names
    assert train["categories"] == test["categories"], "ids do not depend on the split"
    captions = json.loads((tmp_path / "out" / "captions_train.json").read_text())["annotations"]
    assert [item["record_id"] for item in captions] == ["record 0", "record 1", "record 1/b", "record 2"]
    assert [item["phrases"][0]["annotation_ids"] for item in captions] == [[1, 2], [5, 6], [5, 6], [9, 10]]
    assert captions[0]["phrases"][1]["candidates"] == [{"annotation_id": 3, "score": 0.5}]


def test_annotations_match_objects_and_phrases_of_the_records(tmp_path: Path) -> None:
    one = record(0)
    scores = Scores(detection=0.25, stability=0.5)
    objects = (replace(one.objects[0], scores=scores, source_bbox=(0.5, 1, 8, 8)), *one.objects[1:])
    unlike = (replace(one.objects[0], is_key=False, id=7), *one.objects[1:])
    phrases = (replace(one.phrases[0], object_ids=(7, 1)), *one.phrases[1:])
    other = replace(one, record_id="other", objects=unlike, phrases=phrases, questions=())
    rows = rows_of([replace(one, objects=objects), other], overlay=False)
    write_folder(tmp_path / "in", {"train": [rows]}, described=False)
    export_folder(tmp_path / "in", "coco", tmp_path / "out")
    first, _, third, crowd = json.loads((tmp_path / "out" / "instances_train.json").read_text())["annotations"]
    assert (first["is_key"], first["status"], first["salience"]) == (True, "mentioned", 0.9)
    assert (third["is_key"], third["status"], third["salience"]) == (False, "candidate", None)
    assert first["scores"] == {
        "detection": 0.25,
        "predicted_iou": None,
        "stability": 0.5,
        "similarity": None,
        "cleaning_iou": None,
    }
    assert (first["source_bbox"], crowd["source_bbox"]) == ([0.5, 1, 8, 8], None)
    captions = json.loads((tmp_path / "out" / "captions_train.json").read_text())["annotations"]
    assert captions[1]["objects"][0] == {
        "annotation_id": 1,
        "id": 7,
        "is_key": False,
        "scores": dict.fromkeys(first["scores"]),
        "source_bbox": None,
    }
    assert "objects" in captions[0], "their ids are not 0, 1, 2, 3"
    assert [phrase["reason"] for phrase in captions[0]["phrases"]] == [None, "several_candidates", "abstract_noun"]


def test_equal_masks_of_one_record_stay_apart(tmp_path: Path) -> None:
    one = record(0)
    twins = replace(one, objects=(*one.objects, replace(one.objects[0], id=9)))
    phrases = (replace(one.phrases[0], object_ids=(0, 9)), *one.phrases[1:])
    again = replace(one, record_id="again")
    rows = rows_of([again, replace(twins, phrases=phrases)], overlay=False)
    write_folder(tmp_path / "in", {"train": [rows]}, described=False)
    assert export_folder(tmp_path / "in", "coco", tmp_path / "out").objects == 5
    coco = COCO(str(tmp_path / "out" / "instances_train.json"))
    cats = [item for item in coco.anns.values() if item["segmentation"]["counts"] == one.objects[0].mask.counts]
    assert [item["id"] for item in cats] == [1, 5]
    captions = json.loads((tmp_path / "out" / "captions_train.json").read_text())["annotations"]
    assert [item["phrases"][0]["annotation_ids"] for item in captions] == [[1, 2], [1, 5]]


@pytest.mark.parametrize(
    ("ids", "expected"),
    [(["7", "5"], [7, 5]), (["7", "07"], [1, 2]), (["7", "x"], [1, 2]), (["7", "7"], [1, 2])],
    ids=["numbers", "leading zero", "no number", "two images of one id"],
)
def test_ids_of_the_source_stay_where_they_can(tmp_path: Path, ids: list[str], expected: list[int]) -> None:
    rows = rows_of([record(0), record(1)], overlay=False)
    for row, image_id in zip(rows, ids, strict=True):
        row["image_id"] = image_id
    write_folder(tmp_path / "in", {"train": [rows]}, described=False)
    export_folder(tmp_path / "in", "coco", tmp_path / "out")
    images = json.loads((tmp_path / "out" / "instances_train.json").read_text())["images"]
    assert [entry["id"] for entry in images] == expected
    assert [entry["license"] for entry in images] == [1, 1]

"""Datasets with everything that a round trip may lose, and the round trips."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from datasetkit.core.mask import Mask
from datasetkit.core.record import (
    Candidate,
    KeyObject,
    Linker,
    Maker,
    ObjectProvenance,
    ObjectStatus,
    Phrase,
    PhraseStatus,
    Scores,
)
from datasetkit.export.dataset.manifest import Manifest
from datasetkit.export.dataset.reading import iter_shard
from datasetkit.export.formats.exporting import export_folder
from datasetkit.options import Recipe
from datasetkit.options.build import RunOptions
from datasetkit.pipeline.build import build
from tests.export.folders import Row, bare_record, record, rows_of, write_folder
from tests.pipeline.builders import Json, check_account, make_image, put

# Eighty categories of odd ids and in no order; few of them have objects.
IDS = [0, 13, 1000003, *range(500, 423, -1)]
LABEL_MAP = [
    {"id": number, "name": {0: "dog", 13: "street_sign", 1000003: "cat"}.get(number, f"thing {number}")}
    | {"supercategory": f"kind {number % 7}"}
    for number in IDS
]
BOX = [[2, 1, 7, 1, 7, 4, 2, 4]]
FAR = [[20, 10, 29, 10, 29, 20, 20, 20]]
CROWD = {"size": [24, 31], "counts": [100, 50, 594]}


def write_odd_coco(folder: Path) -> Json:
    """Write COCO data with two captions of an image, crowds, boxes alone, LVIS's lists, folders and addresses."""
    names = {7: "a/b/one.png", 3: "a/two.PNG", 12: "c/one.png", 5: "plain.png"}
    images = [
        {"id": number, "file_name": name, "height": 24, "width": 31, "license": 4} for number, name in names.items()
    ]
    images[0] |= {"neg_category_ids": [13, 499], "not_exhaustive_category_ids": [1000003]}
    images[1] |= {"coco_url": "http://example.org/x/two.png"}
    images[2] |= {"flickr_url": "http://farm1.staticflickr.com/one.png", "coco_url": "http://example.org/one.png"}
    annotations = [
        instance(900, 7, 1000003, BOX),
        instance(17, 7, 0, FAR),
        instance(18, 7, 0, CROWD, iscrowd=1),
        instance(1, 3, 1000003, [], bbox=[3.5, 2.25, 4, 5]),
        instance(2, 3, 1000003, FAR, bbox=[19.5, 9.5, 10, 11], score=0.5),
        instance(3, 12, 13, None),
        instance(4, 12, 13, BOX),
    ]
    captions = [
        {"id": 1, "image_id": 7, "caption": "A cat and a dog."},
        {"id": 2, "image_id": 7, "caption": " The dog sees two cats and a ball\u2019s shadow. "},
        {"id": 5, "image_id": 3, "caption": "a cat"},
        {"id": 6, "image_id": 12, "caption": "Nobody is here, \U0001f60a just a street sign"},
    ]
    put(folder / "images", {name: make_image(number) for number, name in names.items()})
    licenses = [{"id": 4, "name": "x", "url": "http://creativecommons.org/licenses/by-nc-sa/2.0/"}]
    files = {}
    for key, items in (("instances", annotations), ("captions", captions)):
        files[key] = folder / f"{key}.json"
        document = {"images": images, "annotations": items, "licenses": licenses}
        files[key].write_text(json.dumps(document | ({"categories": LABEL_MAP} if key == "instances" else {})))
    return {"name": "coco", "images": folder / "images", "caption": "all", **files}


def instance(number: int, image_id: int, category_id: int, segmentation: Any, **more: Any) -> Json:
    return {
        "id": number,
        "image_id": image_id,
        "category_id": category_id,
        "segmentation": segmentation,
        "iscrowd": 0,
    } | more


def write_rich(folder: Path) -> Path:
    """Write a dataset from records only: all fields, several records of an image, none."""
    one = record(0)
    rich = replace(
        one.objects[0],
        scores=Scores(0.25, 0.5, None, 0.1, 1.0),
        source_bbox=(0.5, 1.0, 8.0, 8.0),
        provenance=ObjectProvenance(Maker.MODEL, Maker.REVIEWED),
        source_id="s/1",
    )
    boxed = KeyObject(9, None, "person", box=(1.5, 2.5, 3.25, 4.0))
    named = KeyObject(11, None, "object")
    phrases = (replace(one.phrases[0], provenance=Linker.HUMAN), *one.phrases[1:])
    first = replace(one, objects=(rich, *one.objects[1:], boxed, named), phrases=phrases, language="de")
    # The same image: another object alone, and other things said of one that both have.
    objects = (
        replace(rich, id=3, is_key=False, salience=None),
        KeyObject(4, Mask.from_array(~rich.mask.decode()), "cat"),
    )
    other = (
        Phrase("Two cats", 0, 8, (3,), score=0.125, status=PhraseStatus.MATCHED, provenance=Linker.REVIEWED),
        Phrase("a man", 15, 20, candidates=(Candidate(4, None),), status=PhraseStatus.AMBIGUOUS, reason="why"),
    )
    objects = (objects[0], replace(objects[1], status=ObjectStatus.CANDIDATE))
    second = replace(first, record_id="record 0/b", objects=objects, phrases=other, questions=(), language=None)
    asked = replace(bare_record(2), questions=(replace(one.questions[0], object_ids=()),))
    splits = {"train": [rows_of([first, second, record(1)], overlay=False)]}
    splits["testA"] = [rows_of([bare_record(3), asked], overlay=False)]
    write_folder(folder, splits, described=False)
    return folder


def build_of(source: Mapping[str, Any], out: Path, split: str | None = None, **more: Any) -> Manifest:
    """Build without overlays, all records in one split if it is named, and check the counts."""
    options = {"overlay": False, **({} if split is None else {"splits": {split: 1.0}}), **more}
    manifest = build(Recipe.checked({"source": source, **options}), RunOptions(out=out, workers=1))
    check_account(out)
    return manifest


def rows(out: Path) -> dict[str, list[Row]]:
    """Return the rows of a built folder by split."""
    manifest = Manifest.read(out)
    found: dict[str, list[Row]] = {split: [] for split in manifest.split_rows}
    for shard in manifest.shards:
        found[shard.split] += iter_shard(out / shard.path)
    for row in (row for split in found.values() for row in split):
        row.pop("overlay", None)
    return found


def exported_coco(folder: Path, split: str) -> Json:
    """Return the files of a COCO export."""
    files = {key: folder / f"{key}_{split}.json" for key in ("instances", "captions")}
    return {"name": "coco", "images": folder / "images" / split, **files}


def coco_and_back(dataset: Path, place: Path) -> dict[str, list[Row]]:
    """Export a dataset to COCO and build each of its splits again."""
    export_folder(dataset, "coco", place / "coco")
    found = {}
    for split in Manifest.read(dataset).split_rows:
        build_of(exported_coco(place / "coco", split), place / split, split)
        found |= rows(place / split)
    return found


def loaded(path: Path) -> Any:
    """Read a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))

"""Formats in JSON are told apart by their content."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from datasetkit.sources.given.detection import find_format
from datasetkit.sources.given.look import Look
from tests.sources.given.builders import write

IMAGE = {"id": 1, "file_name": "1.jpg", "width": 4, "height": 3}
BOX = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 2, 2]}
KINDS: dict[str, Any] = {
    "boxes-coco": {"images": [IMAGE], "annotations": [BOX], "categories": []},
    "coco-panoptic": {"images": [IMAGE], "annotations": [{"image_id": 1, "file_name": "1.png", "segments_info": []}]},
    "lvis": {
        "images": [{"id": 1, "coco_url": "http://x.org/val2017/1.jpg", "neg_category_ids": []}],
        "annotations": [BOX | {"segmentation": [[1, 1, 2, 1, 2, 2]]}],
    },
    "mdetr": {"images": [IMAGE | {"caption": "a box"}], "annotations": [BOX | {"tokens_positive": [[0, 5]]}]},
    "karpathy": {"images": [{"filename": "1.jpg", "sentences": [{"raw": "a box"}]}], "dataset": "coco"},
    "llava": [{"id": "1", "image": "1.jpg", "conversations": [{"from": "human", "value": "What?"}]}],
    "phrasecut": [{"task_id": "1", "image_id": 1, "phrase": "a box", "Polygons": [], "instance_boxes": []}],
    "grand-f": [{"img_file_name": "1.jpg", "caption": "a box", "refs": []}],
    "sa-1b": {
        "image": {"file_name": "1.jpg"},
        "annotations": [{"segmentation": {}, "predicted_iou": 1, "stability_score": 1}],
    },
    "vg-regions": [{"id": 1, "regions": [{"region_id": 1, "phrase": "a box"}]}],
}


@pytest.mark.parametrize("kind", KINDS)
def test_kind_is_found_by_its_content(tmp_path: Path, kind: str) -> None:
    assert find_format(Look(write(tmp_path / "data.json", json.dumps(KINDS[kind])))) == kind


def test_folder_and_file_of_refs(tmp_path: Path) -> None:
    write(tmp_path / "instances.json", json.dumps(KINDS["boxes-coco"]))
    path = write(tmp_path / "refs(umd).p", pickle.dumps([{"ann_id": 1, "sentences": []}], 2))
    assert find_format(Look(tmp_path)) == find_format(Look(path)) == "refcoco"


def test_folder_of_sa_1b(tmp_path: Path) -> None:
    write(tmp_path / "sa_1.json", json.dumps(KINDS["sa-1b"]))
    assert find_format(Look(tmp_path)) == "sa-1b"

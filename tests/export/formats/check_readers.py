"""Exports read by packages that are too heavy for the test environment: supervision and label-studio-sdk.

Run it by hand, in a separate environment, on three exports of one built folder OUT:

    datasetkit export OUT COCO --to coco
    datasetkit export OUT YOLO --to yolo-seg
    datasetkit export OUT LABELSTUDIO --to labelstudio
    python -m venv readers && readers/bin/pip install supervision label-studio-sdk pycocotools
    readers/bin/python tests/export/formats/check_readers.py COCO YOLO LABELSTUDIO

Masks are compared with those that pycocotools reads from COCO. The exit code is 1 if a reader that should
read the same masks does not.
"""

# ruff: noqa: T201 - what it prints is what it is for
from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import supervision
from label_studio_sdk.converter.brush import decode_rle
from pycocotools.coco import COCO


def main() -> int:
    coco_folder, yolo_folder, studio_folder = map(Path, sys.argv[1:4])
    print(", ".join(f"{name} {version(name)}" for name in ("supervision", "label-studio-sdk", "pycocotools", "numpy")))
    faults = 0
    for path in sorted(coco_folder.glob("instances_*.json")):
        split = path.stem.removeprefix("instances_")
        coco = COCO(str(path))
        truth = {entry["file_name"]: annotations(coco, entry["id"]) for entry in coco.dataset["images"]}
        masks = {name: [coco.annToMask(item).astype(bool) for item in items] for name, items in truth.items()}
        faults += check_coco(coco_folder / "images" / split, path, masks)
        is_crowd = {name: [item["iscrowd"] for item in items] for name, items in truth.items()}
        check_yolo(yolo_folder, split, masks, is_crowd)
        faults += check_studio(studio_folder / f"tasks_{split}.json", masks)
    return min(faults, 1)


def annotations(coco: COCO, image_id: int) -> list[dict]:
    return coco.loadAnns(coco.getAnnIds(imgIds=[image_id]))


def check_coco(images: Path, path: Path, masks: dict[str, list[np.ndarray]]) -> int:
    dataset = supervision.DetectionDataset.from_coco(str(images), str(path), force_masks=True)
    same = different = 0
    for name, _, detections in dataset:
        expected = masks[Path(name).name]
        found = detections.mask if len(detections) else []
        different += abs(len(found) - len(expected))
        for one, other in zip(found, expected, strict=False):
            same += np.array_equal(one, other)
            different += not np.array_equal(one, other)
    print(f"{path.name}: supervision reads {len(dataset)} images; masks equal {same}, different {different}")
    return different


def check_yolo(folder: Path, split: str, masks: dict[str, list[np.ndarray]], is_crowd: dict[str, list[int]]) -> None:
    dataset = supervision.DetectionDataset.from_yolo(
        str(folder / "images" / split), str(folder / "labels" / split), str(folder / "data.yaml"), force_masks=True
    )
    ious = []
    for name, _, detections in dataset:
        key = Path(name).name
        expected = [mask for mask, crowd in zip(masks[key], is_crowd[key], strict=True) if not crowd]
        for one, other in zip(detections.mask if len(detections) else [], expected, strict=True):
            ious.append(np.count_nonzero(one & other) / np.count_nonzero(one | other))
    equal = sum(iou == 1 for iou in ious)
    print(
        f"yolo-seg {split}: supervision reads {len(dataset)} images, {len(ious)} objects; masks equal {equal}, "
        f"mean IoU {np.mean(ious):.6f}, least {min(ious):.6f}"
    )


def check_studio(path: Path, masks: dict[str, list[np.ndarray]]) -> int:
    seen = {name: {mask.tobytes() for mask in found} for name, found in masks.items()}
    same = different = spans = 0
    for task in json.loads(path.read_text(encoding="utf-8")):
        for item in task["annotations"][0]["result"]:
            value = item.get("value")
            if item["type"] == "brushlabels":
                shape = item["original_height"], item["original_width"], 4
                layers = decode_rle(value["rle"]).reshape(shape)
                mask = layers[:, :, 3] == 255
                is_same = mask.tobytes() in seen[Path(task["data"]["image"]).name]
                is_same = is_same and np.array_equal(layers, np.where(mask[:, :, None], 255, 0).repeat(4, axis=2))
                same += is_same
                different += not is_same
            elif item["type"] == "labels":
                spans += 1
                different += task["data"]["description"][value["start"] : value["end"]] != value["text"]
    print(f"{path.name}: label-studio-sdk decodes masks equal {same}, different {different}; spans {spans}")
    return different


if __name__ == "__main__":
    sys.exit(main())

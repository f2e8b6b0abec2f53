"""Many copies of coco_mini: distinct ids, one byte of each image changed. Used by the benchmarks of builds."""

from __future__ import annotations

import json
import os
from pathlib import Path

_JFIF_DENSITY_BYTE = 15


def coco_mini() -> Path:
    """Find coco_mini at ``DATASETKIT_COCO_MINI``, default ``../shared/coco_mini`` next to the repository.

    Raises:
        SystemExit: it does not exist.

    """
    default = Path(__file__).resolve().parents[2] / "shared" / "coco_mini"
    folder = Path(os.environ.get("DATASETKIT_COCO_MINI", default))
    if not (folder / "annotations").is_dir():
        raise SystemExit(f"coco_mini is not at {folder}; set DATASETKIT_COCO_MINI to its folder")
    return folder


def write_copies(count: int, destination: Path) -> None:
    """Write ``count`` images with instances and captions, in COCO's layout and as an imagefolder.

    Args:
        count: number of images.
        destination: folder that gets ``images/`` (with ``metadata.jsonl``), ``instances.json`` and ``captions.json``.

    """
    image_folder = destination / "images"
    image_folder.mkdir(parents=True)
    originals, categories, licenses = _originals()
    images, instances, captions, metadata = [], [], [], []
    for number in range(count):
        copy, original = divmod(number, len(originals))
        data, image, annotations, caption = originals[original]
        changed = bytearray(data)
        changed[_JFIF_DENSITY_BYTE] = copy % 256
        name = f"{number:06d}.jpg"
        (image_folder / name).write_bytes(changed)
        images.append(image | {"id": number, "file_name": name})
        instances += [
            annotation | {"id": number * 1000 + index, "image_id": number}
            for index, annotation in enumerate(annotations)
        ]
        captions.append({"id": number, "image_id": number, "caption": caption})
        metadata.append(json.dumps({"file_name": name, "caption": caption}))
    common = {"images": images, "licenses": licenses}
    _dump(destination / "instances.json", common | {"annotations": instances, "categories": categories})
    _dump(destination / "captions.json", common | {"annotations": captions})
    (image_folder / "metadata.jsonl").write_text("\n".join(metadata) + "\n", encoding="utf-8")


def _originals() -> tuple[list[tuple[bytes, dict, list[dict], str]], list[dict], list[dict]]:
    found = []
    for split in ("train2017", "val2017"):
        instances = json.loads((coco_mini() / "annotations" / f"instances_{split}.json").read_text())
        captions = json.loads((coco_mini() / "annotations" / f"captions_{split}.json").read_text())
        by_image: dict[int, list[dict]] = {}
        for annotation in instances["annotations"]:
            by_image.setdefault(annotation["image_id"], []).append(annotation)
        first = {item["image_id"]: item["caption"] for item in reversed(captions["annotations"])}
        for image in instances["images"]:
            data = (coco_mini() / split / image["file_name"]).read_bytes()
            found.append((data, image, by_image.get(image["id"], []), first[image["id"]]))
    return found, instances["categories"], instances["licenses"]


def _dump(path: Path, value: object) -> None:
    with path.open("w", encoding="utf-8") as file:
        json.dump(value, file)

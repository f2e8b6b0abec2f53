"""Many tiny images with objects and captions, in COCO's layout and as an imagefolder. Used by benchmarks of growth."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

_SIZE_HW = (48, 64)
_BOXES_XYWH = ((2, 2, 20, 10), (20, 8, 20, 10), (40, 20, 20, 10))
_CATEGORIES = ("cat", "dog")


def source_options(kind: str, folder: Path) -> dict[str, Any]:
    """Return the options of a source that reads what :func:`write_tiny` wrote; ``kind`` is folder or coco."""
    if kind == "folder":
        return {"name": kind, "folder": folder / "images"}
    files = {name: folder / f"{name}.json" for name in ("instances", "captions")}
    return {"name": kind, "images": folder / "images", **files}


def write_tiny(count: int, destination: Path) -> None:
    """Write ``count`` JPEG files of 64x48 px with three objects and a caption each.

    Args:
        count: number of images, all different.
        destination: folder that gets ``images/`` (with ``metadata.jsonl``), ``instances.json`` and ``captions.json``.

    """
    (destination / "images").mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (*_SIZE_HW, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG")
    images, instances, captions, metadata = [], [], [], []
    for number in range(count):
        name, caption = f"{number:06d}.jpg", f"A cat and a dog sit near tree {number}."
        # A comment makes the bytes of each image different.
        comment = b"\xff\xfe\x00\x06" + number.to_bytes(4)
        data = buffer.getvalue()
        (destination / "images" / name).write_bytes(data[:2] + comment + data[2:])
        images.append({"id": number, "file_name": name, "width": _SIZE_HW[1], "height": _SIZE_HW[0]})
        instances += [_instance(number, place) for place in range(len(_BOXES_XYWH))]
        captions.append({"id": number, "image_id": number, "caption": caption})
        metadata.append(json.dumps({"file_name": name, "caption": caption}))
    categories = [{"id": place + 1, "name": name} for place, name in enumerate(_CATEGORIES)]
    for name, items in (("instances", instances), ("captions", captions)):
        document = {"images": images, "annotations": items, "categories": categories}
        (destination / f"{name}.json").write_text(json.dumps(document))
    (destination / "images" / "metadata.jsonl").write_text("\n".join(metadata) + "\n")


def _instance(image: int, place: int) -> dict[str, Any]:
    x, y, width, height = _BOXES_XYWH[place]
    corners = [x, y, x + width, y, x + width, y + height, x, y + height]
    return {
        "id": image * len(_BOXES_XYWH) + place,
        "image_id": image,
        "category_id": place % len(_CATEGORIES) + 1,
        "iscrowd": 0,
        "area": width * height,
        "bbox": [x, y, width, height],
        "segmentation": [corners],
    }

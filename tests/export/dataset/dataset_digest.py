"""Load a dataset and print its contents as JSON. Needs only datasets, pillow and pycocotools.

`python dataset_digest.py WAY PLACE`: WAY is the way of loading (`_LOADERS`), PLACE a folder or a name on the Hub.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

_IMAGES = ("image", "overlay")


def _load_files(place: str) -> Any:
    """Load the shards without the card: feature types come from the Parquet metadata only."""
    shards: dict[str, list[str]] = {}
    for path in sorted(Path(place, "data").glob("*.parquet")):
        shards.setdefault(path.name.partition("-")[0], []).append(str(path))
    return datasets.load_dataset("parquet", data_files=shards)


_LOADERS: dict[str, Callable[[str], Any]] = {
    "whole": datasets.load_dataset,
    "streamed": lambda place: datasets.load_dataset(place, streaming=True),
    "shards": _load_files,
}


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _pixels(image: Image.Image) -> list[Any]:
    return [image.mode, *image.size, _sha256(image.tobytes())]


def _mask(value: dict[str, Any]) -> list[Any]:
    array = np.asarray(coco_mask.decode(value))
    return [*array.shape, int(array.sum()), _sha256(array.tobytes())]


def _digest(row: dict[str, Any], decoded: dict[str, Any]) -> dict[str, Any]:
    images = [name for name in _IMAGES if name in row]
    text = row["description"]
    return {
        "image bytes": [_sha256(row[name]["bytes"]) for name in images],
        "pixels": [_pixels(decoded[name]) for name in images],
        "masks": [_mask(item["mask"]) for item in row["objects"]],
        "spans": [[phrase["text"], text[phrase["start"] : phrase["end"]]] for phrase in row["phrases"]],
        "other values": {name: value for name, value in row.items() if name not in images},
    }


def _rows(split: Any) -> Iterable[dict[str, Any]]:
    encoded = split
    for name in _IMAGES:
        if name in split.features:
            encoded = encoded.cast_column(name, datasets.Image(decode=False))
    for row, decoded in zip(encoded, split, strict=True):
        yield _digest(row, decoded)


def main(way: str, place: str) -> None:
    """Print `{split: [digest of a row, ...]}` as the last line."""
    loaded = _LOADERS[way](place)
    held = {name: list(_rows(split)) for name, split in loaded.items()}
    sys.stdout.write(json.dumps(held) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])

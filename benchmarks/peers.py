"""Other packages that write images with captions and masks. What ``benchmarks.build`` is compared with.

All of them read the images, instances and captions of ``coco_copies``, and write a dataset of their own.
"""

from __future__ import annotations

import importlib.util
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from PIL import Image

NEEDED = ("supervision", "webdataset")
_ROWS_PER_SHARD = 1000


def missing_packages() -> list[str]:
    """Return the packages that have to be installed first; they are not among the extras."""
    return [name for name in NEEDED if importlib.util.find_spec(name) is None]


def _samples(data: Path) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """Yield the bytes of each image, with its name, caption and instances."""
    instances = json.loads((data / "instances.json").read_bytes())
    captions = json.loads((data / "captions.json").read_bytes())["annotations"]
    texts = {one["image_id"]: one["caption"] for one in captions}
    by_image: dict[int, list[dict[str, Any]]] = {image["id"]: [] for image in instances["images"]}
    for annotation in instances["annotations"]:
        by_image[annotation["image_id"]].append(annotation)
    for image in instances["images"]:
        facts = {"file_name": image["file_name"], "caption": texts[image["id"]]}
        facts["instances"] = json.dumps(by_image[image["id"]])
        yield (data / "images" / image["file_name"]).read_bytes(), facts


def write_webdataset(data: Path, out: Path) -> None:
    """Write tar files of images and JSON; each image is decoded, to be sure that it can be."""
    import webdataset

    with webdataset.ShardWriter(f"file:{out}/%05d.tar", maxcount=_ROWS_PER_SHARD, verbose=0) as sink:
        for encoded, facts in _samples(data):
            Image.open(io.BytesIO(encoded)).load()
            sink.write({"__key__": facts["file_name"].partition(".")[0], "jpg": encoded, "json": facts})


def write_parquet(data: Path, out: Path) -> None:
    """Write Parquet with ``datasets``; no image is decoded."""
    import datasets

    datasets.disable_progress_bars()
    features = datasets.Features(
        {"image": datasets.Image(decode=False)}
        | {name: datasets.Value("string") for name in ("file_name", "caption", "instances")}
    )
    rows = [{"image": {"bytes": encoded, "path": facts["file_name"]}, **facts} for encoded, facts in _samples(data)]
    datasets.Dataset.from_list(rows, features=features).to_parquet(out / "all.parquet")


def write_coco(data: Path, out: Path) -> None:
    """Read COCO with supervision, decoding all masks, and write COCO again."""
    import supervision

    dataset = supervision.DetectionDataset.from_coco(
        images_directory_path=str(data / "images"), annotations_path=str(data / "instances.json"), force_masks=True
    )
    dataset.as_coco(images_directory_path=str(out / "images"), annotations_path=str(out / "instances.json"))


PEERS: dict[str, Callable[[Path, Path], None]] = {
    "webdataset, with a decode check": write_webdataset,
    "datasets.to_parquet, nothing decoded": write_parquet,
    "supervision, COCO to COCO": write_coco,
}

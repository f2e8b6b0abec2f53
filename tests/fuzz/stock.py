"""Inputs of commands before any damage: small inputs of every kind, created once. Owns their folder."""

from __future__ import annotations

import csv
import io
import json
import shutil
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from PIL import Image

from datasetkit.core.files import file_sha256
from datasetkit.runtime.checkpoints import resolve
from datasetkit.runtime.fetched import HubFile, Listing
from tests.compatibility.former import FORMER, HUMAN_MASKS, ODD_PIXELS
from tests.pipeline.builders import BOX, caption, image_entry, instance, make_image, put, write_coco

Run = Callable[..., object]
TEXTS = ("a cat on a mat", "two dogs and a cat", "no animal at all")
_RLE = {"size": [24, 31], "counts": [49, *[3, 21] * 4, 3, 600]}


def make(folder: Path, run: Run) -> None:
    """Write all inputs.

    Args:
        folder: folder to fill; every input is a file or folder in it.
        run: runs the command line in ``folder``; raises if it fails.

    """
    _coco(folder / "coco")
    _folders(folder)
    _fetched(folder)
    _tables(folder)
    _shards(folder / "shards")
    _former(folder)
    build = ("--preset", "none", "--quiet")
    coco = ("coco", "--images", "coco/images", "--instances", "coco/instances.json", "--captions", "coco/captions.json")
    run("build", *coco, *build, "--caption", "all", "--splits", "train=.7,test=.3", "--out", "built")
    scenes = ("toyworld", "--size-px", "64", "--no-overlay", "--count", "2", *build)
    run("build", *scenes, "--splits", "train=.5,test=.5", "--out", "toy")
    run("build", "toyworld", "--size-px", "64", "--count", "3", "--part-size", "1", *build, "--out", "parts")
    run("export", "built", "exported", "--to", "webdataset", "--quiet")
    questions = ("knockout", "--model", "toyworld:vlm", "--device", "cpu", "--data", "toy", "--split", "test")
    run(*questions, "--limit", "1", "--flows", "image->question", "--out", "flows", "--quiet")


def _coco(folder: Path) -> None:
    images = [image_entry(1), image_entry(2, license=4), image_entry(3, file_name="sub/3.png")]
    annotations = [
        instance(10, 1, bbox=[2, 1, 5, 3], area=15),
        instance(11, 1, category_id=18, segmentation=_RLE, iscrowd=1),
        instance(12, 2, category_id=18, segmentation=[[10, 10, 20, 10, 20, 20, 10, 20]]),
        instance(13, 2, category_id=18, segmentation=[]),
        instance(14, 3, segmentation=BOX),
    ]
    texts = [caption(20 + number, number % 3 + 1, TEXTS[number % 3]) for number in range(5)]
    licences = [{"id": 4, "name": "x", "url": "http://creativecommons.org/licenses/by/2.0/"}]
    image_files = {entry["file_name"]: make_image(entry["id"]) for entry in images}
    write_coco(folder, images, annotations, texts, image_files=image_files, licenses=licences)


def _folders(folder: Path) -> None:
    """Write one folder of images per way to describe them."""
    images = {"a.png": make_image(1), "train/b.png": make_image(2), "test/c.jpg": _jpeg(3)}
    rows = [
        {"file_name": name, "description": text, "score": number}
        for number, (name, text) in enumerate(zip(images, TEXTS, strict=True))
    ]
    texts: Mapping[str, bytes | str] = {
        "folder_txt": {},
        "folder_csv": {"metadata.csv": _csv(rows)},
        "folder_jsonl": {"metadata.jsonl": "".join(json.dumps(row) + "\n" for row in rows)},
        "folder_parquet": {"metadata.parquet": _parquet(rows)},
        "folder_json": {"metadata.json": json.dumps(rows)},
    }  # type: ignore[assignment]
    for name, files in texts.items():
        put(folder / name, images)
        put(folder / name, files)  # type: ignore[arg-type]
    put(folder / "folder_txt", {"a.txt": TEXTS[0], "train/b.txt": TEXTS[1], "test/c.txt": TEXTS[2]})
    source = {"name": "folder", "folder": "folder_csv", "require_description": False}
    recipe = {"source": source, "splits": {"train": 0.5, "test": 0.5}, "seed": 1, "part_size": 2, "overlay": False}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    preset = Path(resolve("toyworld:vlm")).parents[2] / "options" / "presets" / "toyworld.yaml"
    shutil.copy2(preset, folder / "preset.yaml")


def _fetched(folder: Path) -> None:
    """A model as ``datasetkit models fetch --to`` leaves it, and a preset that names it."""
    commit = "0" * 40
    model = Path(shutil.copytree(resolve("toyworld:segmenter"), folder / "fetched" / "org--segmenter" / commit))
    files = {path.name: HubFile(size=path.stat().st_size, etag=file_sha256(path)) for path in model.iterdir()}
    Listing(id="org/segmenter", revision=commit, commit=commit, license=None, parameters=None, files=files).write(model)
    preset = yaml.safe_load((folder / "preset.yaml").read_text(encoding="utf-8"))
    preset["segmenter"] |= {"model": "org/segmenter", "revision": commit}
    (folder / "fetched.yaml").write_text(yaml.safe_dump(preset), encoding="utf-8")


def _tables(folder: Path) -> None:
    """Rows with images, plain and with objects, and tables of questions and of rankings."""
    rows: list[dict[str, Any]] = [
        {"image": {"bytes": make_image(number), "path": f"{number}.png"}, "caption": text, "id": f"row {number}"}
        for number, text in enumerate(TEXTS)
    ]
    put(folder / "rows", {"train.parquet": _parquet(rows)})
    boxes = {"bbox": [[2.0, 1.0, 5.0, 3.0], [10.0, 10.0, 10.0, 10.0]], "category": ["cat", "dog"]}
    known = [{**row, "objects": boxes, "mask": {"bytes": _mask(), "path": None}} for row in rows]
    put(folder / "objects", {"train-00000-of-00001.parquet": _parquet(known)})
    asked = [
        {"image": name, "question": "Is there a cat?", "answer": answer, "options": '["yes", "no"]', "type": "there"}
        for name, answer in (("a.png", "yes"), ("b.png", "no"))
    ]
    images = {"a.png": make_image(1, (64, 64)), "b.png": make_image(2, (64, 64))}
    put(folder / "asked", {**images, "asked.csv": _csv(asked), "asked.parquet": _parquet(asked)})
    heads = [{"layer": n // 8, "head": n % 8, "score": n / 32} for n in range(32)]
    put(folder / "ranking", {"heads.csv": _csv(heads), "heads.parquet": _parquet(heads)})


def _shards(folder: Path) -> None:
    folder.mkdir()
    members = {}
    for number, text in enumerate(TEXTS):
        members[f"{number}.png"] = make_image(number)
        members[f"{number}.txt"] = text.encode()
        members[f"{number}.json"] = json.dumps({"caption": text, "width": 31, "height": 24, "key": number}).encode()
    with tarfile.open(folder / "train-000.tar", "w") as file:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            file.addfile(member, io.BytesIO(data))


def _former(folder: Path) -> None:
    """Write results of earlier versions."""
    for place in (*sorted(FORMER.iterdir()), HUMAN_MASKS / "given", HUMAN_MASKS / "adapter", ODD_PIXELS):
        if place.is_dir():
            shutil.copytree(place, folder / place.name)
    shutil.copytree(resolve("toyworld:vlm"), folder / "model")


def _csv(rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _parquet(rows: list[dict[str, Any]]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), sink)
    return sink.getvalue()


def _jpeg(seed: int) -> bytes:
    sink = io.BytesIO()
    Image.open(io.BytesIO(make_image(seed))).save(sink, "JPEG")
    return sink.getvalue()


def _mask() -> bytes:
    sink = io.BytesIO()
    image = Image.new("L", (31, 24))
    image.paste(255, (2, 1, 7, 4))
    image.save(sink, "PNG")
    return sink.getvalue()

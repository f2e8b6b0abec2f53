"""Sources of some forty records, one of each kind that reads files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from datasetkit.options import Recipe
from tests.pipeline.builders import caption, coco_recipe, folder_recipe, image_entry, make_image, put, write_coco
from tests.sources.tables import plain_rows, write_rows
from tests.sources.test_remote import webdataset_files


def coco_of(folder: Path, count: int = 8, **options: Any) -> Recipe:
    images = [image_entry(n) for n in range(count)]
    source = write_coco(folder, images, None, [caption(50 + n, n) for n in range(count)])
    return coco_recipe(source, **{"part_size": 2, **options})


def source_of(folder: Path, name: str) -> tuple[Recipe, Path]:
    """Return a recipe of a source with about 40 records, and the file or folder of it that goes away."""
    if name == "coco":
        return coco_of(folder, 40, part_size=4), folder / "images"
    if name == "folder":
        put(folder / "in", {f"{n:02d}.png": make_image(n) for n in range(40)})
        return folder_recipe(folder / "in", part_size=4), folder / "in"
    if name == "parquet":
        for number in range(3):  # an open file stays readable
            write_rows(folder / f"in/{number}.parquet", plain_rows(40, first=40 * number))
        return Recipe.checked({"source": {"name": "parquet", "files": [folder / "in"]}, "part_size": 40}), folder / "in"
    webdataset_files(folder / "in")
    (folder / "in/part-002.tar").unlink()
    source = {"name": "webdataset", "shards": [folder / "in"]}
    return Recipe.checked({"source": source, "part_size": 2}), folder / "in"

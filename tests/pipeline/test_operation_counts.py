"""Builds do no work twice: decodes per image, checks of masks per record, flushes per part, bytes copied per image."""

from __future__ import annotations

import os
import tracemalloc
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ImageFile

from datasetkit.core.mask import Mask, run_lengths
from datasetkit.export.dataset.shards import ShardWriter
from datasetkit.options import Recipe
from datasetkit.options.build import RunOptions
from datasetkit.pipeline.build import build
from tests.core.images import encode, noise
from tests.export.folders import record, rows_of
from tests.pipeline.builders import caption, coco_recipe, image_entry, instance, records, write_coco

RECORDS = 6
OBJECTS = 3  # per record; all of them are key objects


@pytest.fixture(autouse=True)
def _no_description(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what is computed once per dataset, and not per record."""
    monkeypatch.setattr("datasetkit.pipeline.parts.describe", lambda *_: None)


def recipe_of(folder: Path, segmentation: Any = None, **options: Any) -> Recipe:
    shape = {} if segmentation is None else {"segmentation": segmentation}
    return coco_recipe(
        write_coco(
            folder,
            [image_entry(number, file_name=f"{number}.jpg") for number in range(RECORDS)],
            [instance(100 + number, number % RECORDS, **shape) for number in range(OBJECTS * RECORDS)],
            [caption(500 + number, number, "three cats") for number in range(RECORDS)],
            image_files={f"{number}.jpg": encode(noise((24, 31), number), "JPEG") for number in range(RECORDS)},
        ),
        **options,
    )


@pytest.mark.parametrize("overlay", [True, False])
def test_each_image_is_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overlay: bool) -> None:
    decoded: list[str] = []
    real = ImageFile.ImageFile.load

    def counted(image: ImageFile.ImageFile) -> Any:
        decoded.extend(["decoded"] * len(image.tile))
        return real(image)

    monkeypatch.setattr(ImageFile.ImageFile, "load", counted)
    build(recipe_of(tmp_path, overlay=overlay), RunOptions(out=tmp_path / "out", workers=1))
    assert len(decoded) == RECORDS


@pytest.mark.parametrize(
    ("overlay", "segmentation", "per_record"),
    [
        (False, None, 0),
        (True, None, OBJECTS),  # to draw them
        (False, Mask.from_array(np.eye(24, 31, dtype=np.bool_)).to_coco(), OBJECTS),  # to check what a file says
    ],
)
def test_masks_are_read_only_to_draw_or_check_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overlay: bool, segmentation: Any, per_record: int
) -> None:
    read: list[str] = []
    for module in ("mask", "drawing"):
        monkeypatch.setattr(
            f"datasetkit.core.{module}.run_lengths", lambda counts: read.append(counts) or run_lengths(counts)
        )
    recipe = recipe_of(tmp_path, segmentation, overlay=overlay)
    build(recipe, RunOptions(out=tmp_path / "out", workers=1))
    assert len(read) == per_record * RECORDS
    assert all(item.mask is not None for one in records(tmp_path / "out").values() for item in one.objects)


def test_part_is_flushed_in_five_steps_before_its_marker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[tuple[str, int]] = []
    sync, link = os.fsync, os.link

    def counted_sync(descriptor: int) -> None:
        sync(descriptor)
        steps.append(("flush", os.fstat(descriptor).st_ino))

    def counted_link(source: Path, target: Path) -> None:
        link(source, target)
        attempt = sorted(path for path in target.parent.glob("part-00000.*-*.parquet"))[0].name.split("-train")[0]
        names = {
            path.stat().st_ino: path.name.removeprefix(attempt) for path in target.parent.iterdir() if path != source
        }
        names[target.parent.stat().st_ino] = "folder"
        flushed.update(names.get(inode, "other") for _, inode in steps)
        last.append(names.get(steps[-1][1]))

    flushed: Counter[str] = Counter()
    last: list[str | None] = []
    recipe = recipe_of(tmp_path)
    monkeypatch.setattr(os, "fsync", counted_sync)
    monkeypatch.setattr(os, "link", counted_link)
    build(recipe, RunOptions(out=tmp_path / "out", workers=1))
    assert last == ["folder"]
    parts = {name: count for name, count in flushed.items() if name not in {"other", "state.json"}}
    assert parts == {"-train.parquet": 1, ".inputs": 1, ".jsonl": 1, "part-00000.json": 1, "folder": 1}


def test_images_are_copied_only_into_the_row_group(tmp_path: Path) -> None:
    rows = rows_of([record(number) for number in range(8)], overlay=False)
    for row in rows:
        row["image"] = {"bytes": os.urandom(2**20), "path": "1.jpg"}
    tracemalloc.start()  # traces memory of Python, and not that of Arrow
    try:
        with ShardWriter(tmp_path / "shard.parquet", overlay=False) as writer:
            for row in rows:
                writer.write(row)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 2**20

"""Small built folders for tests: synthetic records, rows that a test may damage, and all other files."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from datasetkit import __version__
from datasetkit.core.detections import ModelIdentity
from datasetkit.core.drawing import draw_overlay, encode_jpeg
from datasetkit.core.files import file_sha256
from datasetkit.core.ledger import Drop, Notice, Scope, Tally
from datasetkit.core.mask import Mask
from datasetkit.core.record import (
    Candidate,
    EncodedImage,
    KeyObject,
    ObjectStatus,
    Phrase,
    PhraseStatus,
    Provenance,
    Question,
    Record,
)
from datasetkit.core.schema import SCHEMA_VERSION, record_to_row
from datasetkit.export.card.describe import describe
from datasetkit.export.card.render import render_card
from datasetkit.export.dataset.manifest import LEDGER_NAME, Manifest, Part, Shard, shard_path
from datasetkit.export.dataset.shards import ShardWriter
from datasetkit.export.statistics.counter import compute_statistics
from datasetkit.export.statistics.statistics import Statistics

Row = dict[str, Any]
RECIPE = {
    "source": {"name": "coco", "images": "train2017", "instances": "instances.json", "captions": "captions.json"},
    "splits": None,
    "license": None,
    "overlay": True,
    "limits": {"max_bytes": 2**26, "max_pixels": 10**8},
}


def png(size_hw: tuple[int, int], seed: int = 0) -> EncodedImage:
    """Return noise, different for every seed."""
    pixels = np.random.default_rng(seed).integers(0, 256, (*size_hw, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return EncodedImage(buffer.getvalue(), f"{seed}.png", size_hw[1], size_hw[0])


def box_mask(size_hw: tuple[int, int], top: int, left: int, height: int, width: int) -> Mask:
    array = np.zeros(size_hw, dtype=np.bool_)
    array[top : top + height, left : left + width] = True
    return Mask.from_array(array)


def record(number: int, *, license_name: str = "cc-by-4.0", image: EncodedImage | None = None) -> Record:
    """Return a record of 24 x 32 px with two cats, an unmentioned dog, and phrases of every status."""
    image = image or png((24, 32), number)
    description = "Two cats watch a man from the top."
    objects = (
        KeyObject(0, box_mask(image.size_hw, 1, 1, 8, 8), "cat", True, 0.9, status=ObjectStatus.MENTIONED),
        KeyObject(1, box_mask(image.size_hw, 12, 2, 6, 9), "cat", True, 0.5, status=ObjectStatus.MENTIONED),
        KeyObject(2, box_mask(image.size_hw, 2, 20, 20, 10), "person", status=ObjectStatus.CANDIDATE),
        KeyObject(5, box_mask(image.size_hw, 20, 0, 2, 2), None, is_crowd=True),
    )
    phrases = (
        Phrase("Two cats", 0, 8, object_ids=(0, 1), score=0.75, status=PhraseStatus.MATCHED),
        Phrase(
            "a man",
            15,
            20,
            candidates=(Candidate(2, 0.5),),
            status=PhraseStatus.AMBIGUOUS,
            reason="several_candidates",
        ),
        Phrase("the top", 26, 33, status=PhraseStatus.NOT_AN_OBJECT, reason="abstract_noun"),
    )
    return Record(
        record_id=f"record {number}",
        image_id=f"image {number}",
        image=image,
        description=description,
        source=Provenance(f"train2017/{number}.png", license_name, hashlib.sha256(image.data).hexdigest()),
        objects=objects,
        phrases=phrases,
        questions=(Question("Is there a cat?", "yes", "existence", ("yes", "no"), (0,)),),
    )


def bare_record(number: int) -> Record:
    """Return a record without any annotation."""
    image = png((32, 24), number)
    sha256 = hashlib.sha256(image.data).hexdigest()
    return Record(f"record {number}", f"image {number}", image, None, Provenance(f"{number}.png", "unknown", sha256))


def overlay_of(item: Record) -> bytes:
    pixels = Image.open(io.BytesIO(item.image.data)).convert("RGB")
    return encode_jpeg(draw_overlay(pixels, item.key_objects))


def rows_of(records: Sequence[Record], *, overlay: bool = True) -> list[Row]:
    return [record_to_row(item, overlay_of(item) if overlay else None) for item in records]


def write_folder(
    folder: Path,
    splits: Mapping[str, Sequence[Sequence[Row]]],
    *,
    drops: Sequence[Drop] = (),
    notices: Sequence[Notice] = (),
    recipe: Mapping[str, Any] = RECIPE,
    models: tuple[ModelIdentity, ...] = (),
    described: bool = True,
) -> Manifest:
    """Write a whole built folder.

    Args:
        folder: output folder, created if missing.
        splits: each split's shards, each a list of rows.
        drops: dropped items.
        notices: notices about the records.
        recipe: the published recipe.
        models: the weights in use; with any, the objects are detections.
        described: whether statistics, plots and card are made, too.

    """
    (folder / "data").mkdir(parents=True)
    shards, rows, objects = [], 0, 0
    for split, groups in splits.items():
        for index, group in enumerate(groups):
            path = shard_path(split, index, len(groups))
            with ShardWriter(folder / path, overlay=all("overlay" in row for row in group)) as writer:
                for row in group:
                    writer.write(row)
            size = writer.close()
            shards.append(Shard(path, split, size.rows, size.bytes, file_sha256(folder / path)))
            rows += len(group)
            objects += sum(len(row["objects"]) for row in group)
    tally = Tally()
    counts: dict[Scope, int] = {"record": rows, "detection" if models else "annotation": objects}
    tally.kept.update(counts)
    tally.read.update(counts)
    tally.notices.update(notice.kind for notice in notices)
    lines: list[dict[str, Any]] = []
    for drop in drops:
        tally.read[drop.scope] += 1
        tally.add_drop(drop)
        what = {"scope": drop.scope, "id": drop.item_id, "reason": drop.reason, "detail": drop.detail}
        lines.append({"part": 0, "event": "dropped", **what})
    lines += [{"part": 0, "event": "notice", "record_id": item.record_id, "kind": item.kind} for item in notices]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / LEDGER_NAME).write_text(text, encoding="utf-8")
    parts = (Part(0, tuple(shards), tally),)
    manifest = Manifest(SCHEMA_VERSION, __version__, "0" * 64, recipe, parts, Tally(), models)
    manifest.write(folder)
    return describe(folder, manifest, compute_statistics(folder, manifest)) if described else manifest


def refit(folder: Path) -> None:
    """Make manifest and card match the shards, so that only their contents are wrong."""
    manifest = Manifest.read(folder)
    parts = tuple(
        replace(
            part,
            shards=tuple(
                replace(
                    shard,
                    bytes=(folder / shard.path).stat().st_size,
                    sha256=file_sha256(folder / shard.path),
                )
                for shard in part.shards
            ),
        )
        for part in manifest.parts
    )
    manifest = replace(manifest, parts=parts)
    manifest.write(folder)
    (folder / "README.md").write_text(render_card(manifest, Statistics.read(folder)))

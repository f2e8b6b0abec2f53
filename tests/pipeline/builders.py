"""Small inputs on disk, builds of them, and the one checker of a build's account."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from datasetkit.core.ledger import SCOPES, Tally
from datasetkit.core.record import Record
from datasetkit.core.schema import row_to_record
from datasetkit.export.dataset.manifest import LEDGER_NAME, STATISTICS_NAME, Manifest
from datasetkit.export.dataset.reading import iter_shard
from datasetkit.export.statistics.counter import compute_statistics
from datasetkit.options import Recipe
from datasetkit.options.build import RunOptions
from datasetkit.pipeline.build import build
from tests.core.images import encode, noise

BOX = [[2, 1, 7, 1, 7, 4, 2, 4]]
CATEGORIES = [{"id": 17, "name": "cat"}, {"id": 18, "name": "dog"}, {"id": 1, "name": "person"}]
Json = dict[str, Any]


def make_image(seed: int = 0, size_hw: tuple[int, int] = (24, 31), **how: Any) -> bytes:
    return encode(noise(size_hw, seed), "PNG", **how)


def put(folder: Path, files: Mapping[str, bytes | str]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def image_entry(image_id: int, **more: Any) -> Json:
    return {"id": image_id, "file_name": f"{image_id}.png", "height": 24, "width": 31} | more


def instance(annotation_id: int, image_id: Any, **more: Any) -> Json:
    return {"id": annotation_id, "image_id": image_id, "category_id": 17, "segmentation": BOX, "iscrowd": 0} | more


def caption(annotation_id: int, image_id: Any, text: Any = "a cat on a mat") -> Json:
    return {"id": annotation_id, "image_id": image_id, "caption": text}


def write_coco(
    folder: Path,
    images: Sequence[Any],
    instances: Sequence[Any] | None = (),
    captions: Sequence[Any] | None = (),
    *,
    image_files: Mapping[str, bytes] | None = None,
    **more: Any,
) -> Json:
    """Write a COCO set; return the source's options. Images are written for every entry unless they are given."""
    if image_files is None:
        image_files = {entry["file_name"]: make_image(entry["id"]) for entry in images}
    (folder / "images").mkdir(parents=True)
    put(folder / "images", image_files)
    options: Json = {"name": "coco", "images": folder / "images"}
    for key, items in (("instances", instances), ("captions", captions)):
        if items is not None:
            document = {"images": images, "annotations": items, "categories": CATEGORIES} | more
            options[key] = folder / f"{key}.json"
            options[key].write_text(json.dumps(document), encoding="utf-8")
    return options


def folder_recipe(folder: Path, **options: Any) -> Recipe:
    source = {name: options.pop(name) for name in ("caption_column", "require_description") if name in options}
    return Recipe.checked({"source": {"name": "folder", "folder": folder, **source}, **options})


def coco_recipe(source: Json, **options: Any) -> Recipe:
    return Recipe.checked({"source": source, **options})


def built(recipe: Recipe, out: Path, **how: Any) -> tuple[Manifest, dict[str, Record]]:
    """Build, check the account, and return the manifest and the records by id."""
    manifest = build(recipe, RunOptions(out=out, **{"workers": 2, **how}))
    check_account(out)
    return manifest, records(out)


def records(out: Path) -> dict[str, Record]:
    manifest = Manifest.read(out)
    rows = (row for shard in manifest.shards for row in iter_shard(out / shard.path))
    return {row["record_id"]: row_to_record(row) for row in rows}


def ledger(out: Path, event: str = "dropped") -> list[Json]:
    lines = (out / LEDGER_NAME).read_text(encoding="utf-8").split("\n")
    return [line for line in map(json.loads, lines[:-1]) if line["event"] == event]


def reasons(out: Path, scope: str = "record") -> dict[str, str]:
    return {line["id"]: line["reason"] for line in ledger(out) if line["scope"] == scope}


def check_account(out: Path) -> None:
    """Check that kept and dropped add up to read, scope by scope, and that shards, ledger and statistics agree."""
    manifest = Manifest.read(out)
    parts = Tally()
    for part in manifest.parts:
        parts.update(part.tally)
        assert_adds_up(part.tally)
        assert sum(shard.rows for shard in part.shards) == part.tally.kept["record"]
    parts.update(manifest.stray)
    assert parts.to_json() == manifest.tally.to_json()
    assert_adds_up(manifest.tally)
    found = [row_to_record(row) for shard in manifest.shards for row in iter_shard(out / shard.path)]
    assert len(found) == len({record.record_id for record in found}) == manifest.tally.kept["record"]
    objects = manifest.tally.kept["annotation"] + manifest.tally.kept["detection"]
    assert sum(len(record.objects) for record in found) == objects
    for scope in SCOPES:
        lines = Counter(line["reason"] for line in ledger(out) if line["scope"] == scope)
        assert lines == Counter({str(reason): n for reason, n in manifest.tally.dropped[scope].items()})
    notices = Counter(line["kind"] for line in ledger(out, "notice"))
    assert notices == Counter({str(kind): n for kind, n in manifest.tally.notices.items()})
    counted = json.dumps(compute_statistics(out, manifest).to_json(), indent=1, ensure_ascii=False)
    assert (out / STATISTICS_NAME).read_text(encoding="utf-8") == f"{counted}\n", "parts leave the counts of their rows"
    assert not list(out.rglob(".build*"))


def assert_adds_up(tally: Tally) -> None:
    for scope in SCOPES:
        assert tally.kept[scope] + sum(tally.dropped[scope].values()) == tally.read[scope]


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder by its name, to compare whole folders."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}

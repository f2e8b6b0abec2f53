"""What a reader has before the first line of a page: photographs, a bucket, and checkpoints on a Hub.

Checkpoints have the names and revisions that pages and presets type, and are tiny ones of the same classes.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from datasetkit.options import presets
from datasetkit.runtime.checkpoints import resolve
from tests.buckets import Bucket, ObjectStore
from tests.conftest import REPOSITORY
from tests.hi_scoring.tiny_models import tiny
from tests.hub.server import HubServer

PHOTOGRAPHS = REPOSITORY / "examples" / "photographs"
BUCKET = "my-bucket"
PRESET = "grounded-sam"
VISION_LANGUAGE = "llava-hf/llava-1.5-7b-hf"
# By the class of a preset's models, as the preset names it.
_SHIPPED = {"grounding-dino": "toyworld:detector", "sam": "toyworld:segmenter"}


def provide(text: str, folder: Path, hub: HubServer, store: ObjectStore) -> None:
    """Lay out what a page's text names.

    Args:
        text: of the page.
        folder: that the reader is in.
        hub: that commands talk to.
        store: that commands talk to.

    """
    (folder / "examples").symlink_to(REPOSITORY / "examples")
    if "photos" in text:
        lay_out_photographs(folder / "photos")
    if BUCKET in text:
        _empty(store)
    for model, revision, files in checkpoints():
        if model in text or PRESET in text:
            repository = hub.create(model, repo_type="model")
            repository.write(files)
            repository.tags[revision] = repository.head


def _empty(store: ObjectStore) -> None:
    """Leave one empty bucket."""
    names = [found["Name"] for found in store.client.list_buckets()["Buckets"]]
    if BUCKET not in names:
        Bucket.create(store, BUCKET)
    for page in store.client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET):
        for found in page.get("Contents", ()):
            store.client.delete_object(Bucket=BUCKET, Key=found["Key"])


def lay_out_photographs(folder: Path) -> None:
    """Copy the photographs of the examples, without what is known of them."""
    folder.mkdir()
    for path in PHOTOGRAPHS.iterdir():
        if path.suffix in {".jpg", ".png"}:
            shutil.copy(path, folder)


@cache
def checkpoints() -> list[tuple[str, str, dict[str, bytes]]]:
    """Every model that pages may name: its repository, the revision that its preset pins, and its files."""
    text = (Path(presets.__file__).parent / f"{PRESET}.yaml").read_text(encoding="utf-8")
    parts: list[dict[str, Any]] = [part for part in yaml.safe_load(text).values() if "model" in part]
    found = [(part["model"], part.get("revision", "main"), dict(_files(part["name"]))) for part in parts]
    return [*found, (VISION_LANGUAGE, "main", dict(_read(Path(resolve("toyworld:vlm")))))]


def _files(kind: str) -> Iterator[tuple[str, bytes]]:
    if kind in _SHIPPED:
        yield from _read(Path(resolve(_SHIPPED[kind])))
        return
    with tempfile.TemporaryDirectory() as folder:
        family = tiny("idefics3")
        family.model.save_pretrained(folder)
        family.processor.save_pretrained(folder)
        yield from _read(Path(folder))


def _read(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in folder.rglob("*"):
        if path.is_file() and path.name != "README.md":
            yield path.relative_to(folder).as_posix(), path.read_bytes()

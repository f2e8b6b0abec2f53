"""Sources in an object store: a dataset built from them has the same bytes as one built from local files."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from datasetkit.core.errors import SourceError, UnusableError
from datasetkit.core.ledger import DropReason
from datasetkit.core.paths import as_place
from datasetkit.core.remote import RemotePath
from datasetkit.options import Recipe
from datasetkit.options.build import RunOptions
from datasetkit.options.sources import CocoOptions
from datasetkit.pipeline.build import build
from datasetkit.sources.coco import CocoSource
from datasetkit.sources.files import list_shards
from tests.buckets import Bucket
from tests.pipeline.builders import (
    Json,
    built,
    caption,
    contents,
    image_entry,
    instance,
    ledger,
    make_image,
    put,
    reasons,
    write_coco,
)
from tests.sources.tables import plain_rows, write_rows

pytestmark = pytest.mark.slow

RECIPE_FILES = {"README.md", "manifest.json", "recipe.yaml"}


def coco_files(folder: Path) -> Json:
    write_coco(
        folder,
        [image_entry(n) for n in range(4)],
        [instance(10 + n, n % 5) for n in range(6)],
        [caption(20 + n, n, f"a cat number {n} \u00e9") for n in range(4)],
        image_files={f"{n}.png": make_image(n) for n in (0, 1, 3)},
    )
    return {"images": "images", "instances": "instances.json", "captions": "captions.json"}


def folder_files(folder: Path) -> Json:
    lines = [{"file_name": "A", "text": "a cat"}, {"file_name": "../secret.png", "text": "a dog"}]
    put(folder / "images", {f"{name}.png": make_image(n) for n, name in enumerate(["a", "test/b", "c #1?%20", ".d"])})
    put(folder / "images", {"metadata.jsonl": "\n".join(map(json.dumps, lines))})
    put(folder / "images/test", {"metadata.csv": 'file_name,text\nb.png,"a cat, and ""a dog"""\n'})
    put(folder / "images", {"broken.png": make_image(9)[:200], "notes.txt": "nothing", "c #1?%20.txt": "a text"})
    write_rows(folder / "images/more/metadata.parquet", [{"file_name": "e.png", "text": "a bird"}])
    put(folder / "images/more", {"e.png": make_image(5)})
    return {"folder": "images"}


def parquet_files(folder: Path) -> Json:
    write_rows(folder / "data/train-00000-of-00001.parquet", plain_rows(40), row_group_size=7)
    write_rows(folder / "more/test.parquet", plain_rows(3, first=50))
    return {"files": ["data", "more/test.parquet"]}


def webdataset_files(folder: Path) -> Json:
    for shard in range(3):
        path = folder / f"part-{shard:03d}.tar"
        path.parent.mkdir(exist_ok=True)
        with tarfile.open(path, "w") as tar:
            for number in range(3):
                texts = {"txt": b"a cat", "json": json.dumps({"license": "cc0-1.0"}).encode()}
                for ending, data in {"png": make_image(10 * shard + number), **texts}.items():
                    member = tarfile.TarInfo(f"{number:04d}.{ending}")
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))
    cut = folder / "part-002.tar"
    cut.write_bytes(cut.read_bytes()[:6000])
    return {"shards": ["part-{000..002}.tar"]}


SOURCES = {"coco": coco_files, "folder": folder_files, "parquet": parquet_files, "webdataset": webdataset_files}


def recipe(name: str, base: str, options: Json) -> Recipe:
    def located(value: Any) -> Any:
        return [f"{base}/{item}" for item in value] if isinstance(value, list) else f"{base}/{value}"

    source = {"name": name, **{option: located(value) for option, value in options.items()}}
    return Recipe.checked({"source": source, "part_size": 3})


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.slow
def test_build_from_a_bucket_equals_a_local_build(bucket: Bucket, tmp_path: Path, name: str) -> None:
    options = SOURCES[name](tmp_path / "in")
    address = bucket.upload(tmp_path / "in", "deep/er")
    here, _ = built(recipe(name, str(tmp_path / "in"), options), tmp_path / "here")
    there, _ = built(recipe(name, address, options), tmp_path / "there")
    assert there.tally.kept["record"] >= 3
    assert there.source_fingerprint == here.source_fingerprint
    assert there.parts == here.parts
    files, remote = contents(tmp_path / "here"), contents(tmp_path / "there")
    assert files.keys() == remote.keys()
    assert [name for name in files if files[name] != remote[name]] == sorted(RECIPE_FILES & files.keys())
    assert {**there.recipe, "source": None} == {**here.recipe, "source": None}
    again = Recipe.read(tmp_path / "there/recipe.yaml", tmp_path / "elsewhere")
    build(again, RunOptions(out=tmp_path / "again", workers=2))
    assert contents(tmp_path / "again") == remote


@pytest.mark.parametrize("name", SOURCES)
def test_changed_file_changes_the_fingerprint(bucket: Bucket, tmp_path: Path, name: str) -> None:
    options = SOURCES[name](tmp_path / "in")
    address = bucket.upload(tmp_path / "in", "data")
    first, _ = built(recipe(name, address, options), tmp_path / "first")
    changes: dict[str, Callable[[], None]] = {
        "coco": lambda: bucket.write("data/captions.json", (tmp_path / "in/captions.json").read_bytes() + b" "),
        "folder": lambda: bucket.write("data/images/new.png", make_image(77)),
        "parquet": lambda: bucket.write("data/data/new.parquet", (tmp_path / "in/more/test.parquet").read_bytes()),
        "webdataset": lambda: bucket.write("data/part-001.tar", (tmp_path / "in/part-000.tar").read_bytes()[:-512]),
    }
    changes[name]()
    second, _ = built(recipe(name, address, options), tmp_path / "second")
    assert first.source_fingerprint != second.source_fingerprint


@pytest.mark.parametrize(
    "name",
    [
        "../secret.png",
        "/secret.png",
        "//secret.png",
        "a/../../secret.png",
        "s3://other/secret.png",
        "x::file:///etc/passwd",
    ],
)
@pytest.mark.slow
def test_no_name_leads_out_of_the_folder(bucket: Bucket, tmp_path: Path, name: str) -> None:
    options = write_coco(tmp_path / "in", [image_entry(1, file_name=name)], image_files={})
    bucket.write("secret.png", make_image())
    bucket.write("etc/passwd", make_image())
    bucket.write("images/a.png", make_image())
    images = as_place(bucket.address("images"))
    source = CocoSource(CocoOptions(images=images, instances=options["instances"]))
    (entry,) = source.entries()
    with pytest.raises(UnusableError) as caught:
        source.read(entry)
    assert caught.value.reason in {DropReason.PATH_ESCAPES, DropReason.MISSING}
    assert (caught.value.reason is DropReason.MISSING) == ("://" in name)


def test_image_over_the_limit_is_not_fetched(bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "in", {"small.png": make_image(1, (4, 4)), "large.png": make_image(2, (90, 90))})
    address = bucket.upload(tmp_path / "in", "images")
    fetched: list[str] = []
    read = RemotePath.read_range

    def watched(path: RemotePath, start: int, end: int) -> bytes:
        fetched.append(path.name)
        return read(path, start, end)

    monkeypatch.setattr(RemotePath, "read_range", watched)
    value = {"source": {"name": "folder", "folder": address}, "limits": {"max_bytes": 1000}}
    built(Recipe.checked(value), tmp_path / "out")
    assert fetched == ["small.png"]
    assert reasons(tmp_path / "out") == {"large.png": DropReason.TOO_MANY_BYTES}


def test_local_and_remote_files_are_not_mixed(bucket: Bucket, tmp_path: Path) -> None:
    path = write_rows(tmp_path / "rows.parquet", plain_rows(1))
    bucket.write("rows.parquet", path.read_bytes())
    with pytest.raises(SourceError, match="some files are local and some remote"):
        list_shards([path, as_place(bucket.address("rows.parquet"))], ".parquet")


def test_remote_images_with_local_annotations(bucket: Bucket, tmp_path: Path) -> None:
    options = coco_files(tmp_path / "in")
    address = bucket.upload(tmp_path / "in/images", "images")
    paths = {key: tmp_path / "in" / options[key] for key in ("instances", "captions")}
    value = Recipe.checked({"source": {"name": "coco", "images": address, **paths}})
    manifest, _ = built(value, tmp_path / "out")
    assert manifest.tally.kept["record"] == 3
    assert manifest.recipe["source"]["images"] == address
    assert manifest.recipe["source"]["instances"] == "instances.json"
    assert [line["reason"] for line in ledger(tmp_path / "out") if line["scope"] == "record"] == ["missing"]

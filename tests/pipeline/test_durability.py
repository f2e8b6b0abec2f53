"""Builds that never lose anything: retries, replacements and updates whose source is missing, partly or changed."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

import pytest

from datasetkit.core.errors import OutputError, SourceFailedError
from datasetkit.export.dataset.manifest import Manifest
from datasetkit.export.output.accounts import accounts_path
from datasetkit.export.output.folder import is_unfinished
from datasetkit.export.verification.files import FolderFiles
from datasetkit.export.verification.verify import verify_files
from datasetkit.options.build import RunOptions
from datasetkit.pipeline.build import build
from datasetkit.pipeline.progress import Progress
from datasetkit.sources.coco import CocoSource
from tests.pipeline.builders import built, contents, folder_recipe, make_image, put, reasons
from tests.pipeline.sources import coco_of, source_of
from tests.sources.tables import plain_rows, write_rows

pytestmark = pytest.mark.slow


class StoppedError(Exception):
    """Raised by a test to end a build."""


def image(folder: Path, number: int) -> Path:
    return folder / "images" / f"{number}.png"


def stop_at(done: int) -> Any:
    def stop(progress: Progress) -> None:
        if progress.done == done:
            raise StoppedError

    return stop


def published(out: Path) -> dict[str, bytes]:
    """Return what a reader sees in OUT, which must be valid."""
    assert not is_unfinished(out)
    assert list(verify_files(FolderFiles(out))) == []
    return {name: data for name, data in contents(out).items() if not name.startswith(".build")}


def test_retry_never_shrinks_a_part(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    recipe, out = coco_of(tmp_path), tmp_path / "out"
    for number in (1, 2):
        image(tmp_path, number).unlink()
    built(recipe, out)
    for number in (1, 2):
        image(tmp_path, number).write_bytes(make_image(number))
    image(tmp_path, 3).unlink()
    with caplog.at_level(logging.WARNING):
        _, found = built(recipe, out, retry_failed=True)
    assert list(found) == ["0", "1", "3", "4", "5", "6", "7"], "part 0 gained 1; part 1 would gain 2 and lack 3"
    assert caplog.messages[-1] == "part 1 is kept as it was: rebuilt, it would lack 3 ('3.png' is not there)"
    image(tmp_path, 3).write_bytes(make_image(3))
    built(recipe, out, retry_failed=True)
    built(recipe, tmp_path / "anew")
    assert published(out) == published(tmp_path / "anew")


@pytest.mark.parametrize("how", [{"retry_failed": True}, {"overwrite": True}])
def test_published_dataset_stays_until_replaced(tmp_path: Path, how: dict[str, bool]) -> None:
    recipe, out = coco_of(tmp_path), tmp_path / "out"
    image(tmp_path, 5).unlink()
    built(recipe, out)
    before = published(out)
    image(tmp_path, 5).write_bytes(make_image(5))
    with pytest.raises(StoppedError):
        build(recipe, RunOptions(out=out, workers=2, **how), stop_at(6))
    assert published(out) == before
    _, found = built(recipe, out)
    assert len(found) == 8, "the plain command goes on"
    built(recipe, tmp_path / "anew")
    assert published(out) == published(tmp_path / "anew")


def test_begun_replacement_can_be_abandoned(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    recipe, out = coco_of(tmp_path), tmp_path / "out"
    image(tmp_path, 5).unlink()
    built(recipe, out)
    before = published(out)
    other = recipe.model_copy(update={"limit": 4})
    with pytest.raises(StoppedError):
        build(other, RunOptions(out=out, workers=2, overwrite=True), stop_at(2))
    with caplog.at_level(logging.WARNING):
        build(recipe, RunOptions(out=out, workers=2))
    assert "is unfinished" in caplog.messages[0]
    assert published(out) == before
    _, found = built(other, out)
    assert len(found) == 4


def test_interrupted_exchange_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe, out = coco_of(tmp_path), tmp_path / "out"

    def stop(*_: object) -> None:
        raise StoppedError

    with monkeypatch.context() as patch:
        patch.setattr("datasetkit.export.output.folder_exchange.finish", stop)
        with pytest.raises(StoppedError):
            build(recipe, RunOptions(out=out, workers=2))
    assert is_unfinished(out)
    _, found = built(recipe, out)
    assert len(found) == 8
    image(tmp_path, 5).write_bytes(make_image(9))
    with pytest.raises(OutputError, match="--update"):
        build(recipe, RunOptions(out=out, workers=2))


def test_replacement_keeps_unreadable_records(tmp_path: Path) -> None:
    recipe, out = coco_of(tmp_path), tmp_path / "out"
    built(recipe, out)
    before = published(out)
    whole = image(tmp_path, 5).read_bytes()
    image(tmp_path, 5).write_bytes(whole[:-200])
    for _ in range(2):
        with pytest.raises(
            SourceFailedError, match=r"1 record of the dataset in .*out could not be read this time: 5 \(trunc"
        ):
            build(recipe.model_copy(update={"overlay": False}), RunOptions(out=out, workers=2, overwrite=True))
        assert published(out) == before
    image(tmp_path, 5).write_bytes(whole)
    without = recipe.model_copy(update={"overlay": False})
    built(without, out)
    built(without, tmp_path / "anew")
    assert published(out) == published(tmp_path / "anew")


def test_smaller_build_may_replace_a_larger_one(tmp_path: Path) -> None:
    recipe, out = coco_of(tmp_path), tmp_path / "out"
    built(recipe, out)
    image(tmp_path, 0).unlink()
    assert len(built(recipe.model_copy(update={"limit": 3}), tmp_path / "three")[1]) == 2
    image(tmp_path, 0).write_bytes(make_image(0))
    assert len(built(recipe.model_copy(update={"limit": 3}), out, overwrite=True)[1]) == 3


def test_unfinished_build_resumes_before_it_retries(tmp_path: Path) -> None:
    recipe, out = coco_of(tmp_path), tmp_path / "out"
    image(tmp_path, 1).unlink()
    with pytest.raises(StoppedError):
        build(recipe, RunOptions(out=out, workers=2), stop_at(5))
    image(tmp_path, 1).write_bytes(make_image(1))
    assert len(built(recipe, out, retry_failed=True)[1]) == 8
    assert reasons(out) == {}
    assert len(Manifest.read(out).parts) == 4


def rewrite(path: Path, data: bytes) -> None:
    """Write a file again, with another modification time."""
    path.write_bytes(data)
    os.utime(path, ns=(1, 1_000_000_000 + path.stat().st_mtime_ns))


def changed_file(folder: Path, name: str) -> None:
    """Change one input of a source, without changing its index if possible."""
    if name == "coco":
        return rewrite(folder / "images/5.png", make_image(50))
    if name == "folder":
        return rewrite(folder / "in/05.png", make_image(50))
    path = folder / ("in/0.parquet" if name == "parquet" else "in/part-001.tar")
    if name == "parquet":
        return write_rows(path, plain_rows(40, first=500))
    return rewrite(path, path.read_bytes().replace(b"a cat", b"a dog"))


@pytest.mark.parametrize("name", ["coco", "folder", "parquet", "webdataset"])
def test_changed_file_is_noticed_and_updated(tmp_path: Path, name: str) -> None:
    recipe, _ = source_of(tmp_path, name)
    out = tmp_path / "out"
    built(recipe, out)
    before = published(out)
    changed_file(tmp_path, name)
    for how in ({}, {"retry_failed": True}):
        named = r"the source has changed since \(.*(5\.png|0\.parquet|001\.tar) has .*--update"
        with pytest.raises(OutputError, match=named):
            build(recipe, RunOptions(out=out, workers=2, **how))
    assert published(out) == before
    built(recipe, out, update=True)
    built(recipe, tmp_path / "anew")
    assert published(out) == published(tmp_path / "anew") != before
    assert accounts_path(out).read_text().count("\n") == len(Manifest.read(out).parts)


def test_changed_time_only_is_not_a_change(tmp_path: Path) -> None:
    recipe, out = coco_of(tmp_path), tmp_path / "out"
    built(recipe, out)
    for number in range(8):
        rewrite(image(tmp_path, number), make_image(number))
    rewrite(tmp_path / "captions.json", (tmp_path / "captions.json").read_bytes())
    stamps = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    for how in ({}, {"update": True}, {"retry_failed": True}):
        built(recipe, out, **how)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == stamps


def test_only_changed_parts_are_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe, out = coco_of(tmp_path), tmp_path / "out"
    built(recipe, out)
    rewrite(image(tmp_path, 5), make_image(55))
    read: list[str] = []
    real = CocoSource.read

    def counted(self: CocoSource, entry: Any) -> Any:
        read.append(entry.record_id)
        return real(self, entry)

    monkeypatch.setattr(CocoSource, "read", counted)
    built(recipe, out, update=True)
    assert sorted(read) == ["4", "5"]


def test_changed_index_is_named_and_updated(tmp_path: Path) -> None:
    recipe, out = coco_of(tmp_path), tmp_path / "out"
    built(recipe, out)
    path = tmp_path / "captions.json"
    rewrite(path, path.read_bytes().replace(b"mat", b"rug"))
    with pytest.raises(OutputError, match=r"the source has changed since \(captions has other content\); --update"):
        build(recipe, RunOptions(out=out, workers=2))
    _, found = built(recipe, out, update=True)
    assert {record.description for record in found.values()} == {"a cat on a rug"}


def test_added_and_removed_images_are_named(tmp_path: Path) -> None:
    folder = put(tmp_path / "in", {f"{n}.png": make_image(n) for n in range(6)})
    recipe, out = folder_recipe(folder, part_size=2), tmp_path / "out"
    built(recipe, out)
    put(folder, {"00.png": make_image(9)})
    (folder / "3.png").unlink()
    with pytest.raises(OutputError, match=r"since \(00\.png is new, 3\.png is gone\)"):
        build(recipe, RunOptions(out=out, workers=2))
    _, found = built(recipe, out, update=True)
    assert list(found) == ["0.png", "00.png", "1.png", "2.png", "4.png", "5.png"]
    built(recipe, tmp_path / "anew")
    assert published(out) == published(tmp_path / "anew")


def test_images_of_a_table_that_came_back_are_retried(tmp_path: Path) -> None:
    rows = "".join(json.dumps({"file_name": f"{n}.png", "text": "A cat.", "split": "test"}) + "\n" for n in range(4))
    files = {f"sub/{n}.png": make_image(n) for n in range(4)} | {"sub/metadata.jsonl": rows}
    recipe, out = folder_recipe(put(tmp_path / "in", files), part_size=2), tmp_path / "out"
    built(recipe, tmp_path / "whole")
    for number in (1, 2):
        (tmp_path / "in" / "sub" / f"{number}.png").unlink()
    assert len(built(recipe, out)[1]) == 2
    put(tmp_path / "in", files)
    assert len(built(recipe, out)[1]) == 2
    built(recipe, out, retry_failed=True)
    assert published(out) == published(tmp_path / "whole")


def test_fewer_records_than_before_are_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = put(tmp_path / "in", {f"{n}.png": make_image(n) for n in range(3)})
    built(folder_recipe(folder), tmp_path / "out")
    (folder / "1.png").unlink()
    built(folder_recipe(folder), tmp_path / "out", overwrite=True)
    assert caplog.messages == [f"{tmp_path / 'out'} held 3 records before, and now holds 2"]


def test_update_keeps_unreadable_records(tmp_path: Path) -> None:
    recipe, out = coco_of(tmp_path), tmp_path / "out"
    built(recipe, out)
    before = published(out)
    rewrite(image(tmp_path, 4), make_image(44))
    image(tmp_path, 5).unlink()
    with pytest.raises(SourceFailedError, match=r"5 \(missing\)"):
        build(recipe, RunOptions(out=out, workers=2, update=True))
    assert published(out) == before
    image(tmp_path, 5).write_bytes(make_image(5))
    built(recipe, out)
    built(recipe, tmp_path / "anew")
    assert published(out) == published(tmp_path / "anew")


def test_unfinished_build_rereads_changed_parts(tmp_path: Path) -> None:
    recipe, out = coco_of(tmp_path), tmp_path / "out"
    with pytest.raises(StoppedError):
        build(recipe, RunOptions(out=out, workers=1), stop_at(6))
    rewrite(image(tmp_path, 1), make_image(11))
    path = tmp_path / "captions.json"
    built(recipe, out)
    built(recipe, tmp_path / "anew")
    assert published(out) == published(tmp_path / "anew")
    with pytest.raises(StoppedError):
        build(recipe, RunOptions(out=tmp_path / "other", workers=1), stop_at(6))
    rewrite(path, path.read_bytes().replace(b"mat", b"rug"))
    _, found = built(recipe, tmp_path / "other")
    assert {record.description for record in found.values()} == {"a cat on a rug"}


def test_missing_input_records_are_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    recipe, out = coco_of(tmp_path), tmp_path / "out"
    built(recipe, out)
    before = published(out)
    accounts_path(out).unlink()
    with caplog.at_level(logging.INFO, "datasetkit"):
        built(recipe, out)
    assert "--update rebuilds it and records them" in caplog.messages[0]
    built(recipe, out, update=True)
    assert accounts_path(out).exists()
    assert published(out) == before

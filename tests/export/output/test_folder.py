"""OUT: what is refused, replaced and kept, and builds that end at any moment."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from datasetkit.core.detections import ModelIdentity
from datasetkit.core.errors import OutputError
from datasetkit.core.ledger import Drop, DropReason
from datasetkit.export.card.describe import describe
from datasetkit.export.dataset.manifest import Manifest
from datasetkit.export.output.folder import BuildFolder
from datasetkit.export.output.identity import BuildIdentity
from datasetkit.export.output.part import Outcome, PartWriter
from datasetkit.export.statistics.statistics import Statistics
from tests.conftest import REPOSITORY
from tests.export.folders import record, rows_of
from tests.pipeline.builders import built, contents, folder_recipe, ledger, make_image, put

DETECTOR = ModelIdentity("detector", "toyworld:detector", None, "0" * 64)
SEGMENTER = ModelIdentity("segmenter", "facebook/sam-vit-base", "70c1a07f", None)


@pytest.fixture(autouse=True)
def _no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasetkit.export.card.describe.write_plots", lambda *_: ())


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return put(tmp_path / "in", {f"{name}.png": make_image(number) for number, name in enumerate("abc")})


def identity(**options: Any) -> BuildIdentity:
    return BuildIdentity(
        {"source": {"name": "folder"}, "limit": None, **options}, "0" * 64, "1.0", "0.1", (DETECTOR, SEGMENTER)
    )


OUTCOME = Outcome(
    row=rows_of([record(1)], overlay=False)[0],
    split="train",
    annotations_read=2,
    drops=(
        Drop("annotation", "7", DropReason.RELABELLED, "record 1"),
        Drop("detection", "record 1#0", DropReason.DUPLICATE_MASK, "IoU 0.93 with box 1"),
        Drop("detection", "record 1#4", DropReason.LOW_DETECTION, "0.1; at least 0.3 is required"),
    ),
    notices=(),
    detections=5,
)
FOREIGN: dict[str, dict[str, bytes | str]] = {
    "a file": {"notes.txt": "mine"},
    "a web page": {
        "manifest.json": '{"name": "My app"}',
        "README.md": "mine",
        "data/users.csv": "mine",
        "assets/x": "",
    },
    "a broken manifest": {"manifest.json": "{", "data/users.csv": "mine"},
    "a list for a manifest": {"manifest.json": "[]"},
    "a package with its own .build": {".build/release.yaml": "mine", "README.md": "mine", "data/x.bin": "mine"},
    "a .build with another state": {".build/state.json": '{"mine": 1}', "data/x.bin": "mine"},
    "a .build with a broken state": {".build/state.json": "{", "README.md": "mine"},
    "a hidden file": {".keep": ""},
}


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("kind", FOREIGN)
def test_a_folder_that_holds_no_build_is_never_touched(
    tmp_path: Path, images: Path, kind: str, overwrite: bool
) -> None:
    out = put(tmp_path / "out", FOREIGN[kind])
    before = contents(out)
    with pytest.raises(OutputError, match="give another --out") as caught:
        built(folder_recipe(images), out, overwrite=overwrite)
    assert "\n" not in str(caught.value)
    assert contents(out) == before


def test_a_file_in_place_of_out(tmp_path: Path, images: Path) -> None:
    put(tmp_path, {"out": "mine"})
    with pytest.raises(OutputError, match="give another --out"):
        built(folder_recipe(images), tmp_path / "out", overwrite=True)
    assert (tmp_path / "out").read_text() == "mine"


def test_an_empty_folder_is_taken(tmp_path: Path, images: Path) -> None:
    (tmp_path / "deep" / "out").mkdir(parents=True)
    assert len(built(folder_recipe(images), tmp_path / "deep" / "out")[1]) == 3
    assert len(built(folder_recipe(images), tmp_path / "new" / "deep" / "out")[1]) == 3


def test_another_recipe_is_refused_and_replaces_with_overwrite(tmp_path: Path, images: Path) -> None:
    out = tmp_path / "out"
    built(folder_recipe(images), out)
    before = contents(out)
    with pytest.raises(OutputError, match=r"contains another build \(limit: not given there, 2 here\).*--overwrite"):
        built(folder_recipe(images, limit=2), out)
    assert contents(out) == before
    _, found = built(folder_recipe(images, limit=2), out, overwrite=True)
    assert list(found) == ["a.png", "b.png"]
    built(folder_recipe(images, limit=2), tmp_path / "anew")
    assert contents(out) == contents(tmp_path / "anew")


def test_another_source_is_refused(tmp_path: Path, images: Path) -> None:
    built(folder_recipe(images), tmp_path / "out")
    put(images, {"d.png": make_image(4)})
    with pytest.raises(OutputError, match=r"the source has changed since \(d\.png is new\); --update"):
        built(folder_recipe(images), tmp_path / "out")


def test_splits_in_another_order_are_another_recipe(tmp_path: Path, images: Path) -> None:
    built(folder_recipe(images, splits={"train": 0.5, "test": 0.5}), tmp_path / "out")
    with pytest.raises(OutputError, match="contains another build"):
        built(folder_recipe(images, splits={"test": 0.5, "train": 0.5}), tmp_path / "out")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"code_version": "0.2"}, "datasetkit 0.1 there, 0.2 here"),
        ({"recipe": {"limit": 3}}, "limit: not given there, 3 here"),
        ({"recipe": {"limit": None, "new": 1}}, "new: not given there, 1 here"),
        ({"models": (replace(DETECTOR, sha256="1" * 64), SEGMENTER)}, "the detector has other weights"),
        ({"models": (DETECTOR,)}, "the segmenter has other weights"),
        ({"models": (DETECTOR, SEGMENTER, replace(DETECTOR, role="captioner"))}, "the captioner has other weights"),
    ],
)
def test_an_unfinished_build_of_another_kind_is_refused(tmp_path: Path, change: dict, message: str) -> None:
    with BuildFolder(tmp_path / "out", identity()) as folder:
        assert not folder.is_complete
    here = BuildIdentity(**{**{f: getattr(identity(), f) for f in identity().__slots__}, **change})
    with pytest.raises(OutputError, match=re.escape(message)):
        BuildFolder(tmp_path / "out", here)
    with BuildFolder(tmp_path / "out", here, overwrite=True) as folder:
        assert folder.resume() == frozenset()


def test_a_build_by_models_is_taken_up_with_the_same_weights(tmp_path: Path) -> None:
    with BuildFolder(tmp_path / "out", identity()) as folder:
        folder.resume()
        with PartWriter(folder.parts, 0, overlay=False) as writer:
            writer.add(OUTCOME)
    with BuildFolder(tmp_path / "out", identity()) as folder:
        assert folder.resume() == frozenset({0})
        published = folder.publish(())
        folder.close()
    assert published.models == (DETECTOR, SEGMENTER)
    assert Manifest.read(tmp_path / "out") == published
    assert BuildFolder(tmp_path / "out", identity()).is_complete


def test_detections_are_counted_beside_annotations(tmp_path: Path) -> None:
    with BuildFolder(tmp_path / "out", identity()) as folder:
        folder.resume()
        with PartWriter(folder.parts, 0, overlay=False) as writer:
            writer.add(OUTCOME)
        assert folder.parts.load(0) is not None
        tally = folder.publish(()).tally
        folder.close()
    assert tally.read == {"record": 1, "annotation": 2, "detection": 5}
    assert tally.kept == {"record": 1, "annotation": 1, "detection": 3}
    assert [(line["scope"], line["id"], line["reason"]) for line in ledger(tmp_path / "out")] == [
        ("annotation", "7", "relabelled"),
        ("detection", "record 1#0", "duplicate_mask"),
        ("detection", "record 1#4", "low_detection"),
    ]


def test_publishing_reads_only_shards_with_samples(tmp_path: Path) -> None:
    rows = rows_of([record(number) for number in range(40)], overlay=False)
    with BuildFolder(tmp_path / "out", identity()) as folder:
        folder.resume()
        for index, row in enumerate(rows):
            with PartWriter(folder.parts, index, overlay=False) as writer:
                writer.add(replace(OUTCOME, row=row))
        unread = list((tmp_path / "out/.build").glob("part-*[!05].*.parquet"))
        for path in unread:
            path.write_bytes(b"?" * path.stat().st_size)
        folder.resume()
        manifest = folder.publish(())
        describe(folder.papers, manifest, folder.parts.statistics())
        folder.close()
    assert len(unread) == 32
    assert Statistics.read(tmp_path / "out").total.pictures == 40


def test_a_part_with_damaged_counts_is_not_built(tmp_path: Path) -> None:
    with BuildFolder(tmp_path / "out", identity()) as folder:
        folder.resume()
        for index in range(2):
            with PartWriter(folder.parts, index, overlay=False) as writer:
                writer.add(OUTCOME)
        marker = tmp_path / "out" / ".build" / "part-00001.json"
        value = json.loads(marker.read_text())
        value["counts"]["train"]["counts"]["records"] = -1
        marker.write_text(json.dumps(value))
        assert folder.resume() == frozenset({0})


def test_two_builds_at_once_in_one_folder_are_refused(tmp_path: Path) -> None:
    with BuildFolder(tmp_path / "out", identity()):
        for overwrite in (False, True):
            with pytest.raises(OutputError, match="another process is building"):
                BuildFolder(tmp_path / "out", identity(), overwrite=overwrite)
    with BuildFolder(tmp_path / "out", identity()) as folder:
        assert folder.resume() == frozenset()


def test_foreign_files_beside_a_build_survive(tmp_path: Path, images: Path) -> None:
    out = tmp_path / "out"
    built(folder_recipe(images, license="mit"), out)
    mine = {"notes.txt": "mine", "figures/a.txt": "mine", ".gitattributes": "mine", "assets/logo.png": "mine"}
    mine |= {"LICENSE": "mine"}
    put(out, mine)
    built(folder_recipe(images), out, overwrite=True)
    assert {name: (out / name).read_text() for name in mine} == mine
    for name in mine:
        (out / name).unlink()
    built(folder_recipe(images), tmp_path / "anew")
    assert contents(out) == contents(tmp_path / "anew")


def test_a_finished_build_is_left_as_it_is(tmp_path: Path, images: Path) -> None:
    out = tmp_path / "out"
    first, _ = built(folder_recipe(images), out)
    stamps = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    for how in ({}, {"retry_failed": True}):
        assert built(folder_recipe(images), out, **how)[0].tally.to_json() == first.tally.to_json()
        assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == stamps


@pytest.mark.parametrize("leftover", [".build.new", ".build.gone"])
def test_leftovers_of_a_killed_run_go_away(tmp_path: Path, images: Path, leftover: str) -> None:
    out = tmp_path / "out"
    put(out, {f"{leftover}/state.json.partial": "half"})
    built(folder_recipe(images), out)
    before = contents(out)
    put(out, {f"{leftover}/state.json": "{}"})
    built(folder_recipe(images), out)
    assert contents(out) == before
    assert not (out / leftover).exists()


def test_nothing_of_this_machine_is_published(tmp_path: Path, images: Path) -> None:
    rows = "".join(json.dumps({"file_name": name}) + "\n" for name in ("broken.png", "../x.png"))
    put(images, {"broken.png": b"broken", "metadata.jsonl": rows})
    built(folder_recipe(images), tmp_path / "out")
    for name, data in contents(tmp_path / "out").items():
        assert str(tmp_path).encode() not in data, name


@pytest.mark.slow
def test_a_build_that_ends_at_any_moment_is_taken_up_again(tmp_path: Path) -> None:
    """The program compares whole folders byte for byte, also with a fresh build."""
    tasks = ["fresh:SIGKILL:9", "fresh:SIGINT:24", "retry:SIGKILL:13", "overwrite:SIGKILL:13"]
    tasks += ["overwrite with the same:SIGKILL:24", "retry that would lose:SIGKILL:24", "update:SIGKILL:24"]
    command = [sys.executable, "-m", "tests.pipeline.killing", str(tmp_path), *tasks]
    result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    tried = dict(line.rsplit(": ", 1) for line in result.stdout.splitlines())
    assert list(tried) == tasks
    assert all(int(moments) >= 3 for moments in tried.values()), tried

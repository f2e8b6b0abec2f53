"""Exports as a whole: reproducible bytes, no partial results, only exports are replaced; the command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from datasetkit.cli import app
from datasetkit.core.errors import BuiltFolderError, DatasetkitError, OutputError, UnknownNameError
from datasetkit.export.formats import FORMATS
from datasetkit.export.formats.built import BuiltDataset
from datasetkit.export.formats.exporting import export_folder
from tests.export.folders import bare_record, record, rows_of, write_folder
from tests.pipeline.builders import contents, records

EVERY_FORMAT = pytest.mark.parametrize("name", FORMATS.names)


@EVERY_FORMAT
def test_equal_datasets_give_equal_bytes(small: Path, tmp_path: Path, name: str) -> None:
    before = contents(small)
    for folder in ("a", "b"):
        export_folder(small, name, tmp_path / folder)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert contents(small) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"], "no temporary folder stays"


@EVERY_FORMAT
def test_image_bytes_pass_through_untouched(small: Path, tmp_path: Path, name: str) -> None:
    export_folder(small, name, tmp_path / "out")
    written = b"".join(contents(tmp_path / "out").values())
    for item in records(small).values():
        assert item.image.data in written


@EVERY_FORMAT
def test_one_split_alone(small: Path, tmp_path: Path, name: str) -> None:
    result = export_folder(small, name, tmp_path / "out", split="test")
    assert (result.records, result.pictures, result.objects) == (1, 1, 0)
    assert not [path for path in contents(tmp_path / "out") if "train" in path]


@EVERY_FORMAT
def test_a_broken_shard_leaves_nothing(small: Path, tmp_path: Path, name: str) -> None:
    rows = rows_of([record(0), bare_record(1)], overlay=False)
    write_folder(tmp_path / "in", {"train": [rows[:1], rows[1:]]}, described=False)
    (tmp_path / "in" / "data" / "train-00001-of-00002.parquet").unlink()
    with pytest.raises(BuiltFolderError, match=r"train-00001-of-00002\.parquet is missing"):
        export_folder(tmp_path / "in", name, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


@EVERY_FORMAT
def test_a_shard_that_does_not_match_the_manifest_is_refused(tmp_path: Path, name: str) -> None:
    rows = rows_of([record(0), record(1)], overlay=False)
    write_folder(tmp_path / "in", {"train": [rows]}, described=False)
    shard = tmp_path / "in" / "data" / "train-00000-of-00001.parquet"
    data = bytearray(shard.read_bytes())
    place = data.index(rows[0]["image"]["bytes"]) + len(rows[0]["image"]["bytes"]) // 2
    data[place] ^= 1
    shard.write_bytes(data)
    with pytest.raises(BuiltFolderError, match=r"00001\.parquet does not match the manifest; `datasetkit"):
        export_folder(tmp_path / "in", name, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_only_exports_are_replaced(small: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    export_folder(small, "coco", out)
    with pytest.raises(OutputError, match="is not empty; give another DEST, or --overwrite"):
        export_folder(small, "yolo-seg", out)
    export_folder(small, "yolo-seg", out, overwrite=True)
    assert sorted(path.name for path in out.iterdir()) == [".datasetkit-export.json", "data.yaml", "images", "labels"]
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.txt").write_text("all of it")
    with pytest.raises(OutputError, match="contains something else than an export"):
        export_folder(small, "coco", precious, overwrite=True)
    with pytest.raises(OutputError, match="is not a folder"):
        export_folder(small, "coco", precious / "thesis.txt", overwrite=True)
    assert contents(precious) == {"thesis.txt": b"all of it"}


@pytest.mark.parametrize("name", ["thesis.txt", "images/train/mine.png", "empty/link"])
def test_no_file_of_the_owner_is_lost_with_an_earlier_export(small: Path, tmp_path: Path, name: str) -> None:
    out = tmp_path / "out"
    export_folder(small, "coco", out)
    (out / name).parent.mkdir(exist_ok=True)
    if name == "empty/link":
        (out / name).symlink_to("nowhere")
    else:
        (out / name).write_text("all of it")
    before = sorted(path.relative_to(out) for path in out.rglob("*"))
    with pytest.raises(OutputError, match=f"contains '{name}', which no export wrote; move that away"):
        export_folder(small, "yolo-seg", out, overwrite=True)
    assert sorted(path.relative_to(out) for path in out.rglob("*")) == before


def test_what_came_while_an_export_was_made_is_kept(small: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export_folder(small, "coco", out)

    def write_thesis(*_: object) -> None:
        (out / "thesis.txt").write_text("all of it")

    with pytest.raises(OutputError, match=r"contains 'thesis\.txt', which no export wrote"):
        export_folder(small, "yolo-seg", out, overwrite=True, on_progress=write_thesis)
    assert (out / "thesis.txt").read_text() == "all of it"


@pytest.mark.parametrize("text", ["no JSON", "[]", "{}"])
def test_a_marker_that_names_no_files_gives_nothing_away(small: Path, tmp_path: Path, text: str) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / ".datasetkit-export.json").write_text(text)
    with pytest.raises(OutputError, match="does not list the files of an export"):
        export_folder(small, "coco", out, overwrite=True)
    assert contents(out) == {".datasetkit-export.json": text.encode()}


def test_two_exports_to_one_place_do_not_mix(small: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    started = False

    def export_another(*_: object) -> None:
        nonlocal started
        if not started:
            started = True
            export_folder(small, "coco", out)

    with pytest.raises(OutputError, match="is not empty"):
        export_folder(small, "yolo-seg", out, on_progress=export_another)
    export_folder(small, "coco", tmp_path / "alone")
    assert contents(out) == contents(tmp_path / "alone")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["alone", "out"]


def test_an_export_that_fails_keeps_the_earlier_one(small: Path, tmp_path: Path) -> None:
    export_folder(small, "coco", tmp_path / "out")
    before = contents(tmp_path / "out")
    write_folder(tmp_path / "in", {"train": [rows_of([record(0)], overlay=False)]}, described=False)
    (tmp_path / "in" / "data" / "train-00000-of-00001.parquet").write_bytes(b"no Parquet")
    with pytest.raises(BuiltFolderError):
        export_folder(tmp_path / "in", "coco", tmp_path / "out", overwrite=True)
    assert contents(tmp_path / "out") == before


@pytest.mark.parametrize("place", [".", "..", "data/coco"])
def test_no_export_into_the_build_or_around_it(small: Path, place: str) -> None:
    before = contents(small)
    with pytest.raises(OutputError, match="is inside the other"):
        export_folder(small, "coco", small / place, overwrite=True)
    assert contents(small) == before


@pytest.mark.parametrize("place", [".", "x/.."])
def test_a_destination_needs_a_name(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    (tmp_path / "here" / "x").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(OutputError, match=f"does not end in a name; write it as {tmp_path / 'here'}$"):
        export_folder(small, "coco", Path(place), overwrite=True)


def test_what_is_not_there_is_named(small: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="no format is called 'voc'; known: coco, imagefolder"):
        export_folder(small, "voc", tmp_path / "out")
    with pytest.raises(BuiltFolderError, match="no split 'dev'; it has train, test"):
        export_folder(small, "coco", tmp_path / "out", split="dev")
    with pytest.raises(BuiltFolderError, match=r"has no manifest\.json"):
        export_folder(tmp_path, "coco", tmp_path.parent / "out")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.b.JPEG", "00000000-a-b.jpg"),
        ("..png", "00000000.png"),
        ("x", "00000000-x.png"),
        ("ünï*code?.png", "00000000-n-code.png"),
        ("x" * 90 + ".webp", f"00000000-{'x' * 48}.webp"),
        ("page.exe", "00000000-page.png"),
    ],
)
def test_names_are_safe(tmp_path: Path, name: str, expected: str) -> None:
    rows = rows_of([bare_record(0)], overlay=False)
    rows[0]["image"]["path"] = name
    write_folder(tmp_path / "in", {"train": [rows]}, described=False)
    (plan,) = BuiltDataset(tmp_path / "in").plans("train")
    (image,) = plan.span.images(lambda _: None)
    assert (image.name, plan.name(0)) == (expected, expected)


def test_what_is_no_image_is_told(tmp_path: Path) -> None:
    rows = rows_of([bare_record(0)], overlay=False)
    rows[0]["image"] = {"bytes": b"no image", "path": "x"}
    write_folder(tmp_path / "in", {"train": [rows]}, described=False)
    with pytest.raises(DatasetkitError, match=r"image\.bytes of x are not an image"):
        export_folder(tmp_path / "in", "coco", tmp_path / "out")


def test_the_command_prints_what_was_written_and_lost(small: Path, tmp_path: Path) -> None:
    shown = CliRunner().invoke(app, ["export", str(small), str(tmp_path / "out"), "--to", "yolo-seg"])
    assert shown.exit_code == 0, shown.output
    lines = shown.stdout.splitlines()
    assert lines[:3] == ["records      5", "images       4", "objects      9"]
    assert lines[3].startswith("lost         3 crowds, left out: ")
    assert lines[-2:] == [
        "mean IoU     1.000000 (of filled polygons and masks)",
        f"wrote        {tmp_path / 'out'}",
    ]
    again = CliRunner().invoke(app, ["export", str(small), str(tmp_path / "out"), "--to", "coco", "--split", "test"])
    assert again.exit_code == 1
    assert again.stderr.startswith("error: ")
    assert again.stderr.count("\n") == 1, "no bar before the error"
    shown = CliRunner().invoke(
        app, ["export", str(small), str(tmp_path / "out"), "--to", "coco", "--split", "test", "--overwrite"]
    )
    assert shown.exit_code == 0, shown.output
    assert json.loads((tmp_path / "out" / "instances_test.json").read_text())["annotations"] == []
    assert np.asarray(Image.open(next((tmp_path / "out" / "images" / "test").iterdir()))).shape == (32, 24, 3)

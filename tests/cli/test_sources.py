"""Messages about sources with mistakes: likely causes and fixes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from PIL import Image

from datasetkit.cli import app

pytestmark = pytest.mark.slow


def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.stdout, result.stderr


def write_image(path: Path, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def test_images_that_two_splits_share_are_told(tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    for name, seed in {"train/a": 0, "train/b": 1, "train/c": 2, "test/d": 0, "test/e": 1}.items():
        write_image(source / f"{name}.png", seed)
    code, shown, _ = run("build", "folder", source, "--out", out)
    assert code == 0
    reported = "noticed      2 images are in several splits; --splits train=.9,test=.1 keeps equal images together"
    assert reported in shown.splitlines()
    code, shown, errors = run("verify", out)
    assert code == 0, "a notice while building, no fault afterwards"
    assert "in another split, as have 2 rows in all" in shown + errors
    code, shown, _ = run("build", "folder", source, "--out", tmp_path / "mixed", "--splits", "train=.5,test=.5")
    assert code == 0
    assert "in another split" not in shown


@pytest.mark.parametrize(
    ("name", "text", "reported"),
    [
        (
            "metadata.csv",
            "file_name,prompt\na.png,A dog.\n",
            "metadata.csv has no column description, caption or text; it has prompt; --caption-column says which",
        ),
        (
            "metadata.csv",
            "file,text\na.png,A dog.\n",
            "metadata.csv has a row without file_name; it has file, text; --file-column says which column names the",
        ),
        ("metadata.jsonl", '{"name": "a.png"}\n', "metadata.jsonl has a row without file_name; it has name; --file"),
    ],
    ids=["another name of the texts", "another name of the images", "JSON"],
)
def test_columns_of_metadata_that_are_not_found_are_named(tmp_path: Path, name: str, text: str, reported: str) -> None:
    write_image(tmp_path / "in" / "a.png")
    (tmp_path / "in" / name).write_text(text)
    code, _, errors = run("build", "folder", tmp_path / "in", "--out", tmp_path / "out")
    assert code == 1
    assert reported in errors
    assert not (tmp_path / "out").exists()


def test_one_metadata_file_with_texts_is_enough(tmp_path: Path) -> None:
    for part, row in (
        ("a", '{"file_name": "x.png", "caption": "A dog."}'),
        ("b", '{"file_name": "y.png", "by": "me"}'),
    ):
        write_image(tmp_path / "in" / part / ("x.png" if part == "a" else "y.png"))
        (tmp_path / "in" / part / "metadata.jsonl").write_text(row)
    assert run("build", "folder", tmp_path / "in", "--out", tmp_path / "out")[0] == 0


def test_rows_whose_texts_are_not_found_are_refused(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png")
    image = (tmp_path / "a.png").read_bytes()
    table = pa.table({"image": [image], "prompt": ["A dog."], "tags": [["a", "b"]], "stars": [5]})
    pq.write_table(table, tmp_path / "rows.parquet")
    code, _, errors = run("build", "parquet", tmp_path / "rows.parquet", "--out", tmp_path / "out")
    assert code == 1
    reported = "has no column description, caption or text; it has prompt, tags; --text-column says which of them holds"
    assert reported in errors
    arguments = ("build", "parquet", tmp_path / "rows.parquet", "--out", tmp_path / "out")
    assert run(*arguments, "--text-column", "prompt")[0] == 0
    assert run(*arguments, "--image-column", "image", "--overwrite")[0] == 0, "the images alone, on purpose"


@pytest.mark.parametrize(("source", "name"), [("webdataset", "a.tar"), ("parquet", "a.parquet")])
def test_a_folder_without_shards_is_not_passed_over(tmp_path: Path, source: str, name: str) -> None:
    (tmp_path / name).write_bytes(b"never opened")
    write_image(tmp_path / "images" / "a.png")
    code, _, errors = run("build", source, tmp_path / name, tmp_path / "images", "--out", tmp_path / "out")
    assert (code, errors) == (1, f"error: {tmp_path / 'images'} holds no .{name[2:]} file\n")


def test_rows_that_only_name_images_are_reported(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png")
    table = pa.table({"image": [{"bytes": None, "path": "a.png"}], "text": ["A dog."]}).cast(
        pa.schema({"image": pa.struct({"bytes": pa.binary(), "path": pa.string()}), "text": pa.string()})
    )
    pq.write_table(table, tmp_path / "rows.parquet")
    code, _, errors = run("build", "parquet", tmp_path / "rows.parquet", "--out", tmp_path / "out")
    assert code == 1
    assert "1 record: name_only (the row names its image but does not contain it; put the bytes" in errors
    pq.write_table(pa.table({"image": ["a.png"], "text": ["A dog."]}), tmp_path / "rows.parquet")
    code, _, errors = run("build", "parquet", tmp_path / "rows.parquet", "--out", tmp_path / "other")
    assert code == 1
    assert "has no column of encoded images; it has image, text. If its rows name image files" in errors
    assert "use `build folder` with" in errors


def write_coco(folder: Path) -> tuple[object, ...]:
    """Write an image with a mask and a caption; return the command that builds from it."""
    write_image(folder / "images" / "val" / "a.png")
    head = {"images": [{"id": 1, "file_name": "a.png", "width": 16, "height": 16}]}
    mask = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[2, 2, 9, 2, 9, 9, 2, 9]]}
    caption = {"id": 1, "image_id": 1, "caption": "A cat."}
    instances = head | {"annotations": [mask], "categories": [{"id": 1, "name": "cat"}]}
    (folder / "instances.json").write_text(json.dumps(instances))
    (folder / "captions.json").write_text(json.dumps(head | {"annotations": [caption]}))
    return "build", "coco", "--images", folder / "images" / "val", "--out", folder / "out"


def test_instances_alone_keep_their_images(tmp_path: Path) -> None:
    code, shown, _ = run(*write_coco(tmp_path), "--instances", tmp_path / "instances.json")
    assert code == 0
    assert "read 1, kept 1" in shown


def test_instances_and_captions_in_each_others_place_are_told(tmp_path: Path) -> None:
    command = write_coco(tmp_path)
    code, _, errors = run(
        *command, "--instances", tmp_path / "captions.json", "--captions", tmp_path / "instances.json"
    )
    assert code == 1
    reported = "captions.json: annotations have a caption and no segmentation; are instances and captions swapped?"
    assert errors.endswith(reported + "\n")
    code, _, errors = run(*command, "--captions", tmp_path / "instances.json")
    assert (
        "instances.json: annotations have a segmentation and no caption; are instances and captions swapped?" in errors
    )


def test_a_folder_one_level_too_high_is_told(tmp_path: Path) -> None:
    command = write_coco(tmp_path)
    high = tmp_path / "images"
    both = ("--instances", tmp_path / "instances.json", "--captions", tmp_path / "captions.json")
    code, _, errors = run(*command, *both, "--images", high)
    assert code == 1
    advice = f"1 of the first 1 would be found in {high / 'val'}; give it as --images"
    assert errors == f"error: {high} has none of the images that the files list: {advice}\n"
    assert run(*command, *both)[0] == 0


def test_a_built_folder_is_no_folder_of_images(tmp_path: Path) -> None:
    write_image(tmp_path / "in" / "a.png")
    assert run("build", "folder", tmp_path / "in", "--out", tmp_path / "built")[0] == 0
    code, _, errors = run("build", "folder", tmp_path / "built", "--out", tmp_path / "again")
    reported = (
        f"{tmp_path / 'built'} is a built dataset; `datasetkit build parquet {tmp_path / 'built'}` reads its records"
    )
    assert (code, errors) == (1, f"error: {reported}\n")
    assert run("build", "parquet", tmp_path / "built", "--out", tmp_path / "again")[0] == 0

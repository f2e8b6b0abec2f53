"""The Parquet source: plain rows of every kind, built folders that are restored, and damage row by row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from datasetkit.cli import app
from datasetkit.core.errors import BuiltFolderError, OutputError, RecipeError, SourceError
from datasetkit.core.limits import ImageLimits
from datasetkit.core.protocols import SourceContext
from datasetkit.core.schema import row_schema
from datasetkit.options import Recipe
from datasetkit.options.build import RunOptions
from datasetkit.options.sources import ParquetOptions
from datasetkit.pipeline.build import build
from datasetkit.sources.parquet import ParquetSource
from tests.pipeline.builders import built, make_image, reasons
from tests.sources.tables import IMAGE, outcomes, plain_rows, rows_of, scenes, write_rows


def opened(*files: Path, context: SourceContext = SourceContext(), **options: Any) -> ParquetSource:
    return ParquetSource(ParquetOptions(files=files, **options), context)


@pytest.fixture(scope="module")
def built_scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scenes(tmp_path_factory.mktemp("parquet") / "scenes")


def recipe(*files: Path, **options: Any) -> Recipe:
    names = ("image_column", "text_column", "id_column", "require_description", "relabel")
    source = {name: options.pop(name) for name in names if name in options}
    return Recipe.checked({"source": {"name": "parquet", "files": files, **source}, **options})


@pytest.mark.slow
def test_built_folder_is_restored_row_by_row(built_scenes: Path, tmp_path: Path) -> None:
    _, found = built(recipe(built_scenes, part_size=5), tmp_path / "again")
    assert rows_of(tmp_path / "again") == rows_of(built_scenes)
    assert {len(record.key_objects) for record in found.values()} == {1}, "key_max of the first build stays"
    assert all(record.questions and record.phrases for record in found.values())


def test_other_key_max_chooses_again(built_scenes: Path, tmp_path: Path) -> None:
    _, found = built(recipe(built_scenes, key_max=2, limit=4), tmp_path / "again")
    assert len(found) == 4
    assert max(len(record.key_objects) for record in found.values()) == 2


def test_named_columns_read_built_rows_plainly(built_scenes: Path) -> None:
    source = opened(built_scenes, text_column="description", id_column="image_id")
    entries = list(source.entries())
    assert {entry.annotation_ids for entry in entries} == {()}
    assert {entry.record_id for entry in entries} == rows_of(built_scenes).keys()
    assert not any(source.read(entry).record.objects for entry in entries)


@pytest.mark.parametrize("kind", ["datasets", "struct", "binary", "large", "list"])
def test_images_and_texts_of_every_type(tmp_path: Path, kind: str) -> None:
    rows = plain_rows(3)
    if kind == "datasets":
        table = datasets.Dataset.from_list(rows, features=datasets.Features(IMAGE))
        table.to_parquet(tmp_path / "a.parquet")
    elif kind == "struct":
        write_rows(tmp_path / "a.parquet", rows)
    elif kind == "list":
        write_rows(tmp_path / "a.parquet", [row | {"text": [" ", row["text"], "another"]} for row in rows])
    else:
        types = {"binary": (pa.binary(), pa.string()), "large": (pa.large_binary(), pa.large_string())}[kind]
        values = [{"image": row["image"]["bytes"], "text": row["text"]} for row in rows]
        write_rows(tmp_path / "a.parquet", values, pa.schema({"image": types[0], "text": types[1]}))
    source = opened(tmp_path)
    assert outcomes(source) == {f"a.parquet/{n}": f"a cat number {n}" for n in range(3)}
    readings = [source.read(entry) for entry in source.entries()]
    assert [reading.record.image.data for reading in readings] == [make_image(n) for n in range(3)], "bytes untouched"
    names = [reading.record.image.name for reading in readings]
    unnamed = [f"a.parquet-{n}.png" for n in range(3)]
    assert names == (unnamed if kind in {"binary", "large"} else ["0.png", "1.png", "2.png"])
    assert readings[1].record.source.uri == "a.parquet/1"


def test_declared_image_precedes_other_bytes(tmp_path: Path) -> None:
    rows = [{"thumb": b"no", "audio": {"bytes": b"no", "path": ""}, "shot": {"bytes": make_image(), "path": "p.png"}}]
    features = {
        "shot": {"_type": "Image"},
        "audio": {"_type": "Audio"},
        "thumb": {"dtype": "binary", "_type": "Value"},
    }
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    table = pa.Table.from_pylist(rows)
    pq.write_table(table.replace_schema_metadata(metadata), tmp_path / "a.parquet")
    source = opened(tmp_path / "a.parquet")
    assert source.read(next(source.entries())).record.image.name == "p.png"
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(SourceError, match=r"any of audio, shot may hold the images"):
        opened(tmp_path)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"image_column": "picture"}, r"has no column 'picture' of images; it has image, text"),
        ({"image_column": "text"}, r"no column 'text' of images; it has image, text; 'text' has type string"),
        ({"text_column": "image"}, r"no column 'image' of text"),
        ({"id_column": "image"}, r"no column 'image' of ids"),
    ],
)
def test_missing_columns_are_reported(tmp_path: Path, how: dict[str, str], message: str) -> None:
    write_rows(tmp_path / "a.parquet", plain_rows(1))
    with pytest.raises(SourceError, match=message):
        opened(tmp_path, **how)


def test_unusable_source_is_reported_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 nothing PAR1")
    write_rows(tmp_path / "text" / "a.parquet", [{"text": "no image"}])
    (tmp_path / "empty").mkdir()
    for place, message in [
        ("broken.parquet", "cannot be read as Parquet"),
        ("text", "has no column of encoded images; it has text"),
        ("empty", "holds no .parquet file"),
        ("nowhere", "is neither a file nor a folder"),
    ]:
        with pytest.raises(SourceError, match=message) as caught:
            opened(tmp_path / place)
        assert "\n" not in str(caught.value)


def test_other_schema_version_is_refused(tmp_path: Path) -> None:
    metadata = {b"datasetkit": json.dumps({"schema_version": "9.0"})}
    write_rows(tmp_path / "a.parquet", [], row_schema().with_metadata(metadata))
    with pytest.raises(BuiltFolderError, match=r"has schema version 9\.0"):
        opened(tmp_path)


def test_repeated_ids_and_splits_from_names(tmp_path: Path) -> None:
    rows = [row | {"name": name} for row, name in zip(plain_rows(4), ["a", "b", "a", None], strict=True)]
    write_rows(tmp_path / "val-00000-of-00002.parquet", rows[:2])
    write_rows(tmp_path / "test" / "x.parquet", rows[2:])
    source = opened(tmp_path, id_column="name")
    assert outcomes(source) == {
        "a": "a cat number 2",
        "test/x.parquet/1": "a cat number 3",
        "a #2": "duplicate_id",
        "b": "a cat number 1",
    }
    assert [entry.split for entry in source.entries()] == ["test", "test", "val", "val"]


def test_rows_without_an_image_or_a_text(tmp_path: Path) -> None:
    rows = [
        {"image": None, "text": "x"},
        {"image": {"bytes": None, "path": "/etc/hostname"}, "text": "x"},
        {"image": {"bytes": b"no image", "path": "a.png"}, "text": "x"},
        {"image": {"bytes": make_image(), "path": "../../a.png"}, "text": "  "},
        {"image": {"bytes": make_image(1) + bytes(5000), "path": None}, "text": "x"},
    ]
    write_rows(tmp_path / "a.parquet", rows)
    found = outcomes(opened(tmp_path, context=SourceContext(limits=ImageLimits(max_bytes=4000))))
    assert list(found.values()) == ["missing", "name_only", "not_an_image", None, "too_many_bytes"]


def test_broken_row_group_costs_only_its_rows(tmp_path: Path) -> None:
    path = write_rows(
        tmp_path / "a.parquet", plain_rows(12), row_group_size=4, compression="none", use_dictionary=False
    )
    data = bytearray(path.read_bytes())
    column = pq.ParquetFile(path).metadata.row_group(1).column(0)
    data[column.data_page_offset : column.data_page_offset + 40] = b"\xff" * 40
    path.write_bytes(data)
    out = tmp_path / "out"
    manifest, found = built(recipe(path), out, workers=4)
    assert reasons(out) == {f"a.parquet/{n}": "unreadable" for n in range(4, 8)}
    assert {record.description for record in found.values()} == {
        f"a cat number {n}" for n in (0, 1, 2, 3, 8, 9, 10, 11)
    }
    assert manifest.tally.read["record"] == 12


@pytest.mark.parametrize("first", [1, 16, 21, 39])
def test_reading_starts_at_any_row(tmp_path: Path, first: int) -> None:
    source = opened(write_rows(tmp_path / "a.parquet", plain_rows(40), row_group_size=25))
    found = [source.read(entry).record.description for entry in list(source.entries())[first:]]
    assert found == [f"a cat number {number}" for number in range(first, 40)]


def test_text_not_in_utf8_costs_only_its_row(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "a.parquet", plain_rows(5), compression="none", use_dictionary=False)
    data = path.read_bytes()
    path.write_bytes(data.replace(b"a cat number 3", b"a cat number \xff"))
    expected = {f"a.parquet/{n}": f"a cat number {n}" for n in range(5)} | {"a.parquet/3": "bad_row"}
    assert outcomes(opened(path)) == expected


def test_invalid_record_of_a_built_folder_is_dropped(built_scenes: Path, tmp_path: Path) -> None:
    rows = [{name: value for name, value in row.items() if name != "split"} for row in rows_of(built_scenes).values()]
    rows[0]["objects"][0]["mask"]["counts"] = None
    rows[1]["objects"][0]["mask"]["size"] = [64, 65]
    rows[2]["phrases"][0]["text"] = "not this"
    rows[3]["source"] = None
    rows[4]["objects"] = None
    rows[5]["record_id"] = rows[6]["record_id"]
    rows[7]["image"]["bytes"] = make_image()
    write_rows(tmp_path / "a.parquet", rows, row_schema())
    out = tmp_path / "out"
    built(recipe(tmp_path / "a.parquet"), out)
    found = reasons(out)
    assert found.pop(rows[1]["record_id"]) == "bad_mask"
    assert found.pop(rows[6]["record_id"]) == "duplicate_id"
    assert set(found.values()) == {"bad_row"}
    assert found.keys() == {rows[number]["record_id"] for number in (0, 2, 3, 4, 7)}


def test_fingerprint_covers_names_sizes_and_footers(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "a" / "x.parquet", plain_rows(2))
    first = opened(tmp_path / "a").fingerprint()
    assert opened(path).fingerprint() == first
    assert opened(write_rows(tmp_path / "b" / "x.parquet", plain_rows(2))).fingerprint() == first
    assert opened(write_rows(tmp_path / "b" / "y.parquet", plain_rows(2))).fingerprint() != first
    assert opened(write_rows(path, plain_rows(2, first=1))).fingerprint() != first


@pytest.mark.slow
def test_models_do_not_replace_objects_by_accident(built_scenes: Path, tmp_path: Path) -> None:
    run = CliRunner()
    command = ["build", "parquet", str(built_scenes), "--preset", "toyworld", "--limit", "2", "--out"]
    refused = run.invoke(app, [*command, str(tmp_path / "out")])
    assert (refused.exit_code, "add --relabel" in refused.stderr) == (1, True)
    done = run.invoke(app, [*command, str(tmp_path / "out"), "--relabel"])
    assert done.exit_code == 0
    assert set(reasons(tmp_path / "out", "annotation").values()) == {"relabelled"}
    assert "detections   read" in done.stdout


@pytest.mark.slow
def test_models_annotate_plain_rows(built_scenes: Path, tmp_path: Path) -> None:
    command = ["build", "parquet", str(built_scenes), "--text-column", "description", "--limit", "2"]
    done = CliRunner().invoke(app, [*command, "--preset", "toyworld", "--out", str(tmp_path / "out")])
    assert done.exit_code == 0
    assert all(row["objects"] for row in rows_of(tmp_path / "out").values())


@pytest.mark.slow
def test_recipe_rebuilds_and_has_no_absolute_path(built_scenes: Path, tmp_path: Path) -> None:
    (tmp_path / "rows").symlink_to(built_scenes / "data")
    build(recipe(*sorted((tmp_path / "rows").iterdir())), RunOptions(out=tmp_path / "out", workers=1))
    text = (tmp_path / "out" / "recipe.yaml").read_text()
    assert str(tmp_path) not in text
    assert "- test-00000-of" in text
    command = ["build", "recipe", str(tmp_path / "out" / "recipe.yaml"), "--root", str(tmp_path / "rows")]
    assert CliRunner().invoke(app, [*command, "--out", str(tmp_path / "again")]).exit_code == 0
    assert rows_of(tmp_path / "again") == rows_of(built_scenes)


def test_build_inside_its_source_is_refused(tmp_path: Path) -> None:
    write_rows(tmp_path / "a.parquet", plain_rows(1))
    with pytest.raises(OutputError, match="is inside the source's folder"):
        build(recipe(tmp_path), RunOptions(out=tmp_path / "out", workers=1))


def test_recipe_without_files_is_refused() -> None:
    with pytest.raises(RecipeError, match="at least 1 item"):
        recipe()

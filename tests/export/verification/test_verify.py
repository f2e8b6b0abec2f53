"""Verification: a sound folder has no fault, and each planted fault is found at its location, without others."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tracemalloc
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from datasetkit.core.detections import ModelIdentity
from datasetkit.core.files import file_sha256
from datasetkit.core.ledger import Drop, DropReason, Notice, NoticeKind
from datasetkit.core.mask import Mask
from datasetkit.core.schema import record_to_row, row_schema
from datasetkit.export.dataset.manifest import Manifest
from datasetkit.export.dataset.shards import ShardWriter
from datasetkit.export.statistics.statistics import Statistics
from datasetkit.export.verification import shards as shards_module
from datasetkit.export.verification.faults import Fault
from datasetkit.export.verification.files import FolderFiles
from datasetkit.export.verification.verify import verify_files
from tests.export.folders import RECIPE, Row, bare_record, png, record, refit, rows_of, write_folder

pytestmark = pytest.mark.slow

SECOND = "data/train-00001-of-00002.parquet"
DROPS = (Drop("record", "13", DropReason.TRUNCATED, "line one\nline two\u2028"),)
NOTICES = (Notice("record 2", NoticeKind.ANIMATION_FIRST_FRAME),)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("verify") / "out"
    rows = rows_of([record(1), record(2), record(3), bare_record(4)])
    write_folder(folder, {"train": [rows[:1], rows[1:3]], "test": [rows[3:]]}, drops=DROPS, notices=NOTICES)
    return folder


@pytest.fixture
def folder(sound: Path, tmp_path: Path) -> Path:
    """Copy to damage."""
    shutil.copytree(sound, tmp_path / "out")
    return tmp_path / "out"


def found(folder: Path) -> list[tuple[str, str]]:
    return [(fault.where, fault.what) for fault in verify_files(FolderFiles(folder))]


def assert_one(folder: Path, where: str, what: str) -> None:
    faults = found(folder)
    assert len(faults) == 1, faults
    assert faults[0][0] == where
    assert what in faults[0][1]


def spoil_rows(folder: Path, change: Callable[[list[Row]], None], path: str = SECOND) -> None:
    rows = pq.read_table(folder / path).to_pylist()
    change(rows)
    with ShardWriter(folder / path, overlay="overlay" in rows[0]) as writer:
        for row in rows:
            writer.write(row)
    refit(folder)


def edit_json(path: Path, change: Callable[[Any], None]) -> None:
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def test_a_sound_folder_has_no_fault(sound: Path) -> None:
    assert found(sound) == []


def test_a_folder_without_overlays_has_no_fault(tmp_path: Path) -> None:
    recipe = RECIPE | {"overlay": False}
    write_folder(tmp_path / "bare", {"train": [rows_of([record(1), bare_record(2)], overlay=False)]}, recipe=recipe)
    assert found(tmp_path / "bare") == []


def test_a_dataset_without_records_is_a_fault(tmp_path: Path) -> None:
    write_folder(tmp_path / "empty", {}, drops=DROPS)
    assert found(tmp_path / "empty") == [
        ("manifest.json", "lists no shard: the dataset contains no records; ledger.jsonl says why")
    ]


def test_of_a_build_that_is_not_finished_nothing_else_is_told(folder: Path) -> None:
    (folder / ".build").mkdir()
    assert found(folder) == [], "what is published is whole while another build goes on"
    (folder / ".build/exchange.json").write_text("{}")
    (folder / "manifest.json").unlink()
    assert found(folder) == [(str(folder), "contains an unfinished build; run the same `datasetkit build` again")]


def test_a_refitted_folder_has_no_fault(folder: Path) -> None:
    """The helper that plants faults causes none by itself."""
    spoil_rows(folder, list.copy)
    assert found(folder) == []


def test_faults_are_one_line() -> None:
    assert str(Fault("a", "b\nc")) == "a: b c"
    assert str(Fault("a", "b", is_warning=True)) == "warning: a: b"


# --- rows ---


def jpeg(size_wh: tuple[int, int] = (32, 24), **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(9).integers(0, 256, (*size_wh[::-1], 3), dtype=np.uint8)).save(
        buffer, "JPEG", **options
    )
    return buffer.getvalue()


def set_image(row: Row, data: bytes) -> None:
    row["image"]["bytes"] = data
    row["source"]["sha256"] = hashlib.sha256(data).hexdigest()


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 3
    return jpeg(exif=exif.tobytes())


def seen_through() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGBA", (32, 24), (255, 0, 0, 9)).save(buffer, "PNG")
    return buffer.getvalue()


def other_mask(row: Row) -> None:
    """A mask of the right size that is not the one of area and bbox."""
    counts = np.zeros((24, 32), dtype=np.bool_)
    counts[2:9, 1:10] = True
    row["objects"][0]["mask"] = Mask.from_array(counts).to_coco()


ROW_FAULTS: Mapping[str, tuple[Callable[[Row], Any], list[str]]] = {
    "image is no image": (lambda row: set_image(row, b"nothing"), ["image is not_an_image"]),
    "image breaks off": (lambda row: set_image(row, row["image"]["bytes"][:-300]), ["image is truncated"]),
    "image has other bytes": (lambda row: row["image"].update(bytes=png((24, 32), 77).data), ["image has sha256"]),
    "image has another size": (
        lambda row: set_image(row, png((24, 31), 77).data),
        ["image has 31x24 px; the row says 32x24"],
    ),
    "image lies on its side": (lambda row: set_image(row, turned()), ["EXIF orientation 3"]),
    "image is read otherwise": (
        lambda row: set_image(row, seen_through()),
        ["image is not as builds publish it (reencoded, transparency_over_white)"],
    ),
    "overlay is no image": (lambda row: row["overlay"].update(bytes=b"x"), ["overlay is not_an_image"]),
    "overlay is missing": (lambda row: row.update(overlay={"bytes": b"", "path": None}), ["overlay is empty"]),
    "overlay is large": (lambda row: row["overlay"].update(bytes=jpeg((400, 300))), ["overlay has 400x300 px"]),
    "area is wrong": (lambda row: row["objects"][0].update(area=65), ["object 0 has area 65; its mask has 64 px"]),
    "bbox is wrong": (lambda row: row["objects"][0].update(bbox=[1.0, 1.0, 8.0, 9.0]), ["object 0 has bbox"]),
    "mask is another": (other_mask, ["object 0 has area 64; its mask has 63 px", "object 0 has bbox"]),
    "mask is damaged": (lambda row: row["objects"][0]["mask"].update(counts="\x7f\x7f"), ["not COCO's compressed"]),
    "mask is too short": (lambda row: row["objects"][0]["mask"].update(counts="02"), ["run lengths add up to"]),
    "mask has three sides": (
        lambda row: row["objects"][0]["mask"].update(size=[24, 32, 1]),
        ["objects[0].mask.size is"],
    ),
    "mask is of another image": (
        lambda row: row["objects"][0].update(mask=Mask.from_array(np.ones((2, 2), dtype=np.bool_)).to_coco()),
        ["mask of (2, 2) on an image of (24, 32)"],
    ),
    "object id comes twice": (lambda row: row["objects"][1].update(id=0), ["an object id is used twice"]),
    "object status is unknown": (lambda row: row["objects"][0].update(status="seen"), ["objects[0].status is 'seen'"]),
    "objects are null": (lambda row: row.update(objects=None), ["objects is null"]),
    "salience is beyond 1": (lambda row: row["objects"][0].update(salience=1.5), ["salience is 1.5"]),
    "span is another": (lambda row: row["phrases"][0].update(start=1, end=9), ["is not 'Two cats'"]),
    "span is beyond the text": (lambda row: row.update(description="Two"), ["is not 'Two cats'"]),
    "phrase names nobody": (lambda row: row["phrases"][0].update(object_ids=[0, 9]), ["names objects {9}"]),
    "candidate is nobody": (
        lambda row: row["phrases"][1].update(candidates=[{"object_id": 9, "score": 0.5}]),
        ["names objects {9}"],
    ),
    "question is about nobody": (lambda row: row["questions"][0].update(object_ids=[9]), ["unknown object"]),
    "answer is no option": (lambda row: row["questions"][0].update(answer="maybe"), ["not one of the options"]),
    "sha256 is none": (lambda row: row["source"].update(sha256="abc"), ["image has sha256", "64 hexadecimal digits"]),
    "source is null": (lambda row: row.update(source=None), ["image has sha256", "source is null"]),
    "record_id is null": (lambda row: row.update(record_id=None), ["record_id is null"]),
    "width is null": (lambda row: row.update(width=None), ["image has 32x24 px", "width is null"]),
}


@pytest.mark.parametrize("name", ROW_FAULTS)
def test_a_fault_in_one_row_is_found_and_hides_nothing(folder: Path, name: str) -> None:
    spoil, expected = ROW_FAULTS[name]
    spoil_rows(folder, lambda rows: spoil(rows[0]))
    (folder / "data" / "notes.txt").write_text("")
    faults = [fault for fault in found(folder) if fault[0] not in {"data/notes.txt", "README.md"}]
    assert [where for where, _ in faults] == [f"{SECOND} row 0"] * len(expected)
    for (_, what), part in zip(faults, expected, strict=True):
        assert part in what


def test_every_bad_row_is_named(folder: Path) -> None:
    def spoil(rows: list[Row]) -> None:
        rows[0]["objects"][0]["area"] = 1
        rows[1]["objects"] = None

    spoil_rows(folder, spoil)
    assert [where for where, _ in found(folder)] == [f"{SECOND} row 0", f"{SECOND} row 1"]


def test_a_image_that_was_encoded_again_needs_its_notice(folder: Path) -> None:
    spoil_rows(folder, lambda rows: rows[0]["image"].update(bytes=png((24, 32), 77).data))
    assert_one(folder, f"{SECOND} row 0", "no notice that it was re-encoded")
    with (folder / "ledger.jsonl").open("a") as ledger:
        ledger.write('{"event": "notice", "record_id": "record 2", "kind": "exif_rotated"}\n')
    assert_one(folder, "ledger.jsonl", "has 1 lines of exif_rotated; the manifest counts 0")


def test_a_image_beyond_the_recipes_limits_is_not_decoded(folder: Path) -> None:
    edit_json(folder / "manifest.json", lambda value: value["recipe"]["limits"].update(max_pixels=700))
    faults = [what for where, what in found(folder) if where.startswith("data/")]
    assert len(faults) == 8
    assert all("too_many_pixels" in what for what in faults[::2])


def test_a_row_that_claims_a_huge_image_costs_no_memory(folder: Path) -> None:
    side = 2**14
    huge = Mask.from_run_lengths([0, 64, side**2 - 64], (side, side)).to_coco()

    def spoil(rows: list[Row]) -> None:
        rows[0] |= {"width": side, "height": side, "phrases": [], "questions": []}
        rows[0]["objects"] = [rows[0]["objects"][3] | {"mask": huge, "area": 65, "bbox": [0.0, 0.0, 1.0, 64.0]}]

    spoil_rows(folder, spoil)
    tracemalloc.start()
    faults = [what for where, what in found(folder) if where.endswith("row 0")]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert faults == [f"image has 32x24 px; the row says {side}x{side}", "object 5 has area 65; its mask has 64 px"]
    assert peak < side**2 / 4


def test_an_id_that_comes_twice_in_another_split(folder: Path) -> None:
    spoil_rows(folder, lambda rows: rows[0].update(record_id="record 4"))
    assert_one(folder, "data/test-00000-of-00001.parquet row 0", f"has the record_id of {SECOND} row 0")


def test_a_image_twice_in_one_split_is_no_fault(tmp_path: Path) -> None:
    rows = rows_of([record(1), replace(record(2), image=record(1).image, source=record(1).source)])
    write_folder(tmp_path / "out", {"train": [rows[:1], rows[1:]]})
    assert found(tmp_path / "out") == []


def test_a_image_in_two_splits(folder: Path) -> None:
    image = bare_record(4).image

    def spoil(rows: list[Row]) -> None:
        rows[0].update(record_to_row(replace(bare_record(4), record_id="x")))
        rows[1].update(record_to_row(replace(bare_record(4), record_id="y")))

    assert image.size_hw == (32, 24)
    spoil_rows(folder, spoil)
    faults = [fault for fault in found(folder) if fault[0] != "statistics.json"]
    where = "data/test-00000-of-00001.parquet row 0"
    assert faults == [(where, f"has the image of {SECOND} row 0, in another split")]


def test_a_image_in_two_splits_makes_no_dataset_unsound(tmp_path: Path) -> None:
    again = replace(record(1), record_id="again")
    write_folder(tmp_path / "out", {"train": [rows_of([record(0), record(1)])], "test": [rows_of([again])]})
    (fault,) = verify_files(FolderFiles(tmp_path / "out"))
    assert str(fault) == (
        "warning: data/test-00000-of-00001.parquet row 0: has the image of data/train-00000-of-00001.parquet row 1, "
        "in another split"
    )
    assert Statistics.read(tmp_path / "out").shared_images == 1


def test_a_row_too_large_for_the_viewer_is_only_a_warning(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards_module, "VIEWER_ROW_BYTES", 3_000)
    (fault,) = verify_files(FolderFiles(folder))
    assert fault.is_warning
    assert fault.where == "data/train-00000-of-00002.parquet row 0"
    assert "first of 4 rows" in fault.what


# --- shards ---


def test_one_flipped_bit(folder: Path) -> None:
    path = folder / SECOND
    data = bytearray(path.read_bytes())
    place = data.index(b"IDAT") + 40
    data[place] ^= 1
    path.write_bytes(data)
    faults = found(folder)
    assert faults[0][0] == SECOND
    assert "the manifest says" in faults[0][1]
    assert {where for where, _ in faults[1:]} <= {f"{SECOND} row 0"}


def test_a_missing_shard(folder: Path) -> None:
    (folder / SECOND).unlink()
    faults = found(folder)
    assert (SECOND, "is missing") in faults
    assert {where for where, _ in faults} == {SECOND, "README.md"}


def test_an_unexpected_file(folder: Path) -> None:
    (folder / "data" / "deep").mkdir()
    (folder / "data" / "deep" / "extra.parquet").write_bytes(b"")
    assert_one(folder, "data/deep/extra.parquet", "is not in the manifest")


def test_a_shard_cut_short(folder: Path) -> None:
    path = folder / SECOND
    path.write_bytes(path.read_bytes()[:-100])
    refit(folder)
    faults = [fault for fault in found(folder) if fault[0] == SECOND]
    assert len(faults) == 1
    assert "cannot be read as Parquet" in faults[0][1]


def test_a_row_group_that_cannot_be_read_hides_no_other(folder: Path) -> None:
    table = pq.read_table(folder / SECOND)
    path = folder / SECOND
    pq.write_table(table, path, row_group_size=1, compression="none", write_page_index=True)
    group = pq.read_metadata(path).row_group(0)
    place = next(i for i in range(group.num_columns) if group.column(i).path_in_schema == "description")
    column = group.column(place)
    start = min(column.data_page_offset, column.dictionary_page_offset or column.data_page_offset)
    data = bytearray(path.read_bytes())
    data[start : start + column.total_compressed_size] = bytes(column.total_compressed_size)
    path.write_bytes(data)
    refit(folder)
    assert_one(folder, f"{SECOND} rows 0 to 0", "cannot be read")


def test_text_that_is_not_utf8(folder: Path) -> None:
    path = folder / SECOND
    data = path.read_bytes()
    table = pq.read_table(path)
    pq.write_table(table, path, compression="none", use_dictionary=False, write_statistics=False)
    data = path.read_bytes()
    assert data.count(b"Two cats watch a man") == 2
    path.write_bytes(data.replace(b"Two cats watch a man", b"Two cats \xff\xfe\xfdch a man", 1))
    refit(folder)
    faults = found(folder)
    assert len(faults) == 1
    assert faults[0][0] == f"{SECOND} row 0"
    assert "not UTF-8" in faults[0][1]


def write_table(folder: Path, table: pa.Table, **options: Any) -> None:
    pq.write_table(table, folder / SECOND, **options)
    refit(folder)


def test_other_columns(folder: Path) -> None:
    table = pq.read_table(folder / SECOND)
    write_table(folder, table.append_column("caption", pa.array(["a", "b"])))
    faults = found(folder)
    assert [where for where, _ in faults] == [SECOND, SECOND]
    assert faults[0][1] == "has other columns than schema version 2.0: caption is string, should be left out"
    assert "the first shard has" in faults[1][1]


def test_a_column_of_another_type(folder: Path) -> None:
    table = pq.read_table(folder / SECOND)
    place = table.schema.names.index("width")
    write_table(folder, table.set_column(place, "width", table["width"].cast(pa.int64())))
    assert_one(folder, SECOND, "width is int64, should be int32")


def test_feature_types_of_another_schema(folder: Path) -> None:
    table = pq.read_table(folder / SECOND)
    metadata = {**table.schema.metadata, b"huggingface": row_schema(overlay=False).metadata[b"huggingface"]}
    write_table(folder, table.replace_schema_metadata(metadata))
    assert_one(folder, SECOND, "other feature types")


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        (b'{"schema_version": "3.0"}', "schema version 3.0; this datasetkit reads"),
        (b"{", "schema version None; this datasetkit reads"),
        (b'{"schema_version": "1.7"}', "has schema version 1.7; the manifest says 2.0"),
    ],
)
def test_a_shard_of_another_schema_version(folder: Path, stored: bytes, message: str) -> None:
    table = pq.read_table(folder / SECOND)
    write_table(folder, table.replace_schema_metadata({**table.schema.metadata, b"datasetkit": stored}))
    faults = [what for where, what in found(folder) if where == SECOND]
    assert len(faults) == 1
    assert message in faults[0]


def test_a_row_group_too_large_for_the_viewer(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards_module, "_VIEWER_ROW_GROUP_BYTES", 100)
    assert found(folder) == []
    write_table(folder, pq.read_table(folder / SECOND))
    (fault,) = [fault for fault in found(folder) if fault[0] != "statistics.json"]  # its num_bytes are others now
    assert fault[0] == f"{SECOND} row group 0"
    assert "no page index" in fault[1]


# --- manifest and ledger ---


@pytest.mark.parametrize("text", [None, "{", "[]", "{}"])
def test_no_manifest(folder: Path, text: str | None) -> None:
    if text is None:
        (folder / "manifest.json").unlink()
    else:
        (folder / "manifest.json").write_text(text)
    assert_one(folder, "manifest.json", "manifest")


def rows_less_one(value: Any) -> None:
    value["parts"][0]["shards"][1]["rows"] -= 1
    value["splits"]["train"] -= 1


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda value: value["splits"].update(train=7), ["contradicts itself"]),
        (lambda value: value["tally"]["records"].update(read=99), ["contradicts itself"]),
        (
            lambda value: value["stray"]["annotations"].update(read=1),
            ["contradicts itself", "stray annotations: 1 annotations read, but 0 kept and 0 dropped"],
        ),
        (
            lambda value: value["parts"][0]["tally"]["records"].update(kept=3),
            ["contradicts itself", "part 0: 5 records read, but 3 kept and 1 dropped", "3 records kept, 4 rows"],
        ),
        (
            lambda value: value["parts"][0]["tally"]["detections"].update(read=2, kept=1),
            ["contradicts itself", "part 0: 2 detections read, but 1 kept and 0 dropped"],
        ),
        (lambda value: value.pop("models"), ["is not a manifest of datasetkit"]),
        (lambda value: value.update(files="LICENSE"), ["files must be a list of names"]),
        (lambda value: value["models"].append({"role": "detector"}), ["is not a manifest of datasetkit"]),
        (
            lambda value: value["models"].append({"role": "detector", "id": "a", "revision": 1, "sha256": None}),
            ["revision and sha256 of a model must be text or null"],
        ),
        (
            lambda value: value["parts"][0]["shards"][1].update(path="data/../../secret.parquet"),
            ["'data/../../secret.parquet' is not the name of a shard"],
        ),
    ],
)
def test_a_manifest_that_does_not_add_up(folder: Path, change: Callable[[Any], None], expected: list[str]) -> None:
    edit_json(folder / "manifest.json", change)
    faults = [what for where, what in found(folder) if where == "manifest.json"]
    assert len(faults) == len(expected)
    for part in expected:
        assert [what for what in faults if part in what], (part, faults)


def test_a_manifest_with_another_number_of_rows(folder: Path) -> None:
    edit_json(folder / "manifest.json", rows_less_one)
    faults = found(folder)
    assert (SECOND, "has 2 rows; the manifest says 1") in faults
    assert {where for where, _ in faults} == {SECOND, "manifest.json"}


def test_detections_are_checked_as_the_rest(tmp_path: Path) -> None:
    model = ModelIdentity("detector", "toyworld:detector", None, "0" * 64)
    drop = Drop("detection", "record 1#3", DropReason.TOO_SMALL, "0.0001; at least 0.001 is required")
    folder = tmp_path / "out"
    write_folder(folder, {"train": [rows_of([record(1)])]}, drops=(drop,), models=(model,))
    assert found(folder) == []
    sound_text = (folder / "ledger.jsonl").read_text()
    (folder / "ledger.jsonl").write_text("")
    assert_one(folder, "ledger.jsonl", "has 0 lines of detection too_small; the manifest counts 1")
    (folder / "ledger.jsonl").write_text(sound_text)
    score = {"measured": 1, **dict.fromkeys(("mean", "p5", "p25", "median", "p75", "p95"), 0.5)}
    edit_json(folder / "statistics.json", lambda value: value["total"]["scores"].update(stability=score))
    assert_one(folder, "statistics.json", "does not match the shards (all splits: scores)")


def test_a_ledger_that_tells_of_other_drops(folder: Path) -> None:
    ledger = folder / "ledger.jsonl"
    sound_text = ledger.read_text()
    assert "\u2028" in json.loads(sound_text.split("\n")[0])["detail"]
    ledger.write_text(sound_text.replace("truncated", "missing"))
    assert found(folder) == [
        ("ledger.jsonl", "has 1 lines of record missing; the manifest counts 0"),
        ("ledger.jsonl", "has 0 lines of record truncated; the manifest counts 1"),
    ]
    ledger.write_text(sound_text + sound_text)
    assert found(folder) == [
        ("ledger.jsonl", "has 2 lines of record truncated; the manifest counts 1"),
        ("ledger.jsonl", "has 2 lines of animation_first_frame; the manifest counts 1"),
    ]
    ledger.write_text(sound_text + "no JSON\n[]\n{}\n")
    assert [where for where, _ in found(folder)] == [f"ledger.jsonl line {number}" for number in (3, 4, 5)]
    ledger.unlink()
    assert_one(folder, "ledger.jsonl", "cannot be read")


# --- what stands beside ---


def test_another_recipe(folder: Path) -> None:
    (folder / "recipe.yaml").write_text("source: {name: folder}\n")
    assert_one(folder, "recipe.yaml", "is not the recipe in the manifest")
    (folder / "recipe.yaml").write_text("a: [")
    assert_one(folder, "recipe.yaml", "cannot be read")
    (folder / "recipe.yaml").unlink()
    assert_one(folder, "recipe.yaml", "cannot be read")


def test_other_statistics(folder: Path) -> None:
    edit_json(folder / "statistics.json", lambda value: value["splits"]["train"].update(objects=1, crowds=0))
    assert_one(folder, "statistics.json", "does not match the shards (train: objects, crowds)")
    (folder / "statistics.json").unlink()
    assert_one(folder, "statistics.json", "has no statistics.json")


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("num_examples: 3", "num_examples: 4", "has num_examples {'train': 4, 'test': 1}"),
        ("download_size: ", "download_size: 1", "has download_size"),
        ("dtype: int32", "dtype: int64", "has other features than the shards"),
        ("data/train-*.parquet", "data/train-00000-*.parquet", "of split train; the manifest lists"),
        ("path: data/test-*.parquet", "path: /etc/*", "lists files [] of split test"),
        ("configs:", "conf:", "no complete dataset_info and configs"),
        ("assets/samples.jpg", "assets/sample.jpg", "shows assets/sample.jpg, which is missing"),
        ("---", "", "cannot be read"),
    ],
)
def test_a_card_that_says_something_else(folder: Path, before: str, after: str, message: str) -> None:
    card = folder / "README.md"
    assert before in card.read_text()
    card.write_text(card.read_text().replace(before, after, 1))
    assert_one(folder, "README.md", message)


@pytest.mark.parametrize("name", ["manifest.json", "ledger.jsonl", "statistics.json", "recipe.yaml", "README.md"])
def test_papers_nested_without_end_are_faults(folder: Path, name: str) -> None:
    (folder / name).write_text("---\na: " * (name == "README.md") + "[" * 100_000 + "\n---\n" * (name == "README.md"))
    assert any(where.startswith(name) for where, _ in found(folder))


def test_no_card(folder: Path) -> None:
    (folder / "README.md").unlink()
    assert_one(folder, "README.md", "cannot be read")


def test_progress_goes_through_every_row_once(folder: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    assert list(verify_files(FolderFiles(folder), lambda *step: seen.append(step))) == []
    total = sum(shard.rows for shard in Manifest.read(folder).shards)
    assert [done for _, done, _ in seen] == sorted(done for _, done, _ in seen)
    assert seen[-1] == ("verifying", total, total)
    assert {(stage, of) for stage, _, of in seen} == {("verifying", total)}


def test_a_missing_plot(folder: Path) -> None:
    (folder / "assets" / "phrases.png").unlink()
    assert_one(folder, "README.md", "shows assets/phrases.png, which is missing")


def test_a_missing_license(tmp_path: Path) -> None:
    rows = rows_of([record(1), record(2, license_name="cc-by-nc-4.0")])
    write_folder(tmp_path / "out", {"train": [rows]})
    assert found(tmp_path / "out") == []
    (tmp_path / "out" / "LICENSE").unlink()
    assert_one(tmp_path / "out", "README.md", "names LICENSE as its license, which is missing")


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_damage_is_reported_as_faults_without_exceptions(
    sound: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("damage") / "out"
    shutil.copytree(sound, folder)
    names = ["manifest.json", "ledger.jsonl", "README.md", "statistics.json", "recipe.yaml", SECOND]
    path = folder / data.draw(st.sampled_from(names))
    content = bytearray(path.read_bytes())
    start = data.draw(st.integers(0, len(content) - 1))
    junk = data.draw(st.binary(max_size=20))
    content[start : start + data.draw(st.integers(1, 40))] = junk
    path.write_bytes(content)
    faults = list(verify_files(FolderFiles(folder)))
    assert all("\n" not in str(fault) for fault in faults)
    if path.name.endswith(".parquet"):
        assert faults or file_sha256(path) == file_sha256(sound / SECOND)

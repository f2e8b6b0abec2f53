"""Shards: rows are restored, the layout is the measured one, and a file appears only when it is complete."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import datasets
import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from datasetkit.core.errors import BuiltFolderError, RecordError
from datasetkit.core.files import file_sha256
from datasetkit.core.mask import Mask
from datasetkit.core.record import (
    EncodedImage,
    KeyObject,
    ObjectStatus,
    Provenance,
    Record,
)
from datasetkit.core.schema import record_to_row, row_to_record
from datasetkit.export.dataset import shards
from datasetkit.export.dataset.reading import iter_shard, open_shard
from datasetkit.export.dataset.shards import ShardSize, ShardWriter
from tests.core.strategies import records
from tests.export.folders import overlay_of, png


def plain_record(number: int, image: EncodedImage | None = None) -> Record:
    image = image or png((6, 9), number)
    box = np.zeros(image.size_hw, dtype=np.bool_)
    box[1:4, 2:5] = True
    return Record(
        record_id=f"record {number}",
        image_id=f"image {number}",
        image=image,
        description="two 😀 cats" if number % 2 else None,
        source=Provenance(f"{number}.png", "unknown", hashlib.sha256(image.data).hexdigest()),
        objects=(KeyObject(0, Mask.from_array(box), "cat", is_key=True, status=ObjectStatus.MENTIONED),)
        if number % 3
        else (),
    )


def write(path: Path, items: list[Record], *, overlay: bool = True) -> ShardSize:
    with ShardWriter(path, overlay=overlay) as writer:
        for record in items:
            writer.write(record_to_row(record, overlay_of(record) if overlay else None))
    return writer.close()


def load(path: Path, cache: Path, *, streaming: bool) -> datasets.Dataset | datasets.IterableDataset:
    return datasets.load_dataset(
        "parquet", data_files=str(path), split="train", streaming=streaming, cache_dir=str(cache)
    )


def undecoded(dataset: datasets.Dataset | datasets.IterableDataset) -> list[dict]:
    for column in ("image", "overlay"):
        if column in dataset.column_names:
            dataset = dataset.cast_column(column, datasets.Image(decode=False))
    return list(dataset)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.integers(0, 0), min_size=1, max_size=3).flatmap(
        lambda many: st.tuples(*(records(str(i)) for i in range(len(many))))
    )
)
@pytest.mark.slow
def test_any_record_comes_back_from_load_dataset(tmp_path: Path, drawn: tuple[Record, ...]) -> None:
    write(tmp_path / "shard.parquet", list(drawn))
    rows = undecoded(load(tmp_path / "shard.parquet", tmp_path / "cache", streaming=True))
    assert tuple(map(row_to_record, rows)) == drawn


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("overlay", [False, True])
def test_plain_load_dataset_gives_the_rows_that_were_written(tmp_path: Path, streaming: bool, overlay: bool) -> None:
    items = [plain_record(number) for number in range(5)]
    size = write(tmp_path / "shard.parquet", items, overlay=overlay)
    dataset = load(tmp_path / "shard.parquet", tmp_path / "cache", streaming=streaming)
    assert size == ShardSize(5, (tmp_path / "shard.parquet").stat().st_size)
    assert [image["image"].size for image in dataset] == [(9, 6)] * 5
    assert ("overlay" in dataset.column_names) == overlay
    rows = undecoded(dataset)
    assert rows == [record_to_row(item, overlay_of(item) if overlay else None) for item in items]
    assert rows[0]["description"] is None
    assert rows[0]["objects"] == rows[0]["phrases"] == rows[0]["questions"] == []
    assert rows[1]["objects"][0]["scores"]["detection"] is None
    assert rows[1]["objects"][0]["source_bbox"] is None


def test_equal_rows_give_equal_bytes_in_another_process(tmp_path: Path) -> None:
    items = [plain_record(number) for number in range(3)]
    write(tmp_path / "one.parquet", items)
    script = (
        "import sys, pyarrow.parquet as pq\n"
        "from pathlib import Path\n"
        "from datasetkit.export.dataset.shards import ShardWriter\n"
        "with ShardWriter(Path(sys.argv[2]), overlay=True) as writer:\n"
        "    for row in pq.read_table(sys.argv[1]).to_pylist(): writer.write(row)\n"
    )
    again = tmp_path / "two.parquet"
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "one.parquet"), str(again)], check=True)
    assert again.read_bytes() == (tmp_path / "one.parquet").read_bytes()
    assert file_sha256(again) == hashlib.sha256(again.read_bytes()).hexdigest()


def test_layout_is_the_measured_one(tmp_path: Path) -> None:
    items = [plain_record(number) for number in range(450)]
    write(tmp_path / "shard.parquet", items)
    with open_shard(tmp_path / "shard.parquet") as file:
        metadata = file.metadata
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == [400, 50]
    leaves = {
        metadata.row_group(0).column(i).path_in_schema: metadata.row_group(0).column(i)
        for i in range(metadata.num_columns)
    }
    for name, leaf in leaves.items():
        image = name in {"image.bytes", "overlay.bytes"}
        assert leaf.compression == ("UNCOMPRESSED" if image else "ZSTD"), name
        assert leaf.has_offset_index, name
        assert leaf.has_dictionary_page is False or not image, name
    assert set(leaves["image.bytes"].encodings) == {"PLAIN", "RLE"}


def test_large_images_make_small_row_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = png((60, 60))
    monkeypatch.setattr(shards, "ROW_GROUP_IMAGE_BYTES", 3 * len(image.data))
    write(tmp_path / "shard.parquet", [plain_record(number, image) for number in range(7)], overlay=False)
    metadata = pq.read_metadata(tmp_path / "shard.parquet")
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == [3, 3, 1]


def test_equal_images_share_pages_after_an_insertion(tmp_path: Path) -> None:
    """Content-defined chunking: a row inserted at the front shifts page boundaries with the content."""
    random = np.random.default_rng(0)
    items = [plain_record(number, EncodedImage(random.bytes(68_000), "x.jpg", 9, 6)) for number in range(40)]
    columns = []
    for name, chosen in (("all", items), ("fewer", items[1:])):
        path = tmp_path / f"{name}.parquet"
        write(path, chosen, overlay=False)
        column = pq.read_metadata(path).row_group(0).column(0)
        assert column.path_in_schema == "image.bytes"
        columns.append(path.read_bytes()[column.data_page_offset :][: column.total_compressed_size])
    assert columns[0] != columns[1]
    assert columns[1].endswith(columns[0][-1_500_000:])


def test_nothing_appears_before_the_end_or_after_a_failure(tmp_path: Path) -> None:
    path = tmp_path / "shard.parquet"
    row = record_to_row(plain_record(1))
    writer = ShardWriter(path, overlay=False)
    writer.write(row)
    assert not path.exists()
    writer.abort()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ZeroDivisionError), ShardWriter(path, overlay=False) as interrupted:
        interrupted.write(row | {"width": 1 // 0})
    assert list(tmp_path.iterdir()) == []


def test_closing_twice_and_aborting_after_it_change_nothing(tmp_path: Path) -> None:
    writer = ShardWriter(tmp_path / "shard.parquet", overlay=False)
    writer.write(record_to_row(plain_record(1)))
    size = writer.close()
    writer.abort()
    assert writer.close() == size
    assert [path.name for path in tmp_path.iterdir()] == ["shard.parquet"]


def test_a_leftover_of_a_killed_run_is_replaced(tmp_path: Path) -> None:
    killed = ShardWriter(tmp_path / "shard.parquet", overlay=False)
    leftover = next(tmp_path.iterdir())
    killed.abort()
    leftover.write_bytes(b"junk of a killed run" * 10_000)
    write(tmp_path / "shard.parquet", [plain_record(1)], overlay=False)
    write(tmp_path / "clean.parquet", [plain_record(1)], overlay=False)
    assert (tmp_path / "shard.parquet").read_bytes() == (tmp_path / "clean.parquet").read_bytes()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"extra": 1}, "columns"),
        ({"overlay": {"bytes": b"x", "path": "x.jpg"}}, "columns"),
        ({"image": None}, "image of row 'record 1'"),
        ({"image": {"bytes": None, "path": "x.png"}}, "image of row 'record 1'"),
        ({"width": 2**40}, "rows 0 to 0"),
        ({"description": "\ud800"}, "rows 0 to 0"),
    ],
)
def test_a_row_that_does_not_fit_is_refused(tmp_path: Path, change: dict, message: str) -> None:
    row = record_to_row(plain_record(1)) | change
    with pytest.raises(RecordError, match=message), ShardWriter(tmp_path / "shard.parquet", overlay=False) as writer:
        writer.write(row)
    assert list(tmp_path.iterdir()) == []


def test_reading_chooses_columns_in_order(tmp_path: Path) -> None:
    write(tmp_path / "shard.parquet", [plain_record(number) for number in range(40)], overlay=False)
    rows = list(iter_shard(tmp_path / "shard.parquet", ["record_id", "width"]))
    assert rows == [{"record_id": f"record {number}", "width": 9} for number in range(40)]


def test_reading_refuses_what_is_no_shard(tmp_path: Path) -> None:
    with pytest.raises(BuiltFolderError, match="missing"):
        list(iter_shard(tmp_path / "none.parquet"))
    (tmp_path / "text.parquet").write_text("not Parquet")
    with pytest.raises(BuiltFolderError, match="cannot be read as Parquet"):
        list(iter_shard(tmp_path / "text.parquet"))
    foreign = tmp_path / "foreign.parquet"
    pq.write_table(pq.read_table(_shard(tmp_path)).replace_schema_metadata({}), foreign)
    with pytest.raises(BuiltFolderError, match="schema version None"):
        list(iter_shard(foreign))
    with pytest.raises(BuiltFolderError, match="no column"):
        list(iter_shard(_shard(tmp_path), ["record_id", "caption"]))


def test_reading_names_a_shard_that_breaks_off(tmp_path: Path) -> None:
    path = _shard(tmp_path)
    data = bytearray(path.read_bytes())
    start = pq.read_metadata(path).row_group(0).column(0).data_page_offset
    data[start : start + 200] = bytes(200)
    path.write_bytes(data)
    with pytest.raises(BuiltFolderError, match="ends after row"):
        list(iter_shard(path))


def _shard(folder: Path) -> Path:
    write(folder / "shard.parquet", [plain_record(1)], overlay=False)
    return folder / "shard.parquet"

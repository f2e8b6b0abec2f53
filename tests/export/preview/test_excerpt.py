"""Excerpts: which records are chosen, and that only their shards and row groups are read."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasetkit.core.errors import BuiltFolderError
from datasetkit.export.dataset import shards
from datasetkit.export.dataset.manifest import Manifest
from datasetkit.export.preview import excerpt
from datasetkit.export.preview.excerpt import spread_records
from tests.export.folders import bare_record, rows_of, write_folder

RECORDS = 120


def folder_of(folder: Path, shard_rows: int) -> Manifest:
    rows = rows_of([bare_record(number) for number in range(RECORDS)], overlay=False)
    groups = [rows[place : place + shard_rows] for place in range(0, RECORDS, shard_rows)]
    return write_folder(folder, {"train": groups[:-1], "test": groups[-1:]}, described=False)


def chosen(folder: Path, manifest: Manifest, limit: int) -> list[str]:
    return [record.record_id for _, record in spread_records(folder, manifest, limit)]


def test_runs_are_spread_over_the_dataset(tmp_path: Path) -> None:
    manifest = folder_of(tmp_path, 3)
    found = chosen(tmp_path, manifest, 40)
    assert found == [f"record {first + step}" for first in range(0, RECORDS, 6) for step in range(2)]


@pytest.mark.parametrize("limit", [RECORDS, RECORDS + 1])
def test_a_small_dataset_is_shown_in_order(tmp_path: Path, limit: int) -> None:
    manifest = folder_of(tmp_path, 7)
    assert chosen(tmp_path, manifest, limit) == [f"record {number}" for number in range(RECORDS)]


def test_rows_are_named_by_shard_and_number(tmp_path: Path) -> None:
    manifest = folder_of(tmp_path, 50)
    names = [where for where, _ in spread_records(tmp_path, manifest, 2)]
    assert names == [
        f"{tmp_path / 'data/train-00000-of-00002.parquet'} row 0",
        f"{tmp_path / 'data/train-00001-of-00002.parquet'} row 10",
    ]


def test_only_shards_with_chosen_records_are_opened(tmp_path: Path) -> None:
    manifest = folder_of(tmp_path, 2)
    expected = chosen(tmp_path, manifest, 20)
    opened = {place // 2 for place in range(0, RECORDS, 6)}
    for number, shard in enumerate(manifest.shards):
        if number not in opened:
            (tmp_path / shard.path).unlink()
    assert chosen(tmp_path, manifest, 20) == expected
    assert len(opened) == 20


def test_only_row_groups_with_chosen_records_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "ROW_GROUP_ROWS", 5)
    monkeypatch.setattr(excerpt, "_RUNS", 3)
    manifest = folder_of(tmp_path, RECORDS // 2)
    expected = chosen(tmp_path, manifest, 6)
    assert expected == ["record 0", "record 1", "record 40", "record 41", "record 80", "record 81"]
    for shard, read in zip(manifest.shards, ({0, 8}, {4}), strict=True):
        metadata = pq.read_metadata(tmp_path / shard.path)
        assert metadata.num_row_groups == 12
        for group in {*range(12)} - read:
            damage(tmp_path / shard.path, metadata.row_group(group))
    assert chosen(tmp_path, manifest, 6) == expected
    with pytest.raises(BuiltFolderError, match="ends after row"):
        chosen(tmp_path, manifest, RECORDS)


def damage(path: Path, group: pq.RowGroupMetaData) -> None:
    """Overwrite the pages of a row group."""
    columns = [group.column(index) for index in range(group.num_columns)]
    start = min(one.dictionary_page_offset or one.data_page_offset for one in columns)
    with path.open("r+b") as file:
        file.seek(start)
        file.write(b"\xff" * sum(one.total_compressed_size for one in columns))


@given(st.integers(0, 5000), st.integers(1, 500))
def test_runs_are_disjoint_and_as_long_as_allowed(total: int, limit: int) -> None:
    runs = excerpt._runs(total, limit)
    places = [place for run in runs for place in run]
    assert places == sorted({*places})
    assert len(places) == min(total, limit)
    assert all(0 <= place < total for place in places)
    assert len(runs) <= 20

"""Verification in workers: the same report from any number of them, also where shards are damaged or workers die."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from datasetkit.api.built import open_built
from datasetkit.cli import app
from datasetkit.core.errors import RecipeError
from datasetkit.export.dataset.shards import ShardWriter
from datasetkit.export.verification import shards as shards_module
from tests import deadly
from tests.export.folders import bare_record, record, refit, rows_of, write_folder

pytestmark = pytest.mark.slow

COUNT = 9


def shard(index: int) -> str:
    return f"data/train-{index:05d}-of-{COUNT:05d}.parquet"


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("workers") / "sound"
    groups = [rows_of([record(10 * group + place) for place in range(3)]) for group in range(COUNT)]
    write_folder(folder, {"train": groups, "test": [rows_of([bare_record(900), bare_record(901)])]})
    return folder


@pytest.fixture(scope="module")
def damaged(sound: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Damage of every kind, with sound shards between."""
    folder = shutil.copytree(sound, tmp_path_factory.mktemp("workers") / "damaged")
    rewrite(folder / shard(1), overlay=False)
    rewrite(folder / shard(2), box=[0.0, 0.0, 1.0, 1.0])
    shutil.copy(folder / shard(0), folder / shard(4))
    refit(folder)
    (folder / shard(5)).unlink()
    flip(folder / shard(6), b"IDAT")
    flip(folder / shard(7), b"PAR1", last=True)
    return folder


def rewrite(path: Path, *, overlay: bool = True, box: list[float] | None = None) -> None:
    rows = pq.read_table(path).to_pylist()
    if box is not None:
        rows[1]["objects"][0]["bbox"] = box
    with ShardWriter(path, overlay=overlay) as writer:
        for row in rows:
            writer.write({name: value for name, value in row.items() if overlay or name != "overlay"})


def flip(path: Path, mark: bytes, *, last: bool = False) -> None:
    data = bytearray(path.read_bytes())
    place = data.rindex(mark) if last else data.index(mark) + 40
    data[place] ^= 1
    path.write_bytes(data)


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces of one row, where row groups allow it."""
    monkeypatch.setattr(shards_module, "_PIECE_ROWS", 1)


def lines(folder: Path, **workers: object) -> list[str]:
    return [str(fault) for fault in open_built(folder).verify(engine="processes", **workers).faults]


def test_report_is_the_same_from_any_number_of_workers(damaged: Path, small_pieces: None) -> None:
    expected = lines(damaged, workers=1)
    for where, what in (
        (shard(1), "has the columns"),
        (f"{shard(2)} row 1", "object 0 has bbox"),
        (f"{shard(4)} row 2", f"has the record_id of {shard(0)} row 2"),
        (shard(5), "is missing"),
        (shard(6), "of sha256"),
        (shard(7), "cannot be read as Parquet"),
    ):
        assert [line for line in expected if line.startswith(f"{where}: ") and what in line], (where, expected)
    assert lines(damaged, workers=2) == expected
    assert lines(damaged, workers=4) == expected


def test_sound_folder_has_no_fault_for_any_number_of_workers(sound: Path) -> None:
    """Statistics are the sum of what workers counted."""
    assert lines(sound, workers=2) == []


def test_pieces_cover_every_row_group_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A shard of five row groups, of which one has a bad row, in one to ten pieces."""
    rows = rows_of([record(number) for number in range(10)])
    monkeypatch.setattr("datasetkit.export.dataset.shards.ROW_GROUP_ROWS", 2)
    write_folder(tmp_path / "in", {"train": [rows]})
    (path,) = (tmp_path / "in" / "data").iterdir()
    assert pq.ParquetFile(path).num_row_groups == 5
    rewrite(path, box=[0.0, 0.0, 1.0, 1.0])
    refit(tmp_path / "in")
    reports = []
    for most in (20, 5, 3, 2, 1):
        monkeypatch.setattr(shards_module, "_PIECE_ROWS", most)
        reports.append([str(fault) for fault in open_built(tmp_path / "in").verify(workers=1).faults])
    assert all(report == reports[0] for report in reports)
    assert len(reports[0]) == 1


def test_worker_killed_on_a_shard_changes_nothing(
    sound: Path, small_pieces: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lives = deadly.deaths(monkeypatch, tmp_path / "lives", shard(4), 2)
    assert open_built(sound).verify(engine=deadly.ENGINE, workers=2).faults == ()
    assert lives.read_bytes() == b""


def test_shard_that_always_kills_is_one_fault(sound: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    lives = deadly.deaths(monkeypatch, tmp_path / "lives", shard(4), 5)
    (fault,) = open_built(sound).verify(engine=deadly.ENGINE, workers=2).faults
    assert str(fault).startswith(f"{shard(4)}: was not checked: 3 workers died on it (the last: killed by SIGKILL)")
    assert not fault.is_warning
    assert lives.read_bytes() == b"xx"


def test_repeated_ids_are_found_across_workers(sound: Path, tmp_path: Path, small_pieces: None) -> None:
    again = replace(record(0), record_id="again")
    write_folder(tmp_path / "in", {"train": [rows_of([record(0)]), rows_of([again])], "test": [rows_of([record(0)])]})
    found = lines(tmp_path / "in", workers=3)
    assert any("has the record_id of data/train-00000-of-00002.parquet row 0" in line for line in found)
    assert any(line.startswith("warning: ") and "in another split" in line for line in found)


def test_command_with_workers_prints_the_same(damaged: Path) -> None:
    def run(*options: str) -> tuple[int, str]:
        shown = CliRunner().invoke(app, ["verify", str(damaged), "--json", *options])
        return shown.exit_code, shown.stdout

    code, expected = run()
    assert (code, json.loads(expected)["is_sound"]) == (1, False)
    assert run("--engine", "processes", "--workers", "2") == (1, expected)


def test_unknown_options_of_workers_are_refused(sound: Path) -> None:
    with pytest.raises(RecipeError, match="known: engine, ray_address, workers"):
        open_built(sound).verify(worker=2)
    with pytest.raises(RecipeError, match="workers: Input should be greater than or equal to 1"):
        open_built(sound).verify(workers=0)

"""Statistics: counted by hand on a few records, and the same on every run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from datasetkit.core.errors import BuiltFolderError
from datasetkit.core.record import Scores
from datasetkit.export.dataset.reading import iter_rows
from datasetkit.export.statistics.counter import compute_statistics
from datasetkit.export.statistics.statistics import Histogram, Statistics
from tests.export.folders import bare_record, record, rows_of, write_folder


@pytest.fixture
def statistics(tmp_path: Path) -> Statistics:
    rows = rows_of([record(1), record(2, license_name="cc0-1.0"), bare_record(3)])
    again = rows_of([record(4, image=record(1).image)])
    manifest = write_folder(tmp_path, {"train": [rows[:1], rows[1:]], "test": [again]}, described=False)
    return compute_statistics(tmp_path, manifest)


def test_counts(statistics: Statistics) -> None:
    total = statistics.total
    assert list(statistics.splits) == ["train", "test"]
    assert [statistics.splits[name].records for name in statistics.splits] == [3, 1]
    assert (total.records, total.described, total.pictures) == (4, 3, 3)
    assert (total.objects, total.key_objects, total.crowds, total.uncategorised) == (12, 6, 3, 3)
    assert (total.phrases, total.links, total.candidates, total.questions) == (9, 6, 3, 3)
    assert total.phrase_status == {"matched": 3, "ambiguous": 3, "absent": 0, "not_an_object": 3}
    assert total.phrase_reasons == {
        "matched": {},
        "ambiguous": {"several_candidates": 3},
        "absent": {},
        "not_an_object": {"abstract_noun": 3},
    }
    assert total.object_status == {"mentioned": 6, "candidate": 3, "unmentioned": 3}
    assert total.scores == {}
    assert list(total.categories.items()) == [("cat", 6), ("person", 3)]
    assert total.category_count == 2
    assert list(total.licenses.items()) == [("cc-by-4.0", 2), ("cc0-1.0", 1), ("unknown", 1)]
    assert list(total.picture_sizes.items()) == [("32 x 24", 3), ("24 x 32", 1)]
    assert total.num_bytes == sum(item.num_bytes for item in statistics.splits.values()) > 0


def test_scores_are_those_of_the_shards(tmp_path: Path) -> None:
    items = [replace(item, scores=Scores(detection=0.5, cleaning_iou=0.75)) for item in record(1).objects]
    rows = rows_of([replace(record(1), objects=tuple(items)), bare_record(2), record(3)])
    manifest = write_folder(tmp_path, {"train": [rows[:2]], "test": [rows[2:]]}, described=False)
    found = compute_statistics(tmp_path, manifest)
    assert {name: (item.measured, item.mean) for name, item in found.total.scores.items()} == {
        "detection": (4, 0.5),
        "cleaning_iou": (4, 0.75),
    }
    assert found.splits["train"].scores == found.total.scores
    assert found.splits["test"].scores == {}
    assert Statistics.from_json(json.loads(json.dumps(found.to_json()))) == found


def occupied(histogram: Histogram) -> dict[float, int]:
    return {lower: count for lower, count in zip(histogram.lower, histogram.counts, strict=True) if count}


def test_distributions(statistics: Statistics) -> None:
    total = statistics.total
    assert occupied(total.objects_per_record) == {0: 1, 4: 3}
    assert occupied(total.key_objects_per_record) == {0: 1, 2: 3}
    assert occupied(total.phrases_per_record) == {0: 1, 3: 3}
    assert occupied(total.description_words) == {5: 3}
    assert occupied(total.longer_side_px) == {1: 4}
    # 64, 54, 200 and 4 of 768 px
    assert occupied(total.mask_share) == {0.03: 6, 0.1: 3, 0.003: 3}


def test_json_there_and_back(statistics: Statistics, tmp_path: Path) -> None:
    statistics.write(tmp_path)
    assert Statistics.read(tmp_path) == statistics
    first = (tmp_path / "statistics.json").read_bytes()
    Statistics.read(tmp_path).write(tmp_path)
    assert (tmp_path / "statistics.json").read_bytes() == first


@pytest.mark.parametrize("text", ["{", "[]", '{"total": {}, "splits": {}}'])
def test_other_json_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "statistics.json").write_text(text)
    with pytest.raises(BuiltFolderError, match=r"statistics\.json (contains no statistics of datasetkit|is not JSON)"):
        Statistics.read(tmp_path)


def test_missing_statistics_are_named(tmp_path: Path) -> None:
    with pytest.raises(BuiltFolderError, match=r"no statistics\.json"):
        Statistics.read(tmp_path)


def test_no_rows_at_all(tmp_path: Path) -> None:
    manifest = write_folder(tmp_path, {}, described=False)
    statistics = compute_statistics(tmp_path, manifest)
    assert (statistics.total.records, statistics.total.pictures, statistics.splits) == (0, 0, {})
    assert Statistics.from_json(json.loads(json.dumps(statistics.to_json()))) == statistics


def test_rows_come_split_by_split_with_their_shards(tmp_path: Path) -> None:
    rows = rows_of([record(1), record(2), record(3)])
    manifest = write_folder(tmp_path, {"train": [rows[:1], rows[1:2]], "test": [rows[2:]]}, described=False)
    found = [(shard.path, row) for shard, row in iter_rows(tmp_path, manifest, ["record_id"])]
    assert found == [
        ("data/train-00000-of-00002.parquet", {"record_id": "record 1"}),
        ("data/train-00001-of-00002.parquet", {"record_id": "record 2"}),
        ("data/test-00000-of-00001.parquet", {"record_id": "record 3"}),
    ]

"""Files of results that are damaged: the error names the file, the key or column, and what to do."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datasetkit.core.errors import BuiltFolderError
from datasetkit.hi_scoring.runs.drops import DROPS_NAME, read_drops
from datasetkit.hi_scoring.runs.facts import Count, Facts, ModelFacts, read_facts
from datasetkit.hi_scoring.runs.files import write_arrays
from datasetkit.hi_scoring.runs.reading import Columns, read_arrays, read_frame, read_table


class _Facts(Facts):
    FORMAT: ClassVar[int | None] = 2

    n: Count
    model: ModelFacts


GOOD: dict[str, Any] = {"format": 2, "n": 3, "model": {"id": "m", "revision": None, "sha256": "ab"}, "more": [1]}
COLUMNS: Columns = {"name": "text", "heads": "whole", "draw": "whole or null", "p": "number", "said": "texts or null"}
TABLE = pa.table(
    {
        "name": ["a", "b"],
        "heads": [1, 2],
        "draw": [None, 1],
        "p": [0.5, None],
        "said": pa.nulls(2),
        "worse": [True, False],
    }
)


def facts(path: Path, content: object) -> dict[str, Any]:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return read_facts(path, _Facts, "head scores", "score it again")


def test_facts_round_trip(tmp_path: Path) -> None:
    assert facts(tmp_path / "x.json", GOOD) == GOOD


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("{", "x.json is not JSON"),
        ("[" * 100_000, "x.json is not JSON"),
        ("[]", "holds head scores of format null; this datasetkit reads format 2"),
        (GOOD | {"format": "2"}, 'holds head scores of format "2"; this datasetkit reads format 2'),
        (GOOD | {"n": True}, "x.json is damaged: n is true: input should be a valid integer; score it again"),
        (GOOD | {"n": -1}, "n is -1: input should be greater than or equal to 0"),
        (GOOD | {"n": 1e308}, "n is 1e+308"),
        (GOOD | {"model": None}, "model is null"),
        (GOOD | {"model": {"id": "m", "revision": None}}, "x.json is damaged: model.sha256 is missing; score it again"),
        (GOOD | {"model": {"id": "x" * 5000, "revision": 3, "sha256": None}}, "model.revision is 3"),
    ],
)
def test_damaged_facts_are_refused(tmp_path: Path, content: object, told: str) -> None:
    with pytest.raises(BuiltFolderError) as caught:
        facts(tmp_path / "x.json", content)
    assert told in str(caught.value)
    assert len(str(caught.value)) < 400
    assert "\n" not in str(caught.value)


def test_missing_facts_are_reported(tmp_path: Path) -> None:
    with pytest.raises(BuiltFolderError, match=r"holds no finished head scores: x\.json is missing; score it again"):
        read_facts(tmp_path / "x.json", _Facts, "head scores", "score it again")
    with pytest.raises(BuiltFolderError, match="there is no such folder"):
        read_facts(tmp_path / "none" / "x.json", _Facts, "head scores", "score it again")
    (tmp_path / "x.json").symlink_to("x.json")
    with pytest.raises(BuiltFolderError, match=os.strerror(40)):
        read_facts(tmp_path / "x.json", _Facts, "head scores", "score it again")


def test_valid_table_is_read(tmp_path: Path) -> None:
    pq.write_table(TABLE.replace_schema_metadata({"pandas": "{", "drops": "[]"}), tmp_path / "x.parquet")
    table, texts = read_table(tmp_path / "x.parquet", COLUMNS, "knockouts", "run it again")
    assert table.equals(TABLE)
    assert texts["drops"] == "[]"
    frame = read_frame(tmp_path / "x.parquet", COLUMNS, "knockouts", "run it again", keys=("name",), grid=("name",))
    assert frame["draw"].isna().tolist() == [True, False]


@pytest.mark.parametrize(
    ("table", "told"),
    [
        (TABLE.drop_columns(["heads"]), "column heads is missing; it has name, draw"),
        (TABLE.set_column(1, "heads", pa.array([1.0, 2.0])), "column heads holds double, not whole numbers"),
        (TABLE.set_column(1, "heads", pa.array([1, None])), "column heads has cells without a value"),
        (TABLE.set_column(0, "name", pa.nulls(2)), "column name holds null, not texts"),
        (TABLE.set_column(3, "p", pa.array(["a", "b"])), "column p holds string, not numbers"),
        (TABLE.set_column(0, "name", pa.array(["a", "a"])), "two rows have the same name"),
        (pa.concat_tables([TABLE.slice(0, 1)] * 2), "two rows have the same name"),
        (TABLE.slice(0, 0), "rows of some name, heads are missing"),
        (TABLE, "rows of some name, heads are missing"),
    ],
)
def test_damaged_tables_are_refused(tmp_path: Path, table: pa.Table, told: str) -> None:
    pq.write_table(table, tmp_path / "x.parquet")
    with pytest.raises(BuiltFolderError, match=rf"x\.parquet is damaged: {told}"):
        read_frame(tmp_path / "x.parquet", COLUMNS, "knockouts", "run it again", keys=("name",), grid=("name", "heads"))


def test_texts_of_tables_that_are_not_utf8_are_refused(tmp_path: Path) -> None:
    names = pa.array([b"\xff", b"b"]).view(pa.string())
    pq.write_table(pa.table({"name": names}), tmp_path / "x.parquet")
    with pytest.raises(BuiltFolderError, match=r"x\.parquet cannot be read: .*UTF8"):
        read_table(tmp_path / "x.parquet", {"name": "text"}, "knockouts", "run it again")


def test_arrays_are_read_and_damaged_ones_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    write_arrays(path, {"a": np.zeros((2, 3))}, {"part": "{}"})
    arrays, texts = read_arrays(path, "ablation", "remove it")
    assert arrays["a"].shape == (2, 3)
    assert texts == {"part": "{}"}
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(BuiltFolderError, match=r"x\.safetensors cannot be read: .*; remove it"):
        read_arrays(path, "ablation", "remove it")
    write_arrays(path, {"a": np.zeros(2, dtype=bool)})
    with pytest.raises(BuiltFolderError, match=r"x\.safetensors is damaged: a holds bool, not numbers"):
        read_arrays(path, "ablation", "remove it")
    path.unlink()
    with pytest.raises(BuiltFolderError, match=r"holds no finished ablation: x\.safetensors is missing"):
        read_arrays(path, "ablation", "remove it")


@pytest.mark.parametrize("line", ["\ufeff{}", "[]", '{"row": 1, "record_id": "a", "reason": "no such", "detail": ""}'])
def test_damaged_drops_are_refused(tmp_path: Path, line: str) -> None:
    (tmp_path / DROPS_NAME).write_text(line, encoding="utf-8")
    with pytest.raises(BuiltFolderError, match=r"drops\.jsonl is damaged: .*run it again"):
        read_drops(tmp_path)

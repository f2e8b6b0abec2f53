"""Tables of questions: CSV and Parquet, the columns of the reference data, and rows that cannot be used."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from datasetkit.core.errors import SourceError
from datasetkit.hi_scoring.data.reading import read_image
from datasetkit.hi_scoring.interventions.question_tables import read_question_table
from datasetkit.hi_scoring.interventions.questions import Questions


def read(path: Path, **options: Any) -> Questions:
    return read_question_table(path, "{question}", **options)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    for name in ("images/a.png", "2413209.jpg"):
        Image.fromarray(np.full((20, 30, 3), 200, np.uint8)).save(tmp_path / name)
    return tmp_path


def write(path: Path, *rows: dict[str, Any]) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(list(rows)), path)
        return path
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(column for row in rows for column in row)))
        writer.writeheader()
        writer.writerows(rows)
    return path


ROW = {"image": "images/a.png", "question": "Is it red?", "answer": "yes"}
# As in the reference data, except columns that are not read.
COMPARED = {
    "question_id": "02198848",
    "img_id": "2413209",
    "question": "What do the marker and the post have in common?",
    "answer": "color",
    "type_detailed": "twoCommon",
    "type_semantic": "attr",
    "type_structural": "compare",
    "image_w": "30",
    "image_h": "20",
    "object1 w": "4",
    "object1 h": "5",
    "object1 x": "1",
    "object1 y": "2",
    "object2 w": "-",
    "object2 h": "-",
    "object2 x": "-",
    "object2 y": "-",
}
CHOSEN = {
    "question_id": "171031170",
    "img_id": "2413209.jpg",
    "question": "Is the jar full or empty?",
    "answer": "empty",
    "true option": "empty",
    "false option": "full",
    "type_semantic": "attr",
    "type_structural": "choose",
    "central object w": "60",
    "central object h": "10",
    "central object x": "3",
    "central object y": "0",
}


def test_the_columns_of_the_reference_data_are_read(folder: Path) -> None:
    [compared] = read(write(folder / "compared.csv", COMPARED)).items
    assert (compared.record_id, compared.category, compared.options) == ("02198848", "compare attribute", ())
    assert compared.boxes == ((1, 2, 4, 5),)
    found = read(write(folder / "chosen.csv", CHOSEN))
    [chosen] = found.items
    assert (chosen.category, chosen.options, chosen.false_option) == ("choose attribute", ("empty", "full"), "full")
    assert chosen.boxes == ((3, 0, 60, 10),)
    assert [chosen.prompt[start:end] for start, end in chosen.options_spans] == ["full", "empty"]
    assert found.image(chosen).size == (30, 20)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_lists_are_lists_in_parquet_and_json_in_csv(folder: Path, suffix: str) -> None:
    boxes, options = [[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]], ["yes", "no"]
    as_json = suffix == ".csv"
    row = ROW | {
        "options": json.dumps(options) if as_json else options,
        "boxes": json.dumps(boxes) if as_json else boxes,
        "category": "existence",
    }
    [item] = read(write(folder / f"table{suffix}", row)).items
    assert item.boxes == tuple(map(tuple, boxes))
    assert (item.options, item.category, item.record_id) == (("yes", "no"), "existence", "row-0")


def test_questions_of_one_record_are_numbered_on(folder: Path) -> None:
    named = ROW | {"record_id": "a"}
    table = write(
        folder / "table.csv",
        named,
        named | {"image": "./images/a.png"},
        named | {"question": ""},
        named,
        ROW | {"image": "2413209.jpg"},
        ROW | {"image": "", "img_id": "2413209"},
    )
    found = [(item.name, item.picture_id) for item in read(table).items]
    image, other = "images/a.png", "2413209.jpg"
    assert found == [("a#0", image), ("a#1", image), ("a#3", image), ("row-4#0", other), ("row-5#0", other)]


BAD = {
    "no image": ({"image": "images/b.png"}, "missing"),
    "another folder's image": ({"image": "../a.png"}, "path_escapes"),
    "a path": ({"image": "/etc/passwd"}, "path_escapes"),
    "no name": ({"image": ""}, "bad_row"),
    "no question": ({"question": " "}, "bad_row"),
    "no answer": ({"answer": "-"}, "bad_row"),
    "another answer": ({"options": '["no", "maybe"]'}, "bad_row"),
    "no list": ({"options": '"yes"'}, "bad_row"),
    "no JSON": ({"boxes": "[1, 2"}, "bad_row"),
    "three numbers": ({"boxes": "[[1, 2, 3]]"}, "bad_row"),
    "no number": ({"object1 x": "left", "object1 y": "1", "object1 w": "1", "object1 h": "1"}, "bad_row"),
    "no area": ({"boxes": "[[1, 2, 0, 3]]"}, "bad_row"),
}


@pytest.mark.parametrize(("change", "reason"), BAD.values(), ids=BAD)
def test_bad_row_is_dropped_with_its_reason(folder: Path, change: dict[str, str], reason: str) -> None:
    found = read(write(folder / "table.csv", ROW, ROW | change))
    assert [item.row for item in found.items] == [0]
    [drop] = found.drops
    assert (drop.row, drop.item_id, drop.reason) == (1, "row-1", reason)


def test_only_the_first_rows_are_read_and_identity_is_by_content(folder: Path) -> None:
    table = write(folder / "table.csv", ROW, ROW, ROW)
    found = read(table, limit=2)
    assert (len(found), found.identity.rows, found.identity.name) == (2, 2, "table.csv")
    assert read(table, limit=2).identity == found.identity
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(folder / "images" / "a.png")
    assert read(table, limit=2).identity.sha256 != found.identity.sha256
    assert read_image(found.rows, 1).getpixel((0, 0)) == (0, 0, 0)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("table.csv", b"image,words\n", r"has no column question; it has image, words"),
        ("table.csv", b"picture,question,answer\n", r"has no column image or img_id; it has picture"),
        ("table.csv", b"image,question,answer\n", r"table.csv has no usable closed question"),
        ("table.csv", b"", "cannot be read"),
        ("table.csv", b"image,question,answer\n\xff\xfe,1,2\n", "cannot be read"),
        ("table.parquet", b"PAR1 not really", "cannot be read"),
    ],
)
def test_unreadable_table_is_one_line(folder: Path, name: str, content: bytes, told: str) -> None:
    (folder / name).write_bytes(content)
    with pytest.raises(SourceError, match=told) as caught:
        read(folder / name)
    assert "\n" not in str(caught.value)


def test_missing_table_is_reported(folder: Path) -> None:
    with pytest.raises(SourceError, match=r"nothing\.csv does not exist"):
        read(folder / "nothing.csv")

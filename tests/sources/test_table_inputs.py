"""Rows and shards as people have them: nested texts, lists of images, splits, odd keys, and unused columns."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import pytest

import datasetkit as dk
from datasetkit.core.errors import SourceError
from datasetkit.core.ledger import NoticeKind, PassedOverKind
from datasetkit.core.protocols import Source
from datasetkit.options.sources import ParquetOptions, WebdatasetOptions
from datasetkit.sources.parquet import ParquetSource
from datasetkit.sources.webdataset import WebdatasetSource
from tests.pipeline.builders import make_image
from tests.sources.tables import outcomes, write_rows

IMAGE = {"bytes": make_image(), "path": "a.png"}
TALK = [{"from": "human", "value": "<image>\nWhat is it?"}, {"from": "gpt", "value": "A cat."}]


def rows(tmp_path: Path, *given: dict[str, Any], **options: Any) -> ParquetSource:
    write_rows(tmp_path / "rows.parquet", given)
    return ParquetSource(ParquetOptions(files=(tmp_path / "rows.parquet",), **options))


def shard(tmp_path: Path, members: list[tuple[str, bytes]], **options: Any) -> WebdatasetSource:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return WebdatasetSource(WebdatasetOptions(shards=(tmp_path / "a.tar",), **options))


def kinds(source: Source) -> dict[PassedOverKind, tuple[str, ...]]:
    return {item.kind: item.examples for item in source.passed_over()}


def notices(source: Source) -> list[list[NoticeKind]]:
    return [[notice.kind for notice in source.read(entry).notices] for entry in source.entries()]


@pytest.mark.parametrize(
    ("row", "column"),
    [
        ({"sentences": [{"raw": "A cat.", "sentid": 1}, {"raw": "A tom.", "sentid": 2}]}, "sentences.raw"),
        ({"info": {"en": {"long": "A cat."}}}, "info.en.long"),
        ({"conversations": TALK}, "conversations.value"),
        ({"a.b": "A cat."}, "a.b"),
    ],
)
def test_text_inside_a_column(tmp_path: Path, row: dict[str, Any], column: str) -> None:
    with pytest.raises(SourceError, match=f"it has {column}; --text-column says which of them holds"):
        rows(tmp_path, {"image": IMAGE} | row)
    assert outcomes(rows(tmp_path, {"image": IMAGE} | row, text_column=column)) == {"rows.parquet/0": "A cat."}


@pytest.mark.parametrize("column", ["mask", "segmentation", "instance_masks", "polygons", "poly"])
def test_columns_of_masks_are_refused(tmp_path: Path, column: str) -> None:
    row = {"image": IMAGE, "text": "A cat.", column: IMAGE if column == "mask" else [[1.0, 2.0, 3.0]]}
    with pytest.raises(SourceError, match=f"holds masks in {column}, .* --ignore {column}"):
        rows(tmp_path, row)
    source = rows(tmp_path, row, ignore=(column,))
    assert (outcomes(source), kinds(source)) == ({"rows.parquet/0": "A cat."}, {PassedOverKind.IGNORED: (column,)})


def test_other_columns_are_counted(tmp_path: Path) -> None:
    objects = {"bbox": [[1.0, 2.0, 3.0, 4.0]], "category": [1]}
    row = {"image": IMAGE, "text": "A cat.", "objects": objects, "url": "x", "alt": "A tom.", "has_mask": True}
    assert kinds(rows(tmp_path, row | {"thumbnail": make_image(1)})) == {
        PassedOverKind.BOX_COLUMN: ("objects",),
        PassedOverKind.TEXT_COLUMN: ("alt",),
        PassedOverKind.OTHER_COLUMN: ("url", "has_mask"),
        PassedOverKind.IMAGE_COLUMN: ("thumbnail",),
    }


def test_rows_name_their_split(tmp_path: Path) -> None:
    splits = ["val", "test", None, "test A/1", "restval", ""]
    given = [
        {"image": {"bytes": make_image(n), "path": None}, "text": "x", "split": name} for n, name in enumerate(splits)
    ]
    expected = ["validation", "test", None, "test_A_1", "train", None]
    assert [entry.split for entry in rows(tmp_path, *given).entries()] == expected
    assert {entry.split for entry in rows(tmp_path, *given, ignore=("split",)).entries()} == {None}
    built = dk.build(datasets.Dataset.from_list(given), tmp_path / "out")
    assert set(built.manifest.split_rows) == {"validation", "test", "train", "test_A_1"}


def test_list_of_one_image_is_that_image(tmp_path: Path) -> None:
    given = [{"images": [IMAGE], "text": "one"}, {"images": [IMAGE, IMAGE], "text": "two"}, {"images": [], "text": "0"}]
    expected = {"rows.parquet/0": "one", "rows.parquet/1": "bad_row", "rows.parquet/2": "missing"}
    assert outcomes(rows(tmp_path, *given)) == expected
    features = datasets.Features({"images": datasets.List(datasets.Image()), "text": datasets.Value("string")})
    for kept in (
        datasets.Dataset.from_list(given, features=features),
        [{"images": [noise()], "text": "one"}, *given[1:]],
    ):
        built = dk.build(kept, tmp_path / "out", overwrite=True)
        assert (len(built), built.manifest.tally.dropped["record"].total()) == (1, 2)


def noise() -> np.ndarray[Any, Any]:
    return np.arange(24 * 31 * 3, dtype=np.uint8).reshape(24, 31, 3)


def test_missing_cells_of_pandas_are_missing(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {"image": [make_image(n) for n in range(3)], "text": [float("nan"), "b", 7], "id": [1.0, None, 3]}
    )
    built = dk.build(frame, tmp_path / "out", id_column="id")
    found = {row["record_id"]: row["description"] for row in dk.load(tmp_path / "out", split="train")}
    assert found == {"1": None, "000001": "b", "3": "7"}
    assert built.manifest.tally.notices == {NoticeKind.NO_DESCRIPTION: 1, NoticeKind.TEXT_FROM_NUMBER: 1}


def test_columns_with_one_name_are_refused(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_arrays([[make_image()], ["a"], ["b"]], names=["image", "text", "text"])
    pq.write_table(table, tmp_path / "rows.parquet")
    source = ParquetOptions(files=(tmp_path / "rows.parquet",), text_column="text")
    with pytest.raises(SourceError, match="has two columns named text; rename one"):
        ParquetSource(source)


def test_separated_members_belong_together(tmp_path: Path) -> None:
    members = [("0.png", make_image()), ("1.png", make_image(1)), ("0.txt", b"A cat."), ("1.txt", b"A dog.")]
    source = shard(tmp_path, members)
    assert outcomes(source) == {"a.tar/0": "A cat.", "a.tar/1": "A dog."}
    assert notices(source) == [[NoticeKind.MEMBERS_APART]] * 2


def test_dots_in_keys(tmp_path: Path) -> None:
    members = [
        (f"IMG_2023.05.0{n}.{end}", data) for n in (1, 2) for end, data in (("png", make_image(n)), ("txt", b"x"))
    ]
    source = shard(tmp_path, [*members, ("plain.png", make_image(3)), ("plain.txt", b"y")])
    assert outcomes(source) == {"a.tar/IMG_2023.05.01": "x", "a.tar/IMG_2023.05.02": "x", "a.tar/plain": "y"}
    assert notices(source) == [[NoticeKind.DOTS_IN_KEY]] * 2 + [[]]


@pytest.mark.parametrize(
    ("members", "options", "text", "expected"),
    [
        ({"caption": b"A cat."}, {}, "A cat.", []),
        ({"blip": b"A cat."}, {"text_member": ".blip"}, "A cat.", []),
        ({"txt": "caf\u00e9".encode("utf-16")}, {}, "caf\u00e9", []),
        ({"txt": b"caf\xe9"}, {"encoding": "cp1252"}, "caf\u00e9", []),
        ({"json": b'["A cat.", "A tom."]'}, {}, "A cat.", [NoticeKind.FURTHER_TEXTS]),
        ({"json": b'{"captions": ["A cat.", "A tom."]}'}, {}, "A cat.", [NoticeKind.FURTHER_TEXTS]),
        ({"json": b'{"caption": 7}'}, {}, "7", [NoticeKind.TEXT_FROM_NUMBER]),
        ({"json": b'\xef\xbb\xbf{"s": [{"raw": "A cat."}]}'}, {"text_column": "s.raw"}, "A cat.", []),
        ({"txt": b"A cat.", "json": b'{"caption": "A tom."}'}, {}, "A cat.", [NoticeKind.FURTHER_TEXTS]),
        ({"txt": b"A cat.", "json": b"[1]"}, {}, "A cat.", [NoticeKind.UNREAD_BESIDE]),
        ({"txt": b"A cat.", "json": b"{broken"}, {}, "A cat.", [NoticeKind.UNREAD_BESIDE]),
    ],
)
def test_texts_of_members(
    tmp_path: Path, members: dict[str, bytes], options: dict[str, Any], text: str, expected: list[NoticeKind]
) -> None:
    source = shard(
        tmp_path, [("0.png", make_image()), *((f"0.{end}", data) for end, data in members.items())], **options
    )
    assert (outcomes(source), notices(source)) == ({"a.tar/0": text}, [expected])


@pytest.mark.parametrize(
    ("member", "data", "message"),
    [
        ("0.captions", b"A cat.", "it has .captions; --text-member names the ending"),
        ("0.seg.png", make_image(2), "holds masks in seg.png, .* --ignore seg.png"),
        ("0.json", json.dumps({"alt": "A cat."}).encode(), "it has alt; .* --text-column says which key"),
        ("0.json", json.dumps({"segmentation": [[1, 2]]}).encode(), "holds masks in segmentation"),
    ],
)
def test_unused_members_are_refused(tmp_path: Path, member: str, data: bytes, message: str) -> None:
    with pytest.raises(SourceError, match=message) as caught:
        shard(tmp_path, [("0.png", make_image()), (member, data)])
    ignored = str(caught.value).partition("--ignore ")[2].split()
    source = shard(tmp_path, [("0.png", make_image()), (member, data)], ignore=ignored)
    assert list(kinds(source)) == [PassedOverKind.IGNORED]


def test_other_members_are_counted(tmp_path: Path) -> None:
    values = json.dumps({"caption": "x", "url": "y", "bbox": [1, 2, 3, 4]}).encode()
    members = [("0.png", make_image()), ("0.jpg", make_image(1)), ("0.cls", b"7"), ("0.json", values)]
    assert kinds(shard(tmp_path, members)) == {
        PassedOverKind.SECOND_IMAGE: (".jpg",),
        PassedOverKind.OTHER_MEMBER: (".cls",),
        PassedOverKind.OTHER_COLUMN: ("url",),
        PassedOverKind.BOX_COLUMN: ("bbox",),
    }

"""The folder source: metadata in three formats, splits, names of every kind, and what must not be read."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datasetkit.core.errors import SourceError, UnusableError
from datasetkit.core.ledger import DropReason
from datasetkit.core.protocols import SourceContext
from datasetkit.options.sources import FolderOptions
from datasetkit.sources.folder import FolderSource
from tests.pipeline.builders import built, folder_recipe, make_image, put, reasons

Rows = list[dict[str, Any]]


def opened(folder: Path, context: SourceContext = SourceContext(), **options: Any) -> FolderSource:
    return FolderSource(FolderOptions(folder=folder, **options), context)


def metadata_jsonl(rows: Rows) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def metadata_csv(rows: Rows) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode("utf-8-sig")


def metadata_parquet(rows: Rows) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), sink)
    return sink.getvalue()


WRITERS = {"jsonl": metadata_jsonl, "csv": metadata_csv, "parquet": metadata_parquet}


def described(folder: Path, **how: Any) -> dict[str, str | None]:
    source = opened(folder, **how)
    return {entry.record_id: source.read(entry).record.description for entry in source.entries()}


def outcome(folder: Path, **how: Any) -> dict[str, Any]:
    source = opened(folder, **how)
    found: dict[str, Any] = {}
    for number, entry in enumerate(source.entries()):
        key = entry.record_id if entry.record_id not in found else f"{entry.record_id} #{number}"
        try:
            found[key] = source.read(entry).record.description
        except UnusableError as error:
            found[key] = error.reason
    return found


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("column", ["description", "caption", "text"])
def test_metadata_of_every_kind(tmp_path: Path, kind: str, column: str) -> None:
    rows = [
        {"file_name": "b.png", column: ' a "cat", 😀\nand a dog ', "license": "mit"},
        {"file_name": "a.png", column: "قطة", "license": ""},
        {"file_name": "sub/c.PNG", column: "", "license": None},
    ]
    put(tmp_path, {"a.png": make_image(1), "b.png": make_image(2), "sub/c.PNG": make_image(3), "d.png": make_image(4)})
    put(tmp_path, {f"metadata.{kind}": WRITERS[kind](rows)})
    assert described(tmp_path) == {
        "b.png": 'a "cat", 😀\nand a dog',
        "a.png": "قطة",
        "sub/c.PNG": None,
        "d.png": None,
    }
    source = opened(tmp_path, context=SourceContext(license="cc0-1.0"))
    licenses = [source.read(entry).record.source.license for entry in source.entries()]
    assert licenses == ["mit", "cc0-1.0", "cc0-1.0", "cc0-1.0"]


def test_first_or_named_caption_column_is_used(tmp_path: Path) -> None:
    put(tmp_path, {"a.png": make_image()})
    row = {"file_name": "a.png", "text": "T", "caption": "C", "description": "D", "alt": "A"}
    put(tmp_path, {"metadata.jsonl": metadata_jsonl([row])})
    assert described(tmp_path) == {"a.png": "D"}
    assert described(tmp_path, caption_column="alt") == {"a.png": "A"}
    with pytest.raises(SourceError, match=r"metadata\.jsonl has no column 'title'; it has file_name, text"):
        opened(tmp_path, caption_column="title")


def test_nested_metadata_is_relative_to_its_folder(tmp_path: Path) -> None:
    put(
        tmp_path, {"a.png": make_image(1), "x/a.png": make_image(2), "x/y/a.png": make_image(3), "z.png": make_image(4)}
    )
    put(tmp_path, {"metadata.csv": metadata_csv([{"file_name": "./a.png", "text": "top"}])})
    put(tmp_path, {"x/metadata.jsonl": metadata_jsonl([{"file_name": "y//a.png", "text": "deep"}])})
    assert described(tmp_path) == {"a.png": "top", "x/y/a.png": "deep", "x/a.png": None, "z.png": None}


def test_splits_come_from_the_first_folder(tmp_path: Path) -> None:
    names = ["train/a.png", "Val/b.png", "dev/c.png", "testing/deep/d.png", "other/e.png", "test.png"]
    put(tmp_path, {name: make_image(number) for number, name in enumerate(names)})
    splits = {entry.record_id: entry.split for entry in opened(tmp_path).entries()}
    assert splits == dict(zip(names, ["train", "validation", "validation", "test", None, None], strict=True))


def test_mixed_suffixes_hidden_and_other_files(tmp_path: Path) -> None:
    images = ["A.JPG", "b.jpeg", "c.Png", "deep/er/d.webp", "e.tiff", "f.gif", "g.bmp", "h.avif"]
    others = [".hidden.png", ".git/i.png", "notes.txt", "metadata.jsonl.bak", "j.mp4", "k"]
    put(tmp_path, {name: make_image() for name in images + others})
    (tmp_path / "folder.png").mkdir()
    source = opened(tmp_path)
    assert sorted(entry.record_id for entry in source.entries()) == sorted(images)
    assert len(source) == len(images)


def test_order_follows_metadata_then_names(tmp_path: Path) -> None:
    put(tmp_path, {f"{name}.png": make_image() for name in "dbca"})
    put(tmp_path, {"metadata.jsonl": metadata_jsonl([{"file_name": "c.png"}, {"file_name": "b.png"}])})
    expected = ["c.png", "b.png", "a.png", "d.png"]
    source = opened(tmp_path)
    assert [[entry.record_id for entry in source.entries()] for _ in range(2)] == [expected, expected]


def test_names_that_leave_the_folder(tmp_path: Path) -> None:
    inside = put(tmp_path / "in", {"a.png": make_image(), "sub/b.png": make_image()})
    put(tmp_path, {"outside.png": make_image()})
    (inside / "link.png").symlink_to(tmp_path / "outside.png")
    (inside / "good-link.png").symlink_to("a.png")
    (inside / "circle.png").symlink_to("circle.png")
    names = ["../outside.png", str(tmp_path / "outside.png"), "sub/../../outside.png", "C:\\x.png", "a\0.png"]
    names += ["circle.png", "a.png/b.png", "none.png", "sub", "\ud800.png"]
    rows = [{"file_name": name} for name in names]
    put(inside, {"metadata.jsonl": "".join(json.dumps(row) + "\n" for row in rows)})
    escapes, missing, unreadable = DropReason.PATH_ESCAPES, DropReason.MISSING, DropReason.UNREADABLE
    expected = [escapes] * 5 + [unreadable, missing, missing, unreadable, unreadable]
    found = outcome(inside)
    assert list(found.values())[: len(names)] == expected
    assert {name: found[name] for name in list(found)[len(names) :]} == {
        "a.png": None,
        "good-link.png": None,
        "link.png": None,
        "sub/b.png": DropReason.NAMED_OTHERWISE,  # a row names a.png/b.png
    }


def test_pipe_does_not_stop_the_run(tmp_path: Path) -> None:
    put(tmp_path, {"metadata.jsonl": metadata_jsonl([{"file_name": "pipe.png"}])})
    os.mkfifo(tmp_path / "pipe.png")
    assert outcome(tmp_path) == {"pipe.png": DropReason.UNREADABLE}


def test_odd_names_survive_a_build(tmp_path: Path) -> None:
    names = [
        "😀.png",
        "شمس.png",
        "a b.png",
        "back\\slash.png",
        "line\nbreak.png",
        "a:b.png",
        '"quoted".png',
        "e\u0301.png",
    ]
    folder = put(tmp_path / "in", {name: make_image(number) for number, name in enumerate(names)})
    (folder / os.fsdecode(b"\xff\xfe.png")).write_bytes(make_image(99))
    manifest, found = built(folder_recipe(folder), tmp_path / "out")
    assert set(found) == {*names, "\\udcff\\udcfe.png"}
    assert found["\\udcff\\udcfe.png"].image.data == make_image(99)
    for number, name in enumerate(names):
        assert found[name].image.data == make_image(number)
    assert manifest.tally.kept["record"] == 9


@pytest.mark.parametrize("text", ["x" * 5000, "קול 😀 \u202e back", "half \ud83d pair", "tab\tand\x00zero"])
def test_any_description_survives_a_build(tmp_path: Path, text: str) -> None:
    rows = json.dumps({"file_name": "a.png", "caption": text})
    folder = put(tmp_path / "in", {"a.png": make_image(), "metadata.jsonl": rows})
    _, found = built(folder_recipe(folder), tmp_path / "out")
    assert found["a.png"].description == text.replace("\ud83d", "\\ud83d")


def test_only_bad_images_are_dropped(tmp_path: Path) -> None:
    rows = [{"file_name": name, "text": name} for name in ("a.png", "none.png", "a.png", "../a.png", "z.png")]
    files = {
        "a.png": make_image(),
        "broken.png": b"broken",
        "cut.png": make_image()[:-300],
        "empty.png": b"",
        "z.png": make_image(2),
    }
    folder = put(tmp_path / "in", files | {"metadata.jsonl": metadata_jsonl(rows)})
    manifest, found = built(folder_recipe(folder), tmp_path / "out")
    assert {key: record.description for key, record in found.items()} == {"a.png": "a.png", "z.png": "z.png"}
    assert reasons(tmp_path / "out") == {
        "none.png": "missing",
        "a.png": "duplicate_id",
        "../a.png": "path_escapes",
        "broken.png": "not_an_image",
        "cut.png": "truncated",
        "empty.png": "empty",
    }
    assert manifest.tally.read["record"] == 8


def test_description_may_be_required(tmp_path: Path) -> None:
    folder = put(tmp_path / "in", {"a.png": make_image(), "b.png": make_image(2)})
    put(folder, {"metadata.jsonl": metadata_jsonl([{"file_name": "b.png", "caption": "a cat"}])})
    _, found = built(folder_recipe(folder, require_description=True), tmp_path / "out")
    assert list(found) == ["b.png"]
    assert reasons(tmp_path / "out") == {"a.png": "no_description"}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("metadata.jsonl", b'\n{"file_name": ', "line 2 is broken JSON: Expecting value (byte 15)"),
        ("metadata.jsonl", b"[1]\n", "line 1 is a list; write one object per line"),
        ("metadata.jsonl", b'\n\n{"name": "a.png"}\n', "has a row without file_name"),
        ("metadata.jsonl", b'{"file_name": 5}\n', "line 1: '5' is not there; "),
        ("metadata.jsonl", b'{"file_name": " "}\n', "metadata.jsonl line 1 names no image"),
        ("metadata.jsonl", b'{"file_names": ["a.png", "b.png"]}', "line 1 names 2 images; a row must name one"),
        ("metadata.csv", b"file_name,text,text\na.png,x,y\n", "has two columns named text; rename one"),
        ("metadata.jsonl", b'{"file_name": "a"}\n{"file_name": "\xff"}', "line 2 is not UTF-8 text"),
        ("metadata.jsonl", b'{"file_name": ' + b"9" * 5000 + b"}", "line 1 exceeds the limits of JSON readers"),
        ("metadata.jsonl", b'{"file_name": ' + b"[" * 100_000, "line 1 exceeds the limits of JSON readers"),
        ("metadata.csv", b"name,text\na.png,x\n", "has a row without file_name"),
        ("metadata.csv", b"file_name\n\xff\n", "is not CSV in UTF-8"),
        ("metadata.csv", b"file_name\n" + b'"' + b"x" * (2**24 + 9) + b'"\n', "is not CSV in UTF-8"),
        ("metadata.parquet", b"PAR1 and nothing", "cannot be read as Parquet"),
        ("metadata.parquet", b"", "cannot be read as Parquet"),
        (
            "metadata.parquet",
            metadata_parquet([{"file_name": "a"}])[:-8] + b"\xff\xff\0\0PAR1",
            "cannot be read as Parquet",
        ),
        ("metadata.parquet", metadata_parquet([{"name": "a"}]), "has a row without file_name"),
    ],
)
def test_broken_metadata_is_fatal_in_one_line(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    put(tmp_path, {"a.png": make_image(), name: content})
    with pytest.raises(SourceError) as caught:
        opened(tmp_path)
    assert name in str(caught.value)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_damaged_parquet_pages_are_fatal_in_one_line(tmp_path: Path) -> None:
    data = bytearray(metadata_parquet([{"file_name": f"{n}.png", "text": "x" * n} for n in range(300)]))
    data[4:400] = bytes(396)
    put(tmp_path, {"metadata.parquet": bytes(data)})
    with pytest.raises(SourceError, match="cannot be read as Parquet"):
        opened(tmp_path)


def test_metadata_that_cannot_be_opened_is_fatal(tmp_path: Path) -> None:
    put(tmp_path, {"a.png": make_image(), "metadata.csv": b"file_name\na.png\n"})
    (tmp_path / "metadata.csv").chmod(0)
    if os.access(tmp_path / "metadata.csv", os.R_OK):
        pytest.skip("this user may read every file")
    with pytest.raises(SourceError, match=r"metadata\.csv cannot be read: Permission denied"):
        opened(tmp_path)


def test_folder_without_images_is_refused(tmp_path: Path) -> None:
    put(tmp_path, {"notes.txt": b""})
    with pytest.raises(SourceError, match="holds no image"):
        opened(tmp_path)
    with pytest.raises(SourceError, match="is not a folder"):
        opened(tmp_path / "notes.txt")


def test_fingerprint_depends_on_names_and_texts_only(tmp_path: Path) -> None:
    one = put(tmp_path / "one", {"a.png": make_image()})
    two = put(tmp_path / "two", {"a.png": make_image()})
    assert opened(one).fingerprint() == opened(two).fingerprint()
    before = opened(two).fingerprint()
    put(two, {"metadata.csv": b"file_name,text\na.png,cat\n"})
    assert opened(two).fingerprint() != before

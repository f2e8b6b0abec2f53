"""Folders as people have them: names, texts and tables in many variants, and files that are not read."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest

import datasetkit as dk
from datasetkit.core.errors import SourceError, UnusableError
from datasetkit.core.ledger import DropReason, NoticeKind, PassedOverKind
from datasetkit.options.sources import FolderOptions
from datasetkit.sources.folder import FolderSource
from tests.pipeline.builders import built, folder_recipe, ledger, make_image, put, reasons

Files = dict[str, Any]


def jsonl(*rows: Any) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def passed_over(source: FolderSource) -> dict[PassedOverKind, tuple[int, tuple[str, ...]]]:
    return {item.kind: (item.count, item.examples) for item in source.passed_over()}


def opened(folder: Path, files: Files, **options: Any) -> FolderSource:
    return FolderSource(FolderOptions(folder=put(folder, files), **options))


def texts_of(source: FolderSource) -> dict[str, str | None]:
    return {entry.record_id: source.read(entry).record.description for entry in source.entries()}


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("sub\\a.JPG", NoticeKind.NAME_BACKSLASHES),
        ("{FOLDER}/sub/a.JPG", NoticeKind.NAME_ABSOLUTE),
        ("sub/A.jpg", NoticeKind.NAME_CASE),
        ("in/sub/a.JPG", NoticeKind.NAME_PREFIX),
        ("sub/a", NoticeKind.NAME_ENDING),
    ],
)
def test_changed_name_keeps_its_caption(tmp_path: Path, name: str, kind: NoticeKind) -> None:
    row = {"file_name": name.replace("{FOLDER}", str(tmp_path / "in")), "text": "A cat."}
    folder = put(tmp_path / "in", {"sub/a.JPG": make_image(), "metadata.jsonl": jsonl(row)})
    manifest, found = built(folder_recipe(folder), tmp_path / "out")
    assert {key: record.description for key, record in found.items()} == {"sub/a.JPG": "A cat."}
    assert manifest.tally.notices == {kind: 1}
    assert str(tmp_path) not in (tmp_path / "out" / "ledger.jsonl").read_text()


def test_nested_table_may_name_files_from_the_root(tmp_path: Path) -> None:
    rows = jsonl({"file_name": "train/a.png", "text": "A cat."})
    source = opened(tmp_path, {"train/a.png": make_image(), "train/metadata.jsonl": rows})
    assert texts_of(source) == {"train/a.png": "A cat."}


def test_image_that_a_missed_row_may_name_is_dropped(tmp_path: Path) -> None:
    rows = jsonl({"file_name": "a.png", "text": "A cat."}, {"file_name": "gone/b.jpg", "text": "A dog."})
    files = {"a.png": make_image(1), "b.png": make_image(2), "c.png": make_image(3), "metadata.jsonl": rows}
    _, found = built(folder_recipe(put(tmp_path / "in", files)), tmp_path / "out")
    assert list(found) == ["a.png", "c.png"]
    assert reasons(tmp_path / "out") == {"gone/b.jpg": "missing", "b.png": "named_otherwise"}


def test_advice_if_no_name_is_found(tmp_path: Path) -> None:
    rows = jsonl(*({"file_name": f"/home/me/{name}.png", "text": "x"} for name in "abc"))
    told = "'/home/me/a.png' must be a path below.*; 3 of the first 3 would be found without the prefix /home/me/"
    with pytest.raises(SourceError, match=told):
        opened(tmp_path, {f"{name}.png": make_image() for name in "abc"} | {"metadata.jsonl": rows})


@pytest.mark.parametrize(
    ("name", "data", "options"),
    [
        ("metadata.jsonl", b"\xef\xbb\xbf" + jsonl({"file_name": "a.png", "text": "caf\u00e9"}), {}),
        ("metadata.jsonl", '{"file_name": "a.png", "text": "caf\u00e9"}'.encode("utf-16"), {}),
        ("metadata.jsonl.gz", gzip.compress(jsonl({"file_name": "a.png", "text": "caf\u00e9"}), mtime=0), {}),
        ("metadata.csv", "file_name\tcaption\r\na.png\tcaf\u00e9\r\n".encode("utf-16"), {}),
        ("metadata.csv", "file_name;caption\na.png;caf\u00e9\n".encode(), {}),
        ("metadata.csv", "file_name,caption,\na.png,caf\u00e9,,\n".encode(), {}),
        ("metadata.tsv", "file_name\tcaption\na.png\tcaf\u00e9\n".encode("cp1252"), {"encoding": "cp1252"}),
        ("rows.csv", "file_name,caption\na.png,caf\u00e9\n".encode(), {"metadata": "rows.csv"}),
        ("rows.json", b'[{"image": "a.png", "text": "caf\\u00e9"}]', {"metadata": "rows.json", "file_column": "image"}),
        ("metadata.jsonl", b'{"file_names": ["a.png"], "s": [{"raw": "caf\\u00e9"}]}', {"caption_column": "s.raw"}),
        ("a.txt", "\ufeffcaf\u00e9\r\n".encode(), {}),
        ("a.caption", "caf\u00e9".encode("utf-16"), {}),
        ("a.json", b'{"caption": "caf\\u00e9", "url": "http://x"}', {}),
        ("a.png.txt", "caf\u00e9".encode(), {}),
        ("a.png.json", b'{"caption": "caf\\u00e9"}', {}),
    ],
)
def test_texts_in_every_format(tmp_path: Path, name: str, data: bytes, options: dict[str, Any]) -> None:
    assert texts_of(opened(tmp_path, {"a.png": make_image(), name: data}, **options)) == {"a.png": "caf\u00e9"}


def test_bad_row_costs_only_its_image(tmp_path: Path) -> None:
    rows = jsonl(
        {"file_name": "a.png", "text": "A cat."},
        {"file_name": 7, "text": 7},
        {"file_name": "c.png", "text": float("nan")},
        {"file_name": "d.png", "text": {"en": "A dog."}},
        {"file_name": None, "text": "lost"},
        [1],
        {"file_name": ["e.png", "f.png"], "text": "Two."},
        {"file_name": "g.png", "text": ["", "A hen.", "A bird."], "split": "val"},
    )
    rows += b'{"file_name": "h.png", "text": "first", "text": "second"}\n'
    files = {f"{name}.png": make_image(number) for number, name in enumerate("a7cdefgh")}
    manifest, found = built(folder_recipe(put(tmp_path / "in", files | {"metadata.jsonl": rows})), tmp_path / "out")
    assert {key: record.description for key, record in found.items()} == {
        "a.png": "A cat.",
        "7.png": "7",
        "c.png": None,
        "g.png": "A hen.",
    }
    assert reasons(tmp_path / "out") == {
        "d.png": "bad_row",
        "metadata.jsonl line 5": "bad_row",
        "metadata.jsonl line 6": "bad_row",
        "metadata.jsonl line 7": "bad_row",
        "h.png": "bad_row",
        "e.png": "named_otherwise",
        "f.png": "named_otherwise",
    }
    assert manifest.split_rows == {"train": 3, "validation": 1}
    expected = ["name_ending", "name_from_number", "text_from_number", "further_texts", "no_description"]
    assert {kind.value for kind in manifest.tally.notices} == {*expected}


def test_cells_beyond_the_header_drop_the_row(tmp_path: Path) -> None:
    rows = b"file_name,caption\na.png,A box, next to a ball\nb.png,A ball\n"
    folder = put(tmp_path / "in", {"a.png": make_image(), "b.png": make_image(1), "metadata.csv": rows})
    _, found = built(folder_recipe(folder), tmp_path / "out")
    assert list(found) == ["b.png"]
    assert "metadata.csv line 2 has 3 cells for 2 columns" in (tmp_path / "out" / "ledger.jsonl").read_text()


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"metadata1000.jsonl": jsonl({"file_name": "a.png", "text": "x"})}, "it has metadata1000.jsonl; --metadata"),
        ({"results.csv": b"image,comment\na.png,x\n"}, "it has results.csv; .* to build without: --ignore results.csv"),
        ({"captions.txt": b"image,x\na.png,y\n"}, "it has captions.txt"),
        ({"texts/a.txt": b"A cat."}, "it has texts/a.txt; .* to build without: --ignore texts"),
        ({"a.jpg": make_image(), "a.txt": b"A cat."}, r"it has .txt; .* to build without: --ignore .txt"),
        ({"metadata.csv": b"file_name,prompt\na.png,x\n"}, "it has prompt; --caption-column says which"),
        ({"metadata.jsonl": jsonl({"file_name": "a.png", "s": [{"raw": "x"}]})}, "it has s.raw; --caption-column"),
        ({"masks/a.png": make_image()}, "holds masks in masks, .* --ignore masks"),
        ({"SegmentationClass/a.jpg": make_image()}, "holds masks in SegmentationClass"),
        ({"a_mask.png": make_image()}, "holds masks in a_mask.png"),
        ({"labels/a.txt": b"0 0.1 0.1 0.4 0.1 0.4 0.5\n"}, "holds masks in labels"),
        ({"a.txt": b"0 .1 .1 .4 .1 .4 .5 .1 .5\n1 .1 .1 .4 .1 .4 .5\n"}, "holds masks in .txt"),
        ({"a.json": b'{"annotations": [{"segmentation": {"counts": "x"}}]}'}, "holds masks in .json"),
        ({"metadata.jsonl": jsonl({"file_name": "a.png", "text": "x", "mask_rle": "0 1"})}, "holds masks in mask_rle"),
    ],
)
def test_unused_texts_and_masks_are_refused(tmp_path: Path, files: Files, message: str) -> None:
    with pytest.raises(SourceError, match=message) as caught:
        opened(tmp_path, {"a.png": make_image()} | files)
    assert "\n" not in str(caught.value)
    ignored = str(caught.value).partition("--ignore ")[2].split()
    if ignored:
        source = opened(tmp_path, {}, ignore=ignored[:1])
        assert any(item.kind is PassedOverKind.IGNORED for item in source.passed_over())


def test_everything_else_is_counted(tmp_path: Path) -> None:
    names = ["a.heic", "b.svg", "noend", "c.mp4", "d.zip", ".DS_Store", ".git/x.png", "a.xml", "data.yaml"]
    put(tmp_path, dict.fromkeys(names, b"x"))
    (tmp_path / "gone.png").symlink_to("nowhere.png")
    (tmp_path / "again").symlink_to(".")
    os.mkfifo(tmp_path / "pipe")
    row = {"file_name": "a.png", "text": "x", "objects": {"bbox": [[1, 2, 3, 4]], "categories": ["cat"]}, "width": 9}
    source = opened(tmp_path, {"a.png": make_image(), "a.txt": b"y", "metadata.jsonl": jsonl(row)})
    kinds = PassedOverKind
    assert passed_over(source) == {
        kinds.UNREAD_FORMAT: (2, ("a.heic", "b.svg")),
        kinds.NO_ENDING: (1, ("noend",)),
        kinds.OTHER_FILE: (1, ("c.mp4",)),
        kinds.ARCHIVE: (1, ("d.zip",)),
        kinds.HIDDEN: (2, (".DS_Store", ".git")),
        kinds.SIDECAR: (2, ("a.txt", "a.xml")),
        kinds.OTHER_TABLE: (1, ("data.yaml",)),
        kinds.DANGLING_LINK: (1, ("gone.png",)),
        kinds.LINKED_AGAIN: (1, ("again",)),
        kinds.NOT_A_FILE: (1, ("pipe",)),
        kinds.BOX_COLUMN: (1, ("objects",)),
        kinds.OTHER_COLUMN: (1, ("width",)),
    }


def test_skipped_files_are_published(tmp_path: Path) -> None:
    folder = put(tmp_path / "in", {"a.png": make_image(), "film | 1.mp4": b"x"})
    manifest, _ = built(folder_recipe(folder), tmp_path / "out")
    (item,) = manifest.passed_over
    assert (item.kind, item.count, item.examples) == (PassedOverKind.OTHER_FILE, 1, ("film | 1.mp4",))
    assert "film \\| 1.mp4" in (tmp_path / "out" / "README.md").read_text()
    line = json.loads((tmp_path / "out" / "ledger.jsonl").read_text().splitlines()[-1])
    assert line == {"part": None, "event": "passed_over", **item.to_json()}
    assert dk.open(tmp_path / "out").verify().is_sound


def test_linked_images_and_folders_are_read(tmp_path: Path) -> None:
    store = put(tmp_path / "store", {"a.png": make_image(), "deep/b.png": make_image(1)})
    folder = put(tmp_path / "in", {"c.png": make_image(2)})
    (folder / "one.png").symlink_to(store / "a.png")
    (folder / "train").symlink_to(store)
    entries = {entry.record_id: entry.split for entry in opened(folder, {}).entries()}
    assert entries == {"c.png": None, "one.png": None, "train/a.png": "train", "train/deep/b.png": "train"}


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("[/EN#1/people Two men] in [/EN#2/scene/other a yard] .", "Two men in a yard."),
        ("<grounding><phrase> A box</phrase><object><patch_index_0044></object> here", "A box here"),
        ("<ref>A cat</ref><box>(1,2),(30,40)</box> sits.", "A cat sits."),
        ("<|object_ref_start|>a dog<|object_ref_end|><|box_start|>(1,2),(3,4)<|box_end|>", "a dog"),
        ("<image>\nA <p>red</p> [SEG] < 5 (1,2)", "A red [SEG] < 5 (1,2)"),
    ],
)
def test_grounding_markup_is_removed(tmp_path: Path, text: str, plain: str) -> None:
    source = opened(tmp_path, {"a.png": make_image(), "metadata.jsonl": jsonl({"file_name": "a.png", "text": text})})
    reading = source.read(next(source.entries()))
    assert reading.record.description == plain
    assert [notice.kind for notice in reading.notices] == [NoticeKind.MARKUP_REMOVED]


def test_text_in_another_encoding_is_not_skipped(tmp_path: Path) -> None:
    folder = put(
        tmp_path / "in", {"a.png": make_image(), "a.txt": b"caf\xe9", "b.png": make_image(1), "b.txt": b"A cat."}
    )
    _, found = built(folder_recipe(folder), tmp_path / "out")
    assert (list(found), reasons(tmp_path / "out")) == (["b.png"], {"a.png": "bad_row"})
    assert "give its encoding as --encoding" in (tmp_path / "out" / "ledger.jsonl").read_text()
    with pytest.raises(UnusableError, match="--encoding"):
        texts_of(opened(tmp_path / "all", {"a.png": make_image(), "a.txt": b"caf\xe9"}))


def test_changed_text_changes_the_fingerprint(tmp_path: Path) -> None:
    before = opened(tmp_path, {"a.png": make_image(), "a.txt": b"A cat."}).fingerprint()
    assert opened(tmp_path, {"a.txt": b"A dog."}).fingerprint() != before


@pytest.mark.parametrize(
    ("image", "text", "kind"),
    [
        ("a.png", "A.txt", NoticeKind.NAME_CASE),
        ("a.png", "a.PNG.txt", NoticeKind.NAME_CASE),
        ("cafe\u0301.png", "caf\u00e9.txt", NoticeKind.NAME_UNICODE),
    ],
)
def test_similarly_named_text_is_read(tmp_path: Path, image: str, text: str, kind: NoticeKind) -> None:
    source = opened(tmp_path, {image: make_image(), text: "A cat."})
    (reading,) = (source.read(entry) for entry in source.entries())
    assert reading.record.description == "A cat."
    assert [notice.kind for notice in reading.notices] == [kind]


def test_plainer_of_two_text_names_is_used(tmp_path: Path) -> None:
    source = opened(tmp_path, {"a.png": make_image(), "a.txt": "A cat.", "a.png.txt": "A dog.", "A.txt": "A bird."})
    assert texts_of(source) == {"a.png": "A cat."}
    assert passed_over(source) == {PassedOverKind.SIDECAR: (2, ("A.txt", "a.png.txt"))}


def test_images_that_differ_in_ending_have_own_texts(tmp_path: Path) -> None:
    files = {"a.png": make_image(1), "a.jpg": make_image(2), "a.png.txt": "A cat.", "a.jpg.txt": "A dog."}
    assert texts_of(opened(tmp_path, files)) == {"a.png": "A cat.", "a.jpg": "A dog."}


@pytest.mark.parametrize(
    ("name", "table", "detail"),
    [
        (
            "metadata.jsonl",
            '{"file_name": "a.png", "text": "\u00e9"}\n{"file_name": "b.png", "text": "A}\n{"file_name": "c.png"}\n',
            "line 2 is broken JSON: Invalid control character (byte 71)",
        ),
        (
            "metadata.csv",
            'file_name,text\na.png,"\u00e9"\nb.png,"A "big" dog"\nc.png,\n',
            "line 3 is not CSV: ',' expected after '\"'; double the quotes in a quoted cell",
        ),
    ],
)
def test_broken_line_costs_only_its_image(tmp_path: Path, name: str, table: str, detail: str) -> None:
    images = {f"{letter}.png": make_image(number) for number, letter in enumerate("abcd")}
    _, found = built(folder_recipe(put(tmp_path / "in", {**images, name: table})), tmp_path / "out")
    assert {key: record.description for key, record in found.items()} == {
        "a.png": "\u00e9",
        "c.png": None,
        "d.png": None,
    }
    details = {event["reason"]: event["detail"] for event in ledger(tmp_path / "out")}
    assert details == {
        "bad_row": f"{name} {detail}",
        "named_otherwise": "the row that names 'b.png' may refer to b.png",
    }


def test_table_of_broken_lines_is_refused(tmp_path: Path) -> None:
    table = ",\n".join(json.dumps({"file_name": f"{n}.png"}) for n in range(3))  # a list without its brackets
    with pytest.raises(
        SourceError, match=r"metadata\.jsonl: 2 of 3 lines cannot be read; line 1 is broken JSON: Extra"
    ):
        opened(tmp_path, {f"{n}.png": make_image(n) for n in range(3)} | {"metadata.jsonl": table})


def test_rows_between_stray_quotes_are_all_counted(tmp_path: Path) -> None:
    table = 'file_name,text\na.png,"A cat.\nb.png,"A dog."\nc.png,A bird.\nd.png,A cow.\n'
    files = {f"{letter}.png": make_image(number) for number, letter in enumerate("abcd")} | {"metadata.csv": table}
    manifest, found = built(folder_recipe(put(tmp_path / "in", files)), tmp_path / "out")
    assert {key: record.description for key, record in found.items()} == {"c.png": "A bird.", "d.png": "A cow."}
    assert manifest.tally.dropped["record"] == {DropReason.BAD_ROW: 2, DropReason.NAMED_OTHERWISE: 2}


def test_unclosed_quote_swallows_no_rows(tmp_path: Path) -> None:
    table = 'file_name,text\na.png,"A cat.\nb.png,A dog.\n'
    with pytest.raises(SourceError, match=r"unexpected end of data after 'a\.png"):
        opened(tmp_path, {"a.png": make_image(1), "b.png": make_image(2), "metadata.csv": table})


def test_unmatched_ignore_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    opened(tmp_path, {"a.png": make_image(), "notes.md": b"x"}, ignore=["notes.md", "nowhere"])
    assert caplog.messages == [f"--ignore nowhere matches nothing in {tmp_path}"]

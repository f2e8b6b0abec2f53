"""Rows as data: Parquet, shards, folders with texts, GRIT, PixMo-Points."""

import hashlib
import io
import json
import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from datasetkit.core.errors import SourceError, UnusableError
from datasetkit.core.ledger import DropReason
from datasetkit.core.record import Linker, Maker, PhraseStatus
from datasetkit.options.sources import FromOptions
from datasetkit.sources.given.detection import find_format
from datasetkit.sources.given.look import Look
from datasetkit.sources.given.source import open_given

GREY = (60, 40)


def png(colour=(200, 10, 10), size=GREY):
    return encoded(Image.new("RGB", size, colour))


def encoded(image, kind="PNG"):
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def mask_of(*boxes, mode="L"):
    array = np.zeros((GREY[1], GREY[0]), np.uint8)
    for (left, top, right, bottom), value in boxes:
        array[top:bottom, left:right] = value
    return encoded(Image.fromarray(array).convert(mode))


def parquet(path, rows, features=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist(rows)
    if features:
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, path)
    return path.parent


def tar(path, members):
    with tarfile.open(path, "w") as file:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    return path


def image_cell(data):
    return {"bytes": data, "path": None}


def format_of(place):
    return find_format(Look(place))


def read_all(place, **options):
    source = open_given(FromOptions(place=place, **options))
    entries = list(source.entries())
    return source, entries, [result(source, entry) for entry in entries]


def result(source, entry):
    try:
        return source.read(entry)
    except UnusableError as error:
        return error


def records(place, **options):
    return [reading.record for reading in read_all(place, **options)[2]]


def test_captions_become_records_with_the_rows_split(tmp_path):
    rows = [{"image": image_cell(png()), "caption": ["A cat.", "  A dog. ", "A cat."], "split": "val"}]
    place = parquet(tmp_path / "data/test-00000-of-00001.parquet", rows)
    _, entries, found = read_all(place, caption="all")
    assert [reading.record.description for reading in found] == ["A cat.", "A dog."]
    assert {entry.split for entry in entries} == {"validation"}
    assert any(notice.kind == "repeated_text" for notice in found[0].notices)


def test_numbers_of_categories_get_names_of_the_schema(tmp_path):
    features = {"objects": {"feature": {"category": {"names": ["cat", "dog"], "_type": "ClassLabel"}}}}
    objects = [
        {"bbox": [[1, 2, 10, 20], [5.0, 5, 5, 5]], "category": [1, 7]},
        {"bbox": [[1, 2, 10, 20], [3, 3, 100, 5]], "category": [0, 0]},
    ]
    rows = [{"image": image_cell(png()), "text": "A dog.", "objects": one} for one in objects]
    found = records(parquet(tmp_path / "train.parquet", rows, features))
    assert [[item.category for item in record.objects] for record in found] == [["dog", None], ["cat", "cat"]]
    assert found[1].objects[1].box == (3, 3, 57, 5)
    assert found[0].objects[0].provenance.box is Maker.HUMAN
    assert found[0].objects[0].mask is None


def test_objects_may_be_a_list_of_dictionaries(tmp_path):
    rows = [{"image": image_cell(png()), "text": "x", "objects": [{"bbox": [1, 1, 4, 4], "label": "cup", "id": 5}]}]
    (record,) = records(parquet(tmp_path / "a.parquet", rows))
    assert record.objects[0].category == "cup"
    assert record.objects[0].source_id == "5"


def test_lists_of_objects_of_two_lengths_drop_their_row(tmp_path):
    good = {"bbox": [[1, 1, 4, 4]], "category": ["cup"]}
    rows = [{"image": image_cell(png()), "text": "x", "objects": one} for one in (good, {**good, "category": []}, good)]
    _, _, found = read_all(parquet(tmp_path / "a.parquet", rows))
    assert [isinstance(one, UnusableError) for one in found] == [False, True, False]
    assert found[1].reason is DropReason.BAD_ROW


def test_masks_are_objects_and_no_images(tmp_path):
    box, other = (5, 5, 15, 15), (20, 5, 30, 15)
    masks = [mask_of((box, 255)), mask_of((box, 1), mode="RGB"), mask_of((box, 1), (other, 2))]
    rows = [{"image": image_cell(png()), "mask": image_cell(mask), "text": "x"} for mask in masks]
    found = records(parquet(tmp_path / "train-0.parquet", rows))
    assert [[item.area for item in record.objects] for record in found] == [[100], [100], [100, 100]]
    assert all(item.category is None for record in found for item in record.objects)


def test_soft_edges_of_a_mask_are_one_object(tmp_path):
    mask = encoded(Image.open(io.BytesIO(mask_of(((10, 10, 40, 30), 255)))), "JPEG")
    rows = [{"image": image_cell(png()), "mask": image_cell(mask), "text": "x"}]
    (record,) = records(parquet(tmp_path / "a.parquet", rows))
    assert [item.area for item in record.objects] == [600]


def test_a_list_of_masks_has_a_list_of_labels(tmp_path):
    masks = [image_cell(mask_of(((5, 5, 15, 15), 255))), image_cell(mask_of(((20, 5, 30, 15), 255)))]
    rows = [{"image": image_cell(png()), "masks": masks, "labels": ["cat", "dog"], "text": "x"}]
    (record,) = records(parquet(tmp_path / "a.parquet", rows))
    assert [(item.category, item.area) for item in record.objects] == [("cat", 100), ("dog", 100)]


def test_a_broken_mask_drops_its_row_alone(tmp_path):
    masks = [mask_of(((5, 5, 15, 15), 255)), b"no image", mask_of(((5, 5, 15, 15), 1))]
    rows = [{"image": image_cell(png()), "mask": image_cell(mask), "text": "x"} for mask in masks]
    _, _, found = read_all(parquet(tmp_path / "a.parquet", rows))
    assert [isinstance(one, UnusableError) for one in found] == [False, True, False]


def test_a_truncated_parquet_file_is_one_error(tmp_path):
    place = parquet(tmp_path / "a.parquet", [{"image": image_cell(png()), "text": "x"}])
    (tmp_path / "a.parquet").write_bytes((tmp_path / "a.parquet").read_bytes()[:-20])
    with pytest.raises(SourceError):
        open_given(FromOptions(place=place, format="parquet"))


def test_objects_in_metadata_of_a_folder_are_read(tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "train/a.png").write_bytes(png())
    row = {"file_name": "a.png", "text": "A cat.", "objects": {"bbox": [[1, 2, 3, 4]], "categories": ["cat"]}}
    (tmp_path / "train/metadata.jsonl").write_text(json.dumps(row))
    assert format_of(tmp_path) == "folder"
    _, (entry,), (reading,) = read_all(tmp_path)
    assert entry.split == "train"
    assert [(item.category, item.box) for item in reading.record.objects] == [("cat", (1, 2, 3, 4))]


def test_files_of_img2dataset_are_read(tmp_path):
    folder = tmp_path / "00000"
    folder.mkdir()
    for key, text in (("000", b"A cat"), ("002", b"")):
        (folder / f"{key}.png").write_bytes(png())
        (folder / f"{key}.txt").write_bytes(text)
        (folder / f"{key}.json").write_text(json.dumps({"caption": "A dog", "url": f"https://example.org/{key}"}))
    (folder / "001.json").write_text(json.dumps({"caption": "gone", "url": "u"}))
    pq.write_table(pa.table({"url": ["u"], "caption": ["A cat"], "key": ["000"]}), tmp_path / "00000.parquet")
    assert format_of(tmp_path) == "folder"
    found = [(record.description, record.source.uri) for record in records(tmp_path)]
    assert found == [("A cat", "https://example.org/000"), ("A dog", "https://example.org/002")]


def test_texts_beside_images_are_read(tmp_path):
    folder = tmp_path / "10_sks box"
    folder.mkdir()
    for name, text in (("a.txt", b"\xef\xbb\xbfred box\r\n"), ("b.v2.caption", b"a ball")):
        (folder / name).write_bytes(text)
        (folder / f"{name.rpartition('.')[0]}.png").write_bytes(png())
    (folder / "a.npz").write_bytes(b"cache")
    assert format_of(tmp_path) == "folder"
    assert [record.description for record in records(tmp_path)] == ["red box", "a ball"]


def test_several_captions_of_shards_become_records(tmp_path):
    place = tar(
        tmp_path / "train-000000.tar",
        {
            "./set/0.png": png(),
            "./set/0.json": json.dumps({"captions": ["A cat.", "A dog."], "license": "cc0-1.0"}).encode(),
            "./set/1.png": png(),
            "./set/1.json": json.dumps({"sentences": [{"raw": "A cup."}]}).encode(),
            "./set/2.png": png(),
            "./set/2.json": b"{broken",
        },
    )
    assert format_of(place) == "webdataset"
    _, entries, found = read_all(place, caption="all")
    assert [one.record.description for one in found[:3]] == ["A cat.", "A dog.", "A cup."]
    assert found[0].record.source.license == "cc0-1.0"
    assert entries[0].split == "train"
    assert isinstance(found[3], UnusableError)


def grit_values(**more):
    chunks = [[9, 12, 0.1, 0.2, 0.5, 0.6, 0.9], [9, 12, 0.5, 0.2, 0.9, 0.6, 0.8]]
    values = {"caption": "Der süße cat on it", "noun_chunks": chunks, "ref_exps": [[9, 18, 0.1, 0.2, 0.5, 0.6, 0.9]]}
    return {**values, "width": 60, "height": 40, "original_width": 120, "original_height": 80, **more}


def test_boxes_of_grit_are_shares_made_by_a_model(tmp_path):
    place = tar(tmp_path / "0.tar", {"0.png": png(), "0.json": json.dumps(grit_values()).encode()})
    assert format_of(place) == "grit"
    (record,) = records(place)
    assert [item.box for item in record.objects] == [pytest.approx((6, 8, 24, 16)), pytest.approx((30, 8, 24, 16))]
    assert [item.scores.detection for item in record.objects] == [0.9, 0.8]
    assert {item.provenance.box for item in record.objects} == {Maker.MODEL}
    assert [(phrase.text, phrase.object_ids) for phrase in record.phrases if phrase.text == "cat"] == [("cat", (0, 1))]
    assert {phrase.provenance for phrase in record.phrases} == {Linker.MODEL}


def test_padded_images_of_grit_are_refused(tmp_path):
    padded = grit_values(original_width=120, original_height=50)
    place = tar(tmp_path / "0.tar", {"0.png": png(), "0.json": json.dumps(padded).encode()})
    (error,) = read_all(place)[2]
    assert error.reason is DropReason.SIZE_MISMATCH


def test_rows_of_grit_have_spans_as_floats(tmp_path):
    row = {**grit_values(), "image": image_cell(png())}
    row["noun_chunks"] = [[float(one) for one in chunk] for chunk in row["noun_chunks"]]
    place = parquet(tmp_path / "a.parquet", [row])
    assert format_of(place) == "grit"
    assert "cat" in [phrase.text for phrase in records(place)[0].phrases]


def test_a_broken_chunk_of_grit_drops_its_image(tmp_path):
    members = {}
    for key, values in enumerate((grit_values(), grit_values(noun_chunks=[[1, 2]]), grit_values())):
        members |= {f"{key}.png": png(), f"{key}.json": json.dumps(values).encode()}
    _, _, found = read_all(tar(tmp_path / "0.tar", members))
    assert [isinstance(one, UnusableError) for one in found] == [False, True, False]
    assert found[1].reason is DropReason.BAD_ENTRY


def pixmo_row(data, label, points, **more):
    sha256 = hashlib.sha256(data).hexdigest()
    row = {"image_url": "https://example.org/0", "image_sha256": sha256, "label": label, "count": len(points)}
    return {**row, "points": [{"x": x, "y": y} for x, y in points] or None, **more}


def test_a_count_of_zero_is_checked_absent(tmp_path):
    data = png()
    rows = [pixmo_row(data, "cups", [(3.0, 4.0)]), pixmo_row(data, "cone", [])]
    place = parquet(tmp_path / "train.parquet", [{**row, "image": image_cell(data)} for row in rows])
    assert format_of(place) == "pixmo-points"
    _, _, found = read_all(place)
    phrases = [reading.record.phrases[0] for reading in found]
    assert [phrase.reason for phrase in phrases] == ["object_dropped", "checked_absent"]
    assert {phrase.status for phrase in phrases} == {PhraseStatus.ABSENT}
    assert [drop.reason for drop in found[0].drops] == [DropReason.POINTS_ONLY]
    assert len({reading.record.image_id for reading in found}) == 1


def test_images_of_pixmo_are_found_by_their_hash(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images/any.png").write_bytes(png())
    place = parquet(tmp_path / "data/train.parquet", [pixmo_row(png(), "cup", [(3.0, 4.0)])])
    (record,) = records(place, images=tmp_path / "images")
    assert record.image.name == "any.png"
    assert record.source.uri == "https://example.org/0"


def test_folders_of_images_alone_have_no_format(tmp_path):
    (tmp_path / "a.png").write_bytes(png())
    (tmp_path / "a.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    with pytest.raises(SourceError, match="no known format"):
        format_of(tmp_path)


def test_masks_of_the_same_names_belong_to_images(tmp_path):
    for folder in ("train/images", "train/masks"):
        (tmp_path / folder).mkdir(parents=True)
    for key in ("a", "b", "c"):
        (tmp_path / f"train/images/{key}.png").write_bytes(png())
    (tmp_path / "train/images/a.txt").write_text("A cat.")
    (tmp_path / "train/masks/a.png").write_bytes(mask_of(((5, 5, 15, 15), 255)))
    (tmp_path / "train/masks/b_mask.png").write_bytes(b"broken")
    assert format_of(tmp_path) == "image-masks"
    _, entries, found = read_all(tmp_path)
    assert [isinstance(one, UnusableError) for one in found] == [False, True, False]
    assert [item.area for item in found[0].record.objects] == [100]
    assert found[0].record.description == "A cat."
    assert entries[0].split == "train"
    assert not found[2].record.objects

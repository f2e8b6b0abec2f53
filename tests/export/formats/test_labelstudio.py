"""Label Studio: packed masks decode to the same bits, and tasks name everything.

``check_readers.py`` next to this file decodes whole exports with label-studio-sdk itself.
"""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from datasetkit.core.mask import BoolArray
from datasetkit.export.formats.brush import brush_rle, rle_pack
from datasetkit.export.formats.exporting import export_folder
from tests.export.folders import record, rows_of, write_folder
from tests.pipeline.builders import records


def unpack(data: bytes) -> list[int]:
    """Decode thi.ng's rle-pack as the original decoder does, bit by bit, including runs of unequal values."""
    bits = "".join(f"{byte:08b}" for byte in data)
    at = 0

    def read(size: int) -> int:
        nonlocal at
        at += size
        return int(bits[at - size : at], 2)

    count = read(32)
    value_bits = read(5) + 1
    length_bits = [read(4) + 1 for _ in range(4)]
    values: list[int] = []
    while len(values) < count:
        is_run = read(1)
        length = read(length_bits[read(2)]) + 1
        values += [read(value_bits)] * length if is_run else [read(value_bits) for _ in range(length)]
    assert len(bits) - at < 8
    assert "1" not in bits[at:]
    return values


RUNS = st.lists(st.tuples(st.integers(0, 255), st.one_of(st.integers(1, 300), st.integers(1, 140_000))), max_size=6)


@given(RUNS)
def test_runs_of_every_length_come_back(runs: list[tuple[int, int]]) -> None:
    values = np.array([value for value, _ in runs], dtype=np.uint8)
    lengths = np.array([length for _, length in runs], dtype=np.int64)
    assert unpack(rle_pack(values, lengths)) == np.repeat(values, lengths).tolist()


@pytest.mark.parametrize("length", [1, 8, 9, 16, 17, 256, 257, 65536, 65537])
def test_runs_at_the_borders_of_sizes(length: int) -> None:
    assert unpack(rle_pack(np.array([7], dtype=np.uint8), np.array([length]))) == [7] * length


def test_a_packed_run_spelled_out() -> None:
    header = f"{5:032b}" + "00111" + "0010" + "0011" + "0111" + "1111"
    expected = header + "1" + "00" + "100" + "11111111"
    size = -(-len(expected) // 8)
    packed = rle_pack(np.array([255], dtype=np.uint8), np.array([5]))
    assert packed == int(expected.ljust(8 * size, "0"), 2).to_bytes(size, "big")


@given(arrays.arrays(np.bool_, arrays.array_shapes(min_dims=2, max_dims=2, max_side=9)))
def test_masks_are_white_and_opaque_where_they_are(mask: BoolArray) -> None:
    layers = np.array(unpack(brush_rle(mask)), dtype=np.uint8).reshape(*mask.shape, 4)
    np.testing.assert_array_equal(layers, np.where(mask[:, :, None], 255, 0).repeat(4, axis=2))


def test_tasks_hold_masks_spans_and_what_belongs_together(small: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = export_folder(small, "labelstudio", out)
    assert (result.records, result.pictures, result.objects) == (5, 4, 16)
    losses = {loss.name: loss.count for loss in result.losses}
    assert losses == {"unnamed_objects": 4, "object_details": 12, "phrase_details": 12, "candidates": 4, "questions": 4}
    tasks = json.loads((out / "tasks_train.json").read_text(encoding="utf-8"))
    expected = list(records(small).values())
    for task, source in zip(tasks, expected, strict=False):
        assert (out / task["data"]["image"]).read_bytes() == source.image.data
        assert task["data"]["description"] == source.description
        found = {item["id"]: item for item in task["annotations"][0]["result"] if "id" in item}
        for item in source.objects:
            shown = found[f"object{item.id}"]
            assert (shown["original_height"], shown["original_width"]) == item.mask.size_hw
            layers = np.array(unpack(bytes(shown["value"]["rle"]))).reshape(*item.mask.size_hw, 4)
            np.testing.assert_array_equal(layers[:, :, 3] == 255, item.mask.decode())
            assert shown["value"]["brushlabels"] == [item.category or "object"]
        links = [item for item in task["annotations"][0]["result"] if item["type"] == "relation"]
        pairs = [(found[link["from_id"]]["value"]["text"], link["to_id"]) for link in links]
        assert pairs == [("Two cats", "object0"), ("Two cats", "object1"), ("a man", "object2")]
        spans = [item["value"] for item in found.values() if item["type"] == "labels"]
        assert [(span["start"], span["end"], span["labels"]) for span in spans] == [
            (phrase.start, phrase.end, [phrase.status.value]) for phrase in source.phrases
        ]
    assert len({task["data"]["image"] for task in tasks}) == 3, "two records share one image"
    (bare,) = json.loads((out / "tasks_test.json").read_text(encoding="utf-8"))
    assert bare["data"]["description"] == ""
    assert bare["annotations"] == [{"result": []}]


def test_the_labelling_interface_knows_every_label(tmp_path: Path) -> None:
    rows = rows_of([record(0)], overlay=False)
    rows[0]["objects"][0]["category"] = 'cup & "saucer" <big>'
    write_folder(tmp_path / "in", {"train": [rows]}, described=False)
    export_folder(tmp_path / "in", "labelstudio", tmp_path / "out")
    root = ET.parse(tmp_path / "out" / "label_config.xml").getroot()
    labels = {child.get("name"): [label.get("value") for label in child] for child in root}
    assert labels["objects"] == ["cat", 'cup & "saucer" <big>', "object", "person"]
    assert labels["phrases"] == ["matched", "ambiguous", "absent", "not_an_object"]

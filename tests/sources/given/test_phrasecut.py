"""PhraseCut, and GranD-f's file of RefCOCOg: polygons of the things that words name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from datasetkit.core.errors import UnusableError
from datasetkit.core.protocols import Reading
from datasetkit.core.record import Linker, Maker, PhraseStatus
from tests.sources.given.builders import SIZE_WH, image_bytes, one_reading, readings_of, source_of, write

SQUARE = [[4, 4], [14, 4], [14, 14], [4, 14]]
BESIDE = [[20, 4], [30, 4], [30, 14], [20, 14]]


def phrasecut_task(number: int, phrase: str = "black dogs", **more: Any) -> dict[str, Any]:
    task = {"task_id": f"7__{number}", "image_id": 7, "ann_ids": [71, 72], "phrase": phrase}
    task |= {"instance_boxes": [[4, 4, 10, 10], [20, 4, 10, 10]], "Polygons": [[SQUARE], [BESIDE]]}
    return task | {"phrase_structure": {"name": "dogs", "attributes": ["black"]}} | more


def phrasecut(folder: Path, *tasks: Any, split: str | None = "miniv") -> Path:
    write(folder / "images/7.jpg", image_bytes())
    data = [{"image_id": 7, "width": SIZE_WH[0], "height": SIZE_WH[1], "split": split, "url": "https://x.org/7.jpg"}]
    if split is not None:
        write(folder / "image_data_split3000.json", json.dumps(data))
    return write(folder / "refer_val.json", json.dumps(tasks))


def test_phrase_names_all_its_things(tmp_path: Path) -> None:
    record = one_reading(phrasecut(tmp_path, phrasecut_task(1))).record
    assert (record.description, record.source.uri) == ("black dogs", "https://x.org/7.jpg")
    (phrase,) = record.phrases
    assert (phrase.text, phrase.object_ids, phrase.score) == ("black dogs", (0, 1), None)
    assert (phrase.status, phrase.provenance) == (PhraseStatus.MATCHED, Linker.HUMAN)
    assert [(item.category, item.area, item.provenance.mask) for item in record.objects] == [
        ("dogs", 100, Maker.HUMAN)
    ] * 2


@pytest.mark.parametrize(("split", "expected"), [("miniv", "miniv"), ("val", "validation"), (None, "validation")])
def test_split_of_the_image_before_that_of_the_file(tmp_path: Path, split: str | None, expected: str) -> None:
    (entry,) = source_of(phrasecut(tmp_path, phrasecut_task(1), split=split)).entries()
    assert entry.split == expected


@pytest.mark.parametrize("broken", [7, {"phrase": "x", "Polygons": []}, phrasecut_task(2, Polygons=[[7]])])
def test_broken_task_is_dropped_alone(tmp_path: Path, broken: Any) -> None:
    first, second, third = readings_of(phrasecut(tmp_path, phrasecut_task(1), broken, phrasecut_task(3)))
    assert isinstance(second, UnusableError)
    assert isinstance(first, Reading)
    assert isinstance(third, Reading)


def test_refs_of_grand_f_are_found_in_the_caption(tmp_path: Path) -> None:
    flat = [side for point in SQUARE for side in point]
    refs = [{"sentence": words, "segmentation": [flat]} for words in ("a man", "the one", "absent words")]
    write(tmp_path / "COCO_1.jpg", image_bytes())
    entry = {"img_file_name": "COCO_1.jpg", "caption": "A man is the one.", "refs": refs}
    reading = one_reading(write(tmp_path / "RefCOCOg_GCG_train.json", json.dumps([entry])))
    found = [(phrase.text, phrase.object_ids) for phrase in reading.record.phrases]
    assert found == [("A man", (0,)), ("the one", (0,))]
    assert [item.area for item in reading.record.objects] == [100]
    assert sum(notice.kind == "link_unusable" for notice in reading.notices) == 1

"""Karpathy's splits: names with and without folders, several sentences, restval, broken entries."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from datasetkit.core.errors import UnusableError
from datasetkit.core.protocols import Reading
from tests.sources.given.builders import image_bytes, readings_of, source_of, write


def karpathy_image(number: int, *raw: str, split: str = "train", **more: Any) -> dict[str, Any]:
    sentences = [{"raw": one, "tokens": one.split(), "sentid": 10 * number + at} for at, one in enumerate(raw)]
    return {"filename": f"{number}.jpg", "imgid": number, "split": split, "sentences": sentences} | more


def karpathy(folder: Path, *images: Any) -> Path:
    for number in (1, 2, 3):
        write(folder / f"val2014/{number}.jpg", image_bytes(color=number))
    return write(folder / "dataset_coco.json", json.dumps({"images": images, "dataset": "coco"}))


@pytest.mark.parametrize("folder", [{"filepath": "val2014"}, {}])
def test_image_with_and_without_folder(tmp_path: Path, folder: dict[str, Any]) -> None:
    place = karpathy(tmp_path, karpathy_image(1, "A dog.", "A cat.", " A dog. ", **folder))
    found = [one.record for one in readings_of(place, caption="all") if isinstance(one, Reading)]
    assert [(record.record_id, record.description) for record in found] == [("1/10", "A dog."), ("1/11", "A cat.")]
    assert found[0].image_id == "1"


@pytest.mark.parametrize(("split", "expected"), [("restval", "train"), ("val", "validation"), ("test", "test")])
def test_split(tmp_path: Path, split: str, expected: str) -> None:
    (entry,) = source_of(karpathy(tmp_path, karpathy_image(1, "A dog.", split=split))).entries()
    assert entry.split == expected


@pytest.mark.parametrize("broken", [7, {"filename": "2.jpg"}, karpathy_image(2) | {"sentences": [7]}])
def test_broken_entry_is_dropped_alone(tmp_path: Path, broken: Any) -> None:
    place = karpathy(tmp_path, karpathy_image(1, "A dog."), broken, karpathy_image(3, "A cat."))
    first, second, third = readings_of(place)
    assert isinstance(second, UnusableError)
    assert isinstance(first, Reading)
    assert isinstance(third, Reading)

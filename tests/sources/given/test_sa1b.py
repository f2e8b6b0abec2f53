"""SA-1B: a file per image, scores of a model, null scores, broken files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from datasetkit.core.errors import UnusableError
from datasetkit.core.protocols import Reading
from datasetkit.core.record import Maker
from tests.sources.given.builders import SIZE_WH, image_bytes, one_reading, readings_of, write


def sa1b_mask(number: int, **more: Any) -> dict[str, Any]:
    width, height = SIZE_WH
    rle = {"size": [height, width], "counts": [10, 20, width * height - 30]}
    return {"id": number, "segmentation": rle, "predicted_iou": 0.9, "stability_score": 0.95, "area": 20} | more


def sa1b(folder: Path, number: int, *masks: Any) -> Path:
    write(folder / f"sa_{number}.jpg", image_bytes(color=number))
    image = {"image_id": number, "file_name": f"sa_{number}.jpg", "width": SIZE_WH[0], "height": SIZE_WH[1]}
    return write(folder / f"sa_{number}.json", json.dumps({"image": image, "annotations": masks}))


def test_masks_of_a_model_without_category(tmp_path: Path) -> None:
    path = sa1b(tmp_path, 1, sa1b_mask(5), sa1b_mask(6, predicted_iou=None, stability_score=1.01))
    for place in (path, tmp_path):
        record = one_reading(place).record
        assert [(item.category, item.area, item.provenance.mask) for item in record.objects] == [
            (None, 20, Maker.MODEL)
        ] * 2
        scores = [(one.scores.detection, one.scores.predicted_iou, one.scores.stability) for one in record.objects]
        assert scores == [(None, 0.9, 0.95), (None, None, 1.0)]


def test_broken_file_is_dropped_alone(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        path = sa1b(tmp_path, number, sa1b_mask(number))
        if number == 2:
            write(path, json.dumps({"image": {"file_name": 7}, "annotations": [sa1b_mask(2)]}))
    first, second, third = readings_of(tmp_path)
    assert isinstance(second, UnusableError)
    assert isinstance(first, Reading)
    assert isinstance(third, Reading)


@pytest.mark.parametrize("broken", [{}, {"size": [3, 3], "counts": [9]}])
def test_broken_mask_is_dropped_alone(tmp_path: Path, broken: Any) -> None:
    reading = one_reading(sa1b(tmp_path, 1, sa1b_mask(5), sa1b_mask(6, segmentation=broken)))
    assert ([drop.item_id for drop in reading.drops], len(reading.record.objects)) == (["6"], 1)

"""Round trips: what is exported to COCO or imagefolder and built again gives the same rows and label map."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pycocotools.coco import COCO

from datasetkit.export.dataset.files import FolderFiles
from datasetkit.export.dataset.manifest import Manifest
from datasetkit.export.dataset.verification.verify import verify_files
from datasetkit.export.formats.exporting import export_folder
from datasetkit.options.presets import preset
from tests.export.format_trips import (
    IDS,
    LABEL_MAP,
    build_of,
    coco_and_back,
    exported_coco,
    loaded,
    rows,
    write_odd_coco,
    write_rich,
)

Edit = Callable[[dict[str, Any]], None]


@pytest.fixture(scope="module", autouse=True)
def no_plots() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("datasetkit.export.dataset.describe.write_plots", lambda *_: ())
        yield


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """COCO data with all that COCO can have, built."""
    place = tmp_path_factory.mktemp("odd")
    build_of(write_odd_coco(place / "in"), place / "out")
    return place / "out"


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Records with all that records can have."""
    return write_rich(tmp_path_factory.mktemp("rich") / "out")


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scenes whose objects models have found."""
    out = tmp_path_factory.mktemp("scenes") / "out"
    source = {"name": "toyworld", "count": 3, "size_px": 128, "scene_split": "test"}
    build_of(source, out, grounding=preset("toyworld", {}))
    return out


@pytest.fixture(scope="module")
def trip(odd: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("trip") / "coco"
    assert not export_folder(odd, "coco", place).losses[1:], "but objects without a mask"
    return place


@pytest.mark.parametrize("name", ["odd", "rich", "scenes"])
def test_coco_gives_the_same_rows(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    dataset: Path = request.getfixturevalue(name)
    again = coco_and_back(dataset, tmp_path)
    assert again == rows(dataset)


@pytest.mark.parametrize("name", ["odd", "rich", "scenes"])
def test_imagefolder_gives_the_same_rows(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    dataset: Path = request.getfixturevalue(name)
    assert export_folder(dataset, "imagefolder", tmp_path / "export").losses == ()
    manifest = build_of({"name": "folder", "folder": tmp_path / "export"}, tmp_path / "again")
    assert rows(tmp_path / "again") == rows(dataset)
    assert manifest.label_map == Manifest.read(dataset).label_map
    assert manifest.passed_over == (), "not even the export's own marker"
    assert [fault for fault in faults(tmp_path / "again") if not fault.is_warning] == []


def faults(out: Path) -> list[Any]:
    return list(verify_files(FolderFiles(out)))


def test_categories_and_names_come_back_as_they_were(trip: Path) -> None:
    document = loaded(trip / "instances_train.json")
    assert document["categories"] == LABEL_MAP
    assert [(image["id"], image["file_name"]) for image in document["images"]] == [
        (7, "a/b/one.png"),
        (3, "a/two.PNG"),
        (12, "c/one.png"),
        (5, "plain.png"),
    ]
    assert [item["id"] for item in document["annotations"]] == [900, 17, 18, 1, 2, 3, 4]
    assert document["images"][0]["neg_category_ids"] == [13, 499]
    coco = COCO(str(trip / "instances_train.json"))
    assert sorted(coco.getCatIds()) == sorted(IDS)
    assert coco.getCatIds(catNms=["cat"]) == [1000003]
    captions = COCO(str(trip / "captions_train.json")).anns.values()
    assert all(isinstance(item["caption"], str) for item in captions)

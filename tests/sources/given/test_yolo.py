"""YOLO: boxes and polygons, layouts of folders, splits, names of classes, and broken rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from datasetkit.core.errors import SourceError, UnusableError
from datasetkit.core.ledger import DropReason
from datasetkit.core.record import Maker
from tests.sources.given.builders import boxes_of, image_bytes, one_reading, readings_of, source_of, write

NAMES = "names:\n  0: box\n  1: ball\n"
BOX = "0 0.5 0.5 0.5 0.2"  # of 40x30 px
POLYGON = "1 0 0 0.25 0 0.25 1 0 1"


def yolo_set(folder: Path, rows: str | None, settings: str = f"train: images/train\n{NAMES}") -> Path:
    write(folder / "images/train/a.png", image_bytes())
    if rows is not None:
        write(folder / "labels/train/a.txt", rows)
    return write(folder / "data.yaml", settings)


def test_five_numbers_are_a_box_beside_polygons(tmp_path: Path) -> None:
    reading = one_reading(yolo_set(tmp_path, f"{BOX}\n{POLYGON}\n"))
    box, polygon = reading.record.objects
    assert (box.category, box.mask, box.provenance.box, box.scores.detection) == ("box", None, Maker.HUMAN, None)
    assert boxes_of(reading) == [pytest.approx((10, 12, 20, 6)), (0, 0, 10, 30)]
    assert (polygon.category, polygon.area, polygon.provenance.mask) == ("ball", 300, Maker.HUMAN)


def test_sixth_number_is_the_score_of_a_model(tmp_path: Path) -> None:
    (item,) = one_reading(yolo_set(tmp_path, f"{BOX} 0.75")).record.objects
    assert (item.scores.detection, item.provenance.box) == (0.75, Maker.MODEL)


def test_keypoints_follow_a_box(tmp_path: Path) -> None:
    settings = f"train: images/train\nkpt_shape: [1, 3]\n{NAMES}"
    (item,) = one_reading(yolo_set(tmp_path, f"{BOX} 0.5 0.5 2", settings)).record.objects
    assert item.mask is None


@pytest.mark.parametrize("rows", [None, "", "\n\n"])
def test_without_labels_there_are_no_objects(tmp_path: Path, rows: str | None) -> None:
    assert one_reading(yolo_set(tmp_path, rows)).record.objects == ()


@pytest.mark.parametrize("names", ["names: [box, ball]\n", "names: {'0': box, '1': ball}\n", NAMES])
def test_names_are_a_list_or_a_mapping(tmp_path: Path, names: str) -> None:
    source = source_of(yolo_set(tmp_path, BOX, f"train: images/train\nval:\n{names}"))
    assert [category.name for category in source.label_map()] == ["box", "ball"]


def test_class_without_name_has_no_category(tmp_path: Path) -> None:
    assert one_reading(yolo_set(tmp_path, "7 0.5 0.5 0.5 0.2")).record.objects[0].category is None


@pytest.mark.parametrize("root", ["../datasets/toy", "/content/toy", ".", "images/.."])
def test_root_elsewhere_is_the_folder_of_the_yaml(tmp_path: Path, root: str) -> None:
    settings = f"path: {root}\ntrain: images/train\n{NAMES}"
    assert len(one_reading(yolo_set(tmp_path, BOX, settings)).record.objects) == 1


def test_splits_in_folders_of_their_own(tmp_path: Path) -> None:
    for split in ("train", "valid"):
        write(tmp_path / split / "images/a.png", image_bytes())
        write(tmp_path / split / "labels/a.txt", BOX)
    write(tmp_path / "data.yaml", f"train: ../train/images\nval: ../valid/images\n{NAMES}")
    assert [entry.split for entry in source_of(tmp_path).entries()] == ["train", "validation"]
    assert [len(one.record.objects) for one in readings_of(tmp_path) if not isinstance(one, UnusableError)] == [1, 1]


def test_lists_of_images_name_splits(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / f"images/{name}.png", image_bytes())
    write(tmp_path / "labels/b.txt", BOX)
    write(tmp_path / "train.txt", "./images/a.png\n")
    write(tmp_path / "val.txt", "/content/toy/images/b.png\n")
    write(tmp_path / "data.yaml", f"train: train.txt\nval: [val.txt]\n{NAMES}")
    found = [(entry.record_id, entry.split, len(entry.annotation_ids)) for entry in source_of(tmp_path).entries()]
    assert found == [("images/a.png", "train", 0), ("images/b.png", "validation", 1)]


def test_labels_without_image_are_dropped_with_a_reason(tmp_path: Path) -> None:
    place = yolo_set(tmp_path, BOX)
    write(tmp_path / "labels/train/b.txt", BOX)
    found = list(readings_of(place))
    assert [one.reason for one in found if isinstance(one, UnusableError)] == [DropReason.MISSING]
    assert len(found) == 2


def test_images_in_another_folder(tmp_path: Path) -> None:
    write(tmp_path / "pixels/images/train/a.png", image_bytes())
    write(tmp_path / "set/labels/train/a.txt", BOX)
    place = write(tmp_path / "set/data.yaml", f"train: images/train\n{NAMES}")
    assert len(one_reading(place, images=tmp_path / "pixels").record.objects) == 1


@pytest.mark.parametrize("row", ["x y", "0 0.5", "0 nan 0.5 0.1 0.1", "0 0.1 0.1 0.2 0.2 0.3 0.3 0.4", "0 3 3 0.1 0.1"])
def test_broken_row_drops_its_object_alone(tmp_path: Path, row: str) -> None:
    reading = one_reading(yolo_set(tmp_path, f"{row}\n{BOX}"))
    assert (len(reading.record.objects), len(reading.drops)) == (1, 1)


def test_one_file_that_is_no_text_is_dropped_alone(tmp_path: Path) -> None:
    place = yolo_set(tmp_path, BOX)
    write(tmp_path / "images/train/b.png", image_bytes())
    write(tmp_path / "labels/train/b.txt", b"\xff\x00\xd8")
    assert [isinstance(one, UnusableError) for one in readings_of(place)] == [False, True]


def test_folders_outside_are_not_read(tmp_path: Path) -> None:
    write(tmp_path / "out/images/a.png", image_bytes())
    place = write(tmp_path / "in/data.yaml", f"path: {tmp_path}/out\ntrain: images\n{NAMES}")
    with pytest.raises(SourceError, match="none of the folders"):
        source_of(place)


def test_other_yaml_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="in no known format"):
        source_of(write(tmp_path / "a.yaml", "train: [unclosed"))

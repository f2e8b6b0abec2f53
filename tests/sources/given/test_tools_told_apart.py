"""Exports of annotation tools are told apart by their content, whatever their files are called."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from datasetkit.core.errors import SourceError
from tests.sources.given.builders import format_of, write
from tests.sources.given.test_cvat import POLYGON, cvat_file
from tests.sources.given.test_label_studio import ls_file, ls_task
from tests.sources.given.test_labelme import labelme_file, labelme_shape
from tests.sources.given.test_open_images import open_images
from tests.sources.given.test_voc import voc_kit
from tests.sources.given.test_yolo import BOX, yolo_set

BUILDERS: dict[str, Callable[[Path], object]] = {
    "cvat": lambda folder: cvat_file(folder, POLYGON),
    "labelme": lambda folder: labelme_file(folder / "a.json", labelme_shape("polygon", [[0, 0], [9, 0], [9, 9]])),
    "open-images": open_images,
    "voc": lambda folder: voc_kit(folder, (1, 1, 9, 9)),
    "yolo": lambda folder: yolo_set(folder, BOX),
}


@pytest.mark.parametrize("name", BUILDERS)
def test_folder_is_one_format(tmp_path: Path, name: str) -> None:
    BUILDERS[name](tmp_path)
    assert format_of(tmp_path) == name


def test_file_is_one_format_by_any_name(tmp_path: Path) -> None:
    for place, name in (
        (ls_file(tmp_path / "1", ls_task()), "label-studio"),
        (cvat_file(tmp_path / "2", POLYGON), "cvat"),
        (voc_kit(tmp_path / "3", (1, 1, 9, 9)), "voc"),
    ):
        renamed = tmp_path / "instances_train2017"
        shutil.copy(place, renamed)
        assert format_of(renamed) == name


def test_two_formats_in_one_folder_are_both_named(tmp_path: Path) -> None:
    cvat_file(tmp_path, POLYGON)
    yolo_set(tmp_path, BOX)
    with pytest.raises(SourceError, match="may be cvat or yolo; give one of them as --format"):
        format_of(tmp_path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", '{"shapes": []}'),
        ("a.json", '[{"data": {}}]'),
        ("a.xml", "<annotations><track/></annotations>"),
        ("a.xml", "<annotation><object><polygon/></object></annotation>"),
        ("a.yaml", "names: [a]\n"),
        ("a.csv", "ImageID,LabelName\n1,2\n"),
    ],
)
def test_files_that_look_alike_are_refused(tmp_path: Path, name: str, content: str) -> None:
    write(tmp_path / name, content)
    for place in (tmp_path, tmp_path / name):
        with pytest.raises(SourceError, match="in no known format"):
            format_of(place)

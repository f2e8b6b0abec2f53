"""Helpers on plain rows: equal results for rows in every format, and clear errors for anything else."""

from __future__ import annotations

import importlib
import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import datasetkit as dk
from datasetkit.core.drawing import draw_overlay
from datasetkit.core.errors import BuiltFolderError, DatasetkitError, RecordError, UnusableError
from datasetkit.core.record import Record
from datasetkit.core.rows import row_image
from datasetkit.options import Recipe
from datasetkit.options.build import RunOptions
from datasetkit.pipeline.build import build
from tests.export.folders import bare_record, record, rows_of, write_folder
from tests.pipeline.builders import records

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two records with objects, one without, as real shards with a card."""
    folder = tmp_path_factory.mktemp("rows") / "out"
    write_folder(folder, {"train": [rows_of([record(1), record(2)])], "test": [rows_of([bare_record(3)])]})
    return folder


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.getbasetemp() / "datasets")


def parquet_rows(folder: Path) -> Any:
    return pq.read_table(folder / "data" / "train-00000-of-00001.parquet")


FORMATS: dict[str, Callable[[Path], Any]] = {
    "plain": lambda out: dk.load(out, "train")[1],
    "numpy": lambda out: dk.load(out, "train").with_format("numpy")[1],
    "torch": lambda out: dk.load(out, "train").with_format("torch")[1],
    "streaming": lambda out: list(dk.load(out, "train", streaming=True))[1],
    "not decoded": lambda out: dk.load(out, "train").cast_column("image", datasets.Image(decode=False))[1],
    "pandas": lambda out: dk.load(out, "train").with_format("pandas")[:].iloc[1],
    "pandas of parquet": lambda out: pd.read_parquet(out / "data" / "train-00000-of-00001.parquet").iloc[1],
    "arrow": lambda out: parquet_rows(out).to_pylist()[1],
}


@pytest.mark.parametrize("name", FORMATS)
def test_rows_of_every_format_give_equal_answers(built: Path, name: str) -> None:
    row, wanted = FORMATS[name](built), record(2)
    expected = np.stack([item.mask.decode() for item in wanted.objects])
    found = dk.masks(row)
    assert (found.dtype, found.shape) == (np.bool_, (4, 24, 32))
    assert (found == expected).all()
    assert (dk.phrase_masks(row, "two cats") == expected[:2]).all()
    assert (dk.phrase_masks(row, 0) == expected[:2]).all()
    assert dk.phrase_masks(row, "a man").shape == (0, 24, 32)
    pixels = Image.open(io.BytesIO(wanted.image.data))
    assert (np.asarray(row_image(row)) == np.asarray(pixels)).all()
    assert (np.asarray(dk.overlay(row)) == np.asarray(draw_overlay(pixels, wanted.key_objects))).all()
    assert dk.overlay(row, max_side_px=16).size == (16, 12)


@pytest.mark.parametrize("style", [None, "numpy", "torch"])
def test_a_row_without_objects(built: Path, style: str | None) -> None:
    row = dk.load(built, "test").with_format(style)[0]
    assert dk.masks(row).shape == (0, 32, 24)
    assert dk.masks(row).dtype == np.bool_
    assert (np.asarray(dk.overlay(row)) == np.asarray(row_image(row))).all()
    with pytest.raises(KeyError, match="no phrase 'a cat'; its phrases are none"):
        dk.phrase_masks(row, "a cat")


def test_the_overlay_is_as_large_as_the_image() -> None:
    row = {"width": 900, "height": 10, "objects": [], "image": np.zeros((10, 900, 3), np.uint8)}
    assert dk.overlay(row).size == (900, 10)


def test_unknown_phrases_are_errors_that_name_the_known_ones(built: Path) -> None:
    row = dk.load(built, "train")[0]
    known = "its phrases are 0: 'Two cats', 1: 'a man', 2: 'the top'"
    for unknown in ("a dog", "cats", "", 3, -4):
        with pytest.raises(DatasetkitError) as caught:
            dk.phrase_masks(row, unknown)
        assert isinstance(caught.value, KeyError)
        assert str(caught.value).endswith(known)
    assert (dk.phrase_masks(row, np.int64(-3)) == dk.phrase_masks(row, 0)).all()
    with pytest.raises(DatasetkitError, match="a float is not a phrase"):
        dk.phrase_masks(row, 0.5)  # type: ignore[arg-type]


def test_a_phrase_that_comes_twice_names_the_objects_of_both(built: Path) -> None:
    row = dk.load(built, "train")[0]
    row["phrases"] = [{"text": "a  Cat", "object_ids": [5]}, {"text": "A cat", "object_ids": [0, 5]}]
    assert (dk.phrase_masks(row, "a cat") == dk.masks(row)[[0, 3]]).all()
    assert (dk.phrase_masks(row, 0) == dk.masks(row)[[3]]).all()


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "I;16", "1"])
@pytest.mark.parametrize("style", [None, "numpy", "torch"])
def test_images_of_other_modes(mode: str, style: str | None) -> None:
    values = np.arange(12 * 20).reshape(12, 20)
    if mode == "I;16":
        image = Image.fromarray((values * 257).astype(np.uint16))
    else:
        image = Image.fromarray(values.astype(np.uint8)).convert(mode)
    features = datasets.Features({"image": datasets.Image(), "width": datasets.Value("int32")})
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    stored = {"image": [{"bytes": buffer.getvalue(), "path": "a.png"}], "width": [20]}
    row = datasets.Dataset.from_dict(stored, features=features).with_format(style)[0]
    expected = row_image({"image": stored["image"][0], "width": 20, "height": 12})
    assert (np.asarray(row_image({**row, "height": 12})) == np.asarray(expected)).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": "a.jpg"}, "image is a str"),
        ({"image": {"bytes": None, "path": "a.jpg"}}, "image is a dict"),
        ({"width": 31}, "the row says"),
        ({"width": [32, 32]}, "give one row"),
    ],
)
def test_what_is_no_row_is_told(built: Path, change: dict[str, Any], message: str) -> None:
    row = dk.load(built, "train")[0] | change
    with pytest.raises(RecordError, match=message):
        dk.overlay({**row, "objects": []})
    if "width" in change:
        with pytest.raises(RecordError, match=r"the row says|give one row"):
            dk.masks(row)
    with pytest.raises(RecordError, match="dict has no column 'objects'"):
        dk.masks({"height": 1, "width": 1})
    with pytest.raises(RecordError, match="list has no column 'objects'"):
        dk.masks([row])
    with pytest.raises(RecordError, match="give one row"):
        dk.masks(dk.load(built, "train")[0:2])


def test_a_damaged_mask_is_told(built: Path) -> None:
    row = dk.load(built, "train")[0]
    row["objects"][0]["mask"]["counts"] = "not a mask"
    with pytest.raises(UnusableError):
        dk.masks(row)


def test_load_gives_what_load_dataset_gives(built: Path, tmp_path: Path) -> None:
    loaded = dk.load(built)
    assert type(loaded) is datasets.DatasetDict
    assert list(loaded) == ["train", "test"]
    assert loaded["train"][:] == datasets.load_dataset(str(built), split="train")[:]
    assert type(dk.load(str(built), split="test")) is datasets.Dataset
    assert type(dk.load(built, streaming=True)) is datasets.IterableDatasetDict
    foreign = tmp_path / "foreign"
    (foreign / "data").mkdir(parents=True)
    pq.write_table(pa.table({"image": [b"x"], "text": ["y"]}), foreign / "data" / "a.parquet")
    for streaming in (False, True):
        with pytest.raises(BuiltFolderError, match=r"no column .*objects.* load it with datasets\.load_dataset"):
            dk.load(foreign, streaming=streaming)


def test_what_is_no_dataset_of_ours_is_told_at_once(tmp_path: Path) -> None:
    for name in ("nope", str(tmp_path / "nope"), "a/b/c"):
        with pytest.raises(BuiltFolderError, match=f"there is no folder {name}; give a built folder, or user/name"):
            dk.load(name)
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    with pytest.raises(BuiltFolderError, match=r"has no data/\*\.parquet, so datasetkit did not build it; build a"):
        dk.load(tmp_path)


@pytest.mark.parametrize("streaming", [False, True])
def test_columns_in_the_card_are_checked_before_data_is_read(tmp_path: Path, streaming: bool) -> None:
    features = "- {name: image, dtype: image}\n  - {name: text, dtype: string}"
    (tmp_path / "README.md").write_text(f"---\ndataset_info:\n  features:\n  {features}\n---\n")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train-00000-of-00001.parquet").write_bytes(b"whoever reads this fails")
    with pytest.raises(BuiltFolderError, match=r"has no column width, .*objects.* load it with datasets"):
        dk.load(tmp_path, streaming=streaming)


def test_a_real_build(tmp_path: Path) -> None:
    recipe = Recipe.checked({"source": {"name": "toyworld", "count": 3, "size_px": 64}})
    build(recipe, RunOptions(out=tmp_path / "out", workers=1))
    known: dict[str, Record] = records(tmp_path / "out")
    rows = [row for part in dk.load(tmp_path / "out").values() for row in part]
    assert len(rows) == 3
    for row in rows:
        wanted = known[row["record_id"]]
        assert (dk.masks(row) == np.stack([item.mask.decode() for item in wanted.objects])).all()
        for index, phrase in enumerate(wanted.phrases):
            pixels = sum(item.area for item in wanted.objects if item.id in phrase.object_ids)
            assert dk.phrase_masks(row, index).sum() == pixels
        drawn = np.asarray(dk.overlay(row)) != np.asarray(row_image(row))
        shown = np.zeros((64, 64), dtype=np.bool_)
        for item in wanted.key_objects:
            shown |= item.mask.decode()
        assert drawn.any(axis=2)[~shown].sum() == 0


def test_names_of_the_package() -> None:
    """The function ``masks`` and the module of that name live together, whichever is asked for first."""
    assert {"load", "masks", "overlay", "phrase_masks"} < set(dk.__all__)
    module = importlib.import_module("datasetkit.core.mask")
    assert module.Mask is importlib.reload(importlib.import_module("datasetkit.core.rows")).Mask
    assert callable(dk.masks)
    with pytest.raises(AttributeError, match="no attribute 'mask'"):
        dk.mask  # type: ignore[attr-defined]  # noqa: B018
    for first in ("import datasetkit.core.mask; import datasetkit as dk", "import datasetkit as dk; dk.overlay"):
        row = "{'height': 2, 'width': 3, 'objects': []}"
        code = f"{first}; from datasetkit.core.mask import Mask; assert dk.masks({row}).shape == (0, 2, 3)"
        subprocess.run([sys.executable, "-c", code], check=True)


def test_the_package_lists_its_functions() -> None:
    assert set(dk.__all__) <= set(dir(dk))


@pytest.mark.parametrize("kind", ["pandas", "arrow"])
def test_a_selection_of_one_row_is_told_how_to_become_a_row(built: Path, kind: str) -> None:
    with pytest.raises(RecordError, match=r"give one row: dataset\[0\], frame\.iloc\[0\] of a pandas frame"):
        dk.masks(dk.load(built, "train").with_format(kind)[0])

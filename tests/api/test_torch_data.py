"""Tensors for training: image and masks stay aligned at any size."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from PIL import Image

import datasetkit as dk
from datasetkit.api.torch_data import KeyObjectDataset, collate
from datasetkit.core.record import EncodedImage, Phrase, PhraseStatus, Record
from datasetkit.core.rows import row_image
from tests.export.folders import bare_record, png, record, rows_of, write_folder


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> datasets.Dataset:
    folder = tmp_path_factory.mktemp("torch") / "out"
    last = record(3, image=png((48, 32), 3))
    crossed = Phrase("Two cats", 0, 8, object_ids=(5, 0), status=PhraseStatus.MATCHED)
    items: list[Record] = [record(1), bare_record(2), replace(last, phrases=(crossed,))]
    write_folder(folder, {"train": [rows_of(items)]})
    return datasets.load_dataset(str(folder), split="train", cache_dir=str(folder.parent / "cache"))


@pytest.mark.slow
def test_a_sample_is_the_row(loaded: datasets.Dataset) -> None:
    for style in (None, "torch", "numpy"):
        dataset = KeyObjectDataset(loaded.with_format(style))
        assert len(dataset) == 3
        sample, row = dataset[0], loaded[0]
        assert (sample["image"].shape, sample["image"].dtype) == ((3, 24, 32), torch.uint8)
        assert (sample["image"].permute(1, 2, 0).numpy() == np.asarray(row_image(row))).all()
        assert sample["masks"].dtype == torch.bool
        assert (sample["masks"].numpy() == dk.masks(row)).all()
        assert sample["object_ids"].tolist() == [0, 1, 2, 5]
        assert sample["description"] == row["description"]
        assert sample["phrases"][0] == {
            "text": "Two cats",
            "start": 0,
            "end": 8,
            "status": "matched",
            "objects": [0, 1],
        }
        assert [phrase["objects"] for phrase in sample["phrases"][1:]] == [[], []]


def test_phrases_point_at_places_not_ids(loaded: datasets.Dataset) -> None:
    sample = KeyObjectDataset(loaded)[2]
    assert sample["phrases"][0]["objects"] == [3, 0]
    found = sample["masks"][sample["phrases"][0]["objects"]].numpy()
    assert (found[::-1] == dk.phrase_masks(loaded[2], "two cats")).all()


def test_a_row_without_objects(loaded: datasets.Dataset) -> None:
    sample = KeyObjectDataset(loaded, size_px=8)[1]
    assert sample["masks"].shape == (0, 8, 8)
    assert (sample["object_ids"].dtype, sample["object_ids"].shape) == (torch.int64, (0,))
    assert sample["description"] is None
    assert sample["phrases"] == []


@pytest.mark.parametrize("size_px", [7, 24, 96])
def test_image_and_masks_are_resized_alike(tmp_path: Path, size_px: int) -> None:
    """An image that is white exactly on its object stays so, except at the edge."""
    area = record(1).objects[2].mask.decode()
    buffer = io.BytesIO()
    Image.fromarray(area[..., None].repeat(3, axis=2) * np.uint8(255)).save(buffer, "PNG")
    item = record(1, image=EncodedImage(buffer.getvalue(), "white.png", 32, 24))
    write_folder(tmp_path / "out", {"train": [rows_of([item])]}, described=False)
    dataset = datasets.load_dataset(
        "parquet", data_dir=str(tmp_path / "out" / "data"), split="train", cache_dir=str(tmp_path)
    )
    sample = KeyObjectDataset(dataset, size_px=size_px)[0]
    assert sample["image"].shape == (3, size_px, size_px)
    light, inside = sample["image"][0].numpy(), sample["masks"][2].numpy()
    certain = (light < 60) | (light > 195)
    assert ((light > 127) == inside)[certain].all()
    assert certain.mean() > 0.4
    assert inside.mean() == pytest.approx(area.mean(), abs=0.1)


def test_a_transform_changes_values_and_nothing_else(loaded: datasets.Dataset) -> None:
    dataset = KeyObjectDataset(loaded, transform=lambda image: image.float() / 255)
    assert dataset[0]["image"].dtype == torch.float32
    assert dataset[0]["image"].max() <= 1
    turned = KeyObjectDataset(loaded, transform=lambda image: image.transpose(1, 2))
    with pytest.raises(ValueError, match="the masks do not fit"):
        turned[0]
    with pytest.raises(ValueError, match=r"size_px is \(3, 4\); give a positive integer"):
        KeyObjectDataset(loaded, size_px=(3, 4))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="size_px is 0"):
        KeyObjectDataset(loaded, size_px=0)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_batch_is_padded_and_marked(loaded: datasets.Dataset, workers: int) -> None:
    dataset = KeyObjectDataset(loaded)
    loader = torch.utils.data.DataLoader(dataset, batch_size=3, collate_fn=collate, num_workers=workers)
    (batch,) = list(loader)
    assert batch["image"].shape == (3, 3, 48, 32)
    assert batch["pixel_mask"].dtype == torch.bool
    assert batch["pixel_mask"].sum((1, 2)).tolist() == [24 * 32, 32 * 24, 48 * 32]
    for place, sample in enumerate(dataset[index] for index in range(3)):
        height, width = sample["image"].shape[1:]
        assert batch["pixel_mask"][place, :height, :width].all()
        assert (batch["image"][place, :, :height, :width] == sample["image"]).all()
        assert not batch["image"][place][:, ~batch["pixel_mask"][place]].any()
        assert (batch["masks"][place][:, :height, :width] == sample["masks"]).all()
        assert batch["masks"][place].shape == (len(sample["object_ids"]), 48, 32)
        assert batch["masks"][place].sum() == sample["masks"].sum()
        assert batch["object_ids"][place].tolist() == sample["object_ids"].tolist()
        assert batch["phrases"][place] == sample["phrases"]
    assert batch["description"] == [loaded[index]["description"] for index in range(3)]


def test_what_is_no_split_of_rows_is_refused(loaded: datasets.Dataset) -> None:
    for dataset in ("coco", datasets.DatasetDict({"train": loaded}), loaded.to_iterable_dataset()):
        with pytest.raises(TypeError, match=f"dataset is a {type(dataset).__name__}; give that of datasetkit.load"):
            KeyObjectDataset(dataset)


def test_overlays_are_not_decoded(loaded: datasets.Dataset) -> None:
    overlays = datasets.Dataset.from_dict({"overlay": [b"no image"] * len(loaded)})
    damaged = datasets.concatenate_datasets([loaded.remove_columns("overlay"), overlays], axis=1)
    sample = KeyObjectDataset(damaged.cast_column("overlay", datasets.Image()))[0]
    assert sample["image"].shape[0] == 3

"""Published rows as tensors for training. Owns the sample and the batch; needs torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypedDict

import datasets
import numpy as np
import torch
from PIL import Image

from datasetkit.core.rows import masks, row_image

_COLUMNS = ("image", "width", "height", "description", "objects", "phrases")


class PhraseTarget(TypedDict):
    """A noun phrase and the indices of its objects among the masks of a sample.

    Keys:
        text: the words, verbatim.
        start: index of the first character in the description (code points).
        end: index after the last character.
        status: matched, ambiguous, absent or not_an_object.
        objects: indices into ``masks`` and ``object_ids``, not ids; empty unless the phrase is matched.
    """

    text: str
    start: int
    end: int
    status: str
    objects: list[int]


class Sample(TypedDict):
    """One row.

    Keys:
        image: shape (3, H, W), RGB, uint8 in [0, 255]; or the result of the transform, of equal H and W.
        description: the text, or None.
        masks: shape (N, H, W), bool; all False for an object without a mask.
        object_ids: shape (N,), int64, object ids of the row.
        phrases: noun phrases of the description.
    """

    image: torch.Tensor
    description: str | None
    masks: torch.Tensor
    object_ids: torch.Tensor
    phrases: list[PhraseTarget]


class Batch(TypedDict):
    """Samples, padded at the right and the bottom to the largest height and width among them.

    Keys:
        image: shape (B, C, H, W), 0 where padded.
        pixel_mask: shape (B, H, W), bool: True where an image is, False where padded.
        description: B texts.
        masks: B tensors of shape (N, H, W), bool, N of each sample, False where padded.
        object_ids: B tensors of shape (N,), int64.
        phrases: B lists.
    """

    image: torch.Tensor
    pixel_mask: torch.Tensor
    description: list[str | None]
    masks: list[torch.Tensor]
    object_ids: list[torch.Tensor]
    phrases: list[list[PhraseTarget]]


class KeyObjectDataset(torch.utils.data.Dataset[Sample]):
    """The rows of a published dataset as tensors, one at a time.

    Args:
        dataset: ``datasets.Dataset`` of one split, returned by ``datasetkit.load``, in any format.
        size_px: if given, images and masks are resized to size_px x size_px: images bilinearly, masks by the nearest
            pixel. A very small object may lose all of its pixels.
        transform: changes the values of the image, shape (3, H, W), uint8 in [0, 255]; it must keep H and W, since
            masks are not transformed.

    """

    def __init__(
        self,
        dataset: Any,
        *,
        size_px: int | None = None,
        transform: Callable[[torch.Tensor], torch.Tensor] | None = None,
    ) -> None:
        if not isinstance(dataset, datasets.Dataset):
            raise TypeError(
                f"dataset is a {type(dataset).__name__}; give that of datasetkit.load(..., split=...), not streamed"
            )
        if size_px is not None and (not isinstance(size_px, int) or size_px < 1):
            raise ValueError(f"size_px is {size_px}; give a positive integer, or None to keep the size of each image")
        self._dataset = dataset.select_columns(list(_COLUMNS)).with_format(None)
        self._size_px = size_px
        self._transform = transform

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> Sample:
        row = self._dataset[index]
        pixels, areas = row_image(row), masks(row)
        if self._size_px is not None:
            pixels = pixels.resize((self._size_px, self._size_px), Image.Resampling.BILINEAR)
            areas = _sampled(areas, self._size_px)
        ids = [item["id"] for item in row["objects"]]
        return Sample(
            image=self._transformed(torch.from_numpy(np.array(pixels)).permute(2, 0, 1).contiguous()),
            description=row["description"],
            masks=torch.from_numpy(areas),
            object_ids=torch.tensor(ids, dtype=torch.int64),
            phrases=[
                PhraseTarget(
                    text=phrase["text"],
                    start=phrase["start"],
                    end=phrase["end"],
                    status=phrase["status"],
                    objects=[ids.index(number) for number in phrase["object_ids"]],
                )
                for phrase in row["phrases"]
            ],
        )

    def _transformed(self, image: torch.Tensor) -> torch.Tensor:
        if self._transform is None:
            return image
        changed = self._transform(image)
        if changed.ndim != 3 or changed.shape[1:] != image.shape[1:]:
            raise ValueError(
                f"the transform changed {tuple(image.shape)} to {tuple(changed.shape)}, which the masks do not fit; "
                "keep height and width, and give size_px to resize both"
            )
        return changed


def collate(samples: Sequence[Sample]) -> Batch:
    """Collate samples to a batch, as ``collate_fn`` of ``torch.utils.data.DataLoader``."""
    height = max(sample["image"].shape[1] for sample in samples)
    width = max(sample["image"].shape[2] for sample in samples)
    images = [_padded(sample["image"], height, width) for sample in samples]
    there = [torch.ones(sample["image"].shape[1:], dtype=torch.bool) for sample in samples]
    return Batch(
        image=torch.stack(images),
        pixel_mask=torch.stack([_padded(area, height, width) for area in there]),
        description=[sample["description"] for sample in samples],
        masks=[_padded(sample["masks"], height, width) for sample in samples],
        object_ids=[sample["object_ids"] for sample in samples],
        phrases=[sample["phrases"] for sample in samples],
    )


def _sampled(areas: np.ndarray[Any, np.dtype[np.bool_]], size_px: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Resize masks of shape (N, H, W) to (N, size_px, size_px) by the pixel at each new pixel's centre."""
    centres = np.arange(size_px) + 0.5
    rows = (centres * areas.shape[1] / size_px).astype(np.int64)
    columns = (centres * areas.shape[2] / size_px).astype(np.int64)
    return np.ascontiguousarray(areas[:, rows[:, None], columns[None, :]])


def _padded(values: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Pad the last two axes with zeros at the right and the bottom."""
    padded = values.new_zeros((*values.shape[:-2], height, width))
    padded[..., : values.shape[-2], : values.shape[-1]] = values
    return padded

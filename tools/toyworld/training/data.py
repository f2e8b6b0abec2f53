"""Scenes as arrays for training. Owns the store of rendered scenes, rendered on demand and shared by all models.

The data of a step depend on seed, stage and step only, so that an interrupted run continues exactly as an uninterrupted
one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
import torch
from numpy.typing import NDArray

from datasetkit.toyworld.raster import visible_masks
from datasetkit.toyworld.render import render
from datasetkit.toyworld.sampling import sample_scene
from datasetkit.toyworld.scenes import Colour, Scene, SceneConfig, Size, Split, combinations_for, seed_for
from datasetkit.toyworld.shapes import Shape

SIDE_PX = 128
SHAPES, COLOURS, SIZES = list(Shape), list(Colour), list(Size)
_VISIBLE_IN_CELL = 0.15


def split_config(split: Split) -> SceneConfig:
    """Return the scene options of a split in the base domain, 128 px square."""
    return SceneConfig(combinations=combinations_for(split))


class SceneStore:
    """Scenes 0 to ``count - 1`` of a split, kept as files in a folder once they are rendered.

    Several processes may share the folder: they write the same bytes.

    Args:
        folder: folder of the images.
        split: split of the scenes.
        count: number of scenes.

    """

    def __init__(self, folder: Path, split: Split, count: int) -> None:
        self.count = count
        self._split = split
        self._config = split_config(split)
        self._scenes: dict[int, Scene] = {}
        folder.mkdir(parents=True, exist_ok=True)
        stem = f"{split.value}-{count}"
        self._pixels = _open_array(folder / f"{stem}-pixels.bin", (count, SIDE_PX, SIDE_PX, 3))
        self._labels = _open_array(folder / f"{stem}-labels.bin", (count, SIDE_PX, SIDE_PX))
        self._done = _open_array(folder / f"{stem}-done.bin", (count,))

    def scene(self, index: int) -> Scene:
        """Return the scene of an index."""
        if index not in self._scenes:
            self._scenes[index] = sample_scene(seed_for(self._split, index), self._config)
        return self._scenes[index]

    def arrays(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Return pixels (128, 128, 3), RGB, and labels (128, 128), object id plus one or 0, both uint8."""
        if not self._done[index]:
            scene = self.scene(index)
            self._pixels[index] = render(scene)
            ids = np.arange(1, len(scene.objects) + 1, dtype=np.uint8)[:, None, None]
            self._labels[index] = (visible_masks(scene) * ids).sum(0, dtype=np.uint8)
            self._done[index] = 1
        return self._pixels[index], self._labels[index]

    def batch(self, indices: list[int]) -> Batch:
        """Return several scenes at once."""
        pairs = [self.arrays(index) for index in indices]
        return Batch(
            tuple(self.scene(index) for index in indices),
            np.stack([pixels for pixels, _ in pairs]),
            np.stack([labels for _, labels in pairs]),
        )


@dataclass(frozen=True)
class Batch:
    """Scenes with their images.

    Args:
        scenes: B scenes.
        pixels: shape (B, 128, 128, 3), RGB, uint8.
        labels: shape (B, 128, 128), uint8: id of the visible object plus one, 0 for background.

    """

    scenes: tuple[Scene, ...]
    pixels: NDArray[np.uint8]
    labels: NDArray[np.uint8]

    def masks(self) -> list[NDArray[np.bool_]]:
        """Return the visible masks of the objects of each scene, shape (N, 128, 128), dtype bool."""
        return [
            labels[None] == np.arange(1, len(scene.objects) + 1)[:, None, None]
            for scene, labels in zip(self.scenes, self.labels, strict=True)
        ]


def normalised(pixels: NDArray[np.uint8], mean: list[float], std: list[float]) -> torch.Tensor:
    """Return images (B, H, W, 3) in 0 to 255 as model input: (B, 3, H, W), float32, rescaled and normalised."""
    values = torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2).float() / 255
    return (values - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]


def tight_boxes_xyxy(masks: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return the tight bounding boxes of masks (N, H, W), shape (N, 4), px."""
    boxes = []
    for mask in masks:
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        boxes.append((columns[0], rows[0], columns[-1] + 1, rows[-1] + 1))
    return np.array(boxes, dtype=np.float32).reshape(-1, 4)


def draw_indices(rng: Random, count: int, size: int) -> list[int]:
    """Draw ``size`` of ``count`` scenes, without repeats if there are enough."""
    return rng.sample(range(count), size) if size <= count else rng.choices(range(count), k=size)


@dataclass(frozen=True)
class DenseTargets:
    """Contents of each cell of a square grid, over B scenes and G x G cells.

    Args:
        classes: shape (B, 3, G, G), int64: index of shape, colour and size, or -1 without an object.
        present: shape (B, G, G), float32: 1 with an object.
        places: shape (B, 4, G, G), float32: box of the object as centre and side lengths, relative to the image.
        ids: shape (B, G, G), int64: id of the object, or -1.

    """

    classes: torch.Tensor
    present: torch.Tensor
    places: torch.Tensor
    ids: torch.Tensor


def dense_targets(batch: Batch, grid: int) -> DenseTargets:
    """Return the object that fills most of each cell, if it fills enough."""
    cell = SIDE_PX // grid
    most = max(len(scene.objects) for scene in batch.scenes)
    cells = batch.labels.reshape(-1, grid, cell, grid, cell)
    shares = np.stack([(cells == number).mean((2, 4)) for number in range(1, most + 1)], axis=1)
    ids = np.where(shares.max(1) >= _VISIBLE_IN_CELL, shares.argmax(1), -1)
    table = np.full((len(batch.scenes), most + 1, 7), -1.0, dtype=np.float32)
    for row, scene in enumerate(batch.scenes):
        for index, item in enumerate(scene.objects):
            kinds = SHAPES.index(item.shape), COLOURS.index(item.colour), SIZES.index(item.size)
            side = 2 * item.extent / SIDE_PX
            table[row, index] = (*kinds, item.x / SIDE_PX, item.y / SIDE_PX, side, side)
    values = torch.from_numpy(table[np.arange(len(table))[:, None, None], ids]).permute(0, 3, 1, 2)
    return DenseTargets(
        classes=values[:, :3].long(),
        present=torch.from_numpy(ids >= 0).float(),
        places=values[:, 3:],
        ids=torch.from_numpy(ids),
    )


def _open_array(path: Path, shape: tuple[int, ...]) -> np.memmap:
    """Open a file of bytes as an array, or create one of zeros."""
    if not path.exists():
        with path.open("ab") as file:
            file.truncate(int(np.prod(shape)))
    return np.memmap(path, dtype=np.uint8, mode="r+", shape=shape)

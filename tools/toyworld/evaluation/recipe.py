"""The fixed evaluation: its scenes and prompts. Owns the reading of ``recipe.yaml``."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from itertools import islice
from typing import Any, TypeVar

import numpy as np
import yaml
from PIL import Image

from datasetkit.core.mask import BoolArray
from datasetkit.toyworld.raster import visible_masks
from datasetkit.toyworld.render import render
from datasetkit.toyworld.sampling import sample_scene
from datasetkit.toyworld.scenes import BackgroundKind, Scene, SceneConfig, Split, combinations_for, seed_for

Item = TypeVar("Item")


@dataclass(frozen=True)
class Example:
    """A scene with its image and truth.

    Args:
        scene: what is shown.
        image: its image.
        masks: visible masks, shape (N, H, W), dtype bool.
        boxes_xyxy: their tight bounding boxes, shape (N, 4), px.

    """

    scene: Scene
    image: Image.Image
    masks: BoolArray
    boxes_xyxy: np.ndarray


@dataclass(frozen=True)
class EvaluationRecipe:
    """The scenes and prompts of the evaluation.

    Args:
        scenes: sampling of scenes, except their combinations, which depend on the split.
        first: index of the first scene of a split.
        count: number of scenes per split.
        absent_phrases: number of phrases of absent objects per prompt.
        box_jitter: largest shift of the sides of a box, relative to its width and height.
        questions_per_type: number of questions per type and scene.

    """

    scenes: SceneConfig
    first: Mapping[Split, int]
    count: Mapping[Split, int]
    absent_phrases: int
    box_jitter: float
    questions_per_type: int

    @classmethod
    def load(cls) -> EvaluationRecipe:
        """Read the committed recipe."""
        text = resources.files(__package__).joinpath("recipe.yaml").read_text(encoding="utf-8")
        values: dict[str, Any] = yaml.safe_load(text)
        options: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in values["scenes"].items()
        }
        options["backgrounds"] = tuple(map(BackgroundKind, options["backgrounds"]))
        splits = (Split.VALIDATION, Split.TEST)
        return cls(
            SceneConfig(**options),
            {split: values[split.value]["first"] for split in splits},
            {split: values[split.value]["count"] for split in splits},
            values["absent_phrases"],
            values["box_jitter"],
            values["questions_per_type"],
        )

    def limited(self, count: int | None) -> EvaluationRecipe:
        """Return the same recipe with at most ``count`` scenes of each split."""
        if count is None:
            return self
        return dataclasses.replace(self, count={split: min(count, own) for split, own in self.count.items()})

    def examples(self, split: Split) -> Iterator[Example]:
        """Render the scenes of a split."""
        config = dataclasses.replace(self.scenes, combinations=combinations_for(split))
        for index in range(self.first[split], self.first[split] + self.count[split]):
            scene = sample_scene(seed_for(split, index), config)
            masks = visible_masks(scene)
            yield Example(scene, Image.fromarray(render(scene)), masks, _tight_boxes(masks))


def batched(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Yield items in lists of ``size``; the last one may be shorter."""
    rest = iter(items)
    while group := list(islice(rest, size)):
        yield group


def _tight_boxes(masks: BoolArray) -> np.ndarray:
    """Return the tight bounding boxes of masks (N, H, W), shape (N, 4), corners in px."""
    rows = [np.flatnonzero(mask.any(1)) for mask in masks]
    columns = [np.flatnonzero(mask.any(0)) for mask in masks]
    return np.array([(c[0], r[0], c[-1] + 1, r[-1] + 1) for r, c in zip(rows, columns, strict=True)], dtype=np.float64)

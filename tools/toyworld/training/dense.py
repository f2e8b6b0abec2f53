"""The warm start of a vision backbone: cells of the image predict their contents, by heads that are discarded later.

Without it the tiny models need much longer to distinguish shapes. It is an ordinary loss on features, without attention
maps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random

import torch
from torch import nn
from torch.nn import functional

from tools.toyworld.training.data import (
    COLOURS,
    SHAPES,
    SIZES,
    Batch,
    DenseTargets,
    SceneStore,
    dense_targets,
    draw_indices,
)

_CLASS_COUNTS = (len(SHAPES), len(COLOURS), len(SIZES))
_CLASS_NAMES = ("shape", "colour", "size")
_PLACE_WEIGHT = 4.0


class DenseModule(nn.Module):
    """A backbone and linear heads on its feature maps.

    Args:
        backbone: the trained module.
        features: returns the feature maps of the backbone for images, each (B, C, G, G).
        channels: C of each map.

    """

    def __init__(
        self,
        backbone: nn.Module,
        features: Callable[[nn.Module, torch.Tensor], list[torch.Tensor]],
        channels: list[int],
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.heads = nn.ModuleList(nn.Conv2d(count, sum(_CLASS_COUNTS) + 5, 1) for count in channels)
        self._features = features

    def forward(self, pixel_values: torch.Tensor) -> list[torch.Tensor]:
        """Return logits of classes and of presence, and boxes, per map: (B, 21, G, G)."""
        maps = self._features(self.backbone, pixel_values)
        return [head(values) for head, values in zip(self.heads, maps, strict=True)]


class DenseTask:
    """Trains a backbone to predict the contents of each cell.

    Args:
        module: the backbone with its heads.
        train: scenes to train on.
        validation: scenes to report on.
        prepare: turns a batch's pixels into the model's input.
        batch_size: scenes per step.

    """

    def __init__(
        self,
        module: DenseModule,
        train: SceneStore,
        validation: SceneStore,
        prepare: Callable[[Batch], torch.Tensor],
        batch_size: int,
    ) -> None:
        self.module = module
        self._train = train
        self._validation = validation
        self._prepare = prepare
        self._batch_size = batch_size

    def losses(self, rng: Random, step: int) -> Mapping[str, torch.Tensor]:  # noqa: ARG002 - signature of all tasks
        """Return the cross entropy of classes and presence, and the distance of boxes, over all maps."""
        batch = self._train.batch(draw_indices(rng, self._train.count, self._batch_size))
        outputs = self.module(self._prepare(batch))
        parts = [_losses(values, dense_targets(batch, values.shape[-1])) for values in outputs]
        return {name: torch.stack([part[name] for part in parts]).mean() for name in parts[0]}

    def evaluate(self) -> Mapping[str, float]:
        """Return the share of cells with an object whose shape, colour and size are correct, per map."""
        batch = self._validation.batch(list(range(min(128, self._validation.count))))
        figures = {}
        for values in self.module(self._prepare(batch)):
            grid = values.shape[-1]
            targets = dense_targets(batch, grid)
            shown = targets.present.bool()
            for number, logits in enumerate(values[:, : sum(_CLASS_COUNTS)].split(_CLASS_COUNTS, dim=1)):
                right = logits.argmax(1).cpu() == targets.classes[:, number]
                figures[f"{_CLASS_NAMES[number]}_{grid}"] = float(right[shown].float().mean())
        return figures


def _losses(values: torch.Tensor, targets: DenseTargets) -> dict[str, torch.Tensor]:
    """Return the losses of one map, (B, 21, G, G)."""
    classes, present, places = (
        targets.classes.to(values.device),
        targets.present.to(values.device),
        targets.places.to(values.device),
    )
    *logits, presence, boxes = values.split([*_CLASS_COUNTS, 1, 4], dim=1)
    losses = {
        name: functional.cross_entropy(part, classes[:, number], ignore_index=-1)
        for number, (name, part) in enumerate(zip(_CLASS_NAMES, logits, strict=True))
    }
    losses["presence"] = functional.binary_cross_entropy_with_logits(presence[:, 0], present)
    distance = (boxes - places).abs().mean(1)
    losses["place"] = _PLACE_WEIGHT * (distance * present).sum() / present.sum().clamp(min=1)
    return losses

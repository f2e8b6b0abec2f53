"""Training of the segmenter: masks of visible objects from slightly shifted boxes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from random import Random

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional
from transformers import SamModel, SamProcessor

from datasetkit.toyworld.scenes import Split
from tools.toyworld.models.segmenter import SIDE_PX, build_segmenter, segmenter_processor
from tools.toyworld.training.data import Batch, SceneStore, draw_indices, normalised, tight_boxes_xyxy
from tools.toyworld.training.loop import Run, Schedule, train_stage
from tools.toyworld.training.saving import save_account, save_half

SCHEDULE = Schedule(steps=2300, learning_rate=2e-3, decay=0.4)
_BATCH = 8
_BOXES = 4
_JITTER = 0.12
_MULTIMASK_SHARE = 0.3
_VALIDATION_SCENES = 1000


class SegmenterTask:
    """Focal, cross-entropy and dice losses of masks at full size, and the error of the predicted IoU.

    Some steps predict three masks and train the best of them, so that both modes of prompting work.

    Args:
        module: the model.
        processor: its processor.
        train: scenes to train on.
        validation: scenes to report on.

    """

    def __init__(self, module: SamModel, processor: SamProcessor, train: SceneStore, validation: SceneStore) -> None:
        self.module = module
        self._images = processor.image_processor
        self._train = train
        self._validation = validation

    def losses(self, rng: Random, step: int) -> Mapping[str, torch.Tensor]:  # noqa: ARG002 - signature of all tasks
        """Return the losses of four boxes in each of eight scenes."""
        batch = self._train.batch(draw_indices(rng, self._train.count, _BATCH))
        chosen = [masks[rng.choices(range(len(masks)), k=_BOXES)] for masks in batch.masks()]
        boxes = np.stack([jittered(tight_boxes_xyxy(masks), rng, rng.uniform(0, _JITTER)) for masks in chosen])
        multimask = rng.random() < _MULTIMASK_SHARE
        logits, predicted_iou = self._forward(batch, boxes, multimask=multimask)
        target = torch.from_numpy(np.stack(chosen)).to(logits.device)[:, :, None].float().expand_as(logits)
        parts = _mask_losses(logits, target)
        total = torch.stack(list(parts.values())).sum(0)
        best = total.argmin(-1, keepdim=True)
        with torch.no_grad():
            true_iou = _iou(logits > 0, target > 0.5)
        losses = {name: part.gather(-1, best).mean() for name, part in parts.items()}
        return losses | {"iou": functional.mse_loss(predicted_iou, true_iou)}

    def evaluate(self) -> Mapping[str, float]:
        """Return the mean IoU for exact boxes on 100 scenes."""
        found = []
        for first in range(0, min(100, self._validation.count), 10):
            batch = self._validation.batch(list(range(first, min(first + 10, self._validation.count))))
            for row, masks in enumerate(batch.masks()):
                one = Batch(batch.scenes[row : row + 1], batch.pixels[row : row + 1], batch.labels[row : row + 1])
                logits, _ = self._forward(one, tight_boxes_xyxy(masks)[None], multimask=False)
                found.extend(_iou(logits[0, :, 0].cpu() > 0, torch.from_numpy(masks)).tolist())
        return {"iou": float(np.mean(found))}

    def _forward(self, batch: Batch, boxes_xyxy: NDArray, *, multimask: bool) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mask logits (B, N, M, 128, 128) and predicted IoU (B, N, M) for boxes (B, N, 4) in px."""
        device = self.module.device
        pixels = normalised(batch.pixels, self._images.image_mean, self._images.image_std).to(device)
        boxes = torch.from_numpy(boxes_xyxy).float().to(device)
        output = self.module(pixel_values=pixels, input_boxes=boxes, multimask_output=multimask)
        logits = functional.interpolate(output.pred_masks.flatten(0, 1), (SIDE_PX, SIDE_PX), mode="bilinear")
        return logits.unflatten(0, output.pred_masks.shape[:2]), output.iou_scores


def jittered(boxes_xyxy: NDArray[np.float32], rng: Random, share: float) -> NDArray[np.float32]:
    """Shift each side of boxes (N, 4) by up to a share of width or height, inside the image."""
    moved = []
    for left, top, right, bottom in boxes_xyxy.tolist():
        dx, dy = share * (right - left), share * (bottom - top)
        sides = (left, dx), (top, dy), (right, dx), (bottom, dy)
        moved.append([min(max(value + rng.uniform(-reach, reach), 0.0), float(SIDE_PX)) for value, reach in sides])
    return np.array(moved, dtype=np.float32).reshape(-1, 4)


def _mask_losses(logits: torch.Tensor, target: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return the weighted losses of each mask; shapes (B, N, M, H, W) in, (B, N, M) out."""
    entropy = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    probability = logits.sigmoid()
    miss = (probability - target).abs()
    overlap = (probability * target).sum((-2, -1))
    dice = 1 - (2 * overlap + 1) / (probability.sum((-2, -1)) + target.sum((-2, -1)) + 1)
    return {
        "focal": 20 * (entropy * miss**2).mean((-2, -1)),
        "entropy": 2 * entropy.mean((-2, -1)),
        "dice": dice,
    }


def _iou(masks: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Return the intersection over union of masks (..., H, W), dtype bool."""
    union = (masks | others).sum((-2, -1)).clamp(min=1)
    return (masks & others).sum((-2, -1)) / union


def train(work: Path, out: Path, *, scenes: int, seed: int, device: torch.device) -> None:
    """Train from scratch, or resume, and save the model to ``out``."""
    store = SceneStore(work / "scenes", Split.TRAIN, scenes)
    validation = SceneStore(work / "scenes", Split.VALIDATION, _VALIDATION_SCENES)
    processor = segmenter_processor()
    model = build_segmenter()
    nn.Module.to(model, device)
    task = SegmenterTask(model, processor, store, validation)
    run = Run(work / "segmenter", seed)
    train_stage("masks", task, SCHEDULE, run)
    save_half(model, processor, out)
    save_account(out, run, scenes, {"masks": (SCHEDULE, _BATCH)})

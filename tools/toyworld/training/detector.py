"""Training of the detector: first its backbone on the contents of each cell, then boxes for phrases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
import torch
from torch import nn
from transformers import BatchEncoding, GroundingDinoForObjectDetection, GroundingDinoProcessor

from datasetkit.toyworld.descriptions import absent_phrases
from datasetkit.toyworld.domain import BASE
from datasetkit.toyworld.referring import Attributes, ways_to_name
from datasetkit.toyworld.scenes import MAX_OBJECTS, Scene, Split, stream
from tools.toyworld.models.detector import (
    BACKBONE_CHANNELS,
    SIDE_PX,
    build_detector,
    detector_processor,
    phrase_map,
    prompt_of,
)
from tools.toyworld.training.data import Batch, SceneStore, draw_indices, normalised, tight_boxes_xyxy
from tools.toyworld.training.dense import DenseModule, DenseTask
from tools.toyworld.training.loop import Run, Schedule, train_stage
from tools.toyworld.training.saving import save_account, save_half
from tools.toyworld.training.set_loss import Targets, giou, set_loss

BACKBONE = Schedule(steps=650, learning_rate=3e-3, warm_up=50, decay=0.3)
BOXES = Schedule(steps=700, learning_rate=1.5e-3, decay=0.4, slow=("sampling_offsets",), clip=10.0)
_BACKBONE_BATCH = 16
_BATCH = 16
_VALIDATION_SCENES = 1000


@dataclass(frozen=True, slots=True)
class Prompt:
    """Phrases for an image, and the objects that each names; phrases of absent objects name none."""

    phrases: tuple[str, ...]
    object_ids: tuple[tuple[int, ...], ...]


def varied_prompt(scene: Scene, rng: Random) -> Prompt:
    """Return one phrase with varying details per object, and up to three for absent objects."""
    named: dict[str, tuple[int, ...]] = {}
    for item in scene.objects:
        names = ways_to_name(item)
        name = rng.choices(names, [_fullness(name) for name in names])[0]
        ids = name.extension(scene)
        plural = len(ids) > 1 and rng.random() < 0.5
        number = BASE.vocabulary.numbers[len(ids)]
        determiner = rng.choice(("", number, "the") if plural else ("", "a", "the"))
        named[BASE.noun_phrase(name, plural, determiner)] = ids
    for phrase in absent_phrases(scene, BASE, rng, rng.randint(0, 3)):
        named[phrase.text if rng.random() < 0.5 else phrase.text.split(" ", 1)[1]] = ()
    items = list(named.items())
    rng.shuffle(items)
    return Prompt(tuple(text for text, _ in items), tuple(ids for _, ids in items))


def _fullness(name: Attributes) -> float:
    """Return the probabilities of words: mostly shape and colour."""
    return (1.0 if name.shape else 0.1) * (1.0 if name.colour else 0.25)


def all_predictions(
    model: GroundingDinoForObjectDetection, inputs: Mapping[str, torch.Tensor]
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return logits (B, Q, T) and boxes (B, Q, 4) of the proposals and of every decoder layer, in order."""
    output = model.model(**inputs)
    length = inputs["input_ids"].shape[1]
    found = [(output.enc_outputs_class[..., :length], output.enc_outputs_coord_logits.sigmoid())]
    for level in range(output.intermediate_hidden_states.shape[1]):
        hidden = output.intermediate_hidden_states[:, level]
        before = output.intermediate_reference_points[:, level - 1] if level else output.init_reference_points
        logits = model.class_embed[level](
            vision_hidden_state=hidden,
            text_hidden_state=output.encoder_last_hidden_state_text,
            text_token_mask=inputs["attention_mask"].bool(),
        )
        moved = model.bbox_embed[level](hidden) + torch.special.logit(before, eps=1e-5)
        found.append((logits[..., :length], moved.sigmoid()))
    return found


class BoxTask:
    """Boxes and token scores of every layer, and of the proposals that the decoder starts from.

    Args:
        module: the model.
        processor: its processor.
        train: scenes to train on.
        validation: scenes to report on.

    """

    def __init__(
        self,
        module: GroundingDinoForObjectDetection,
        processor: GroundingDinoProcessor,
        train: SceneStore,
        validation: SceneStore,
    ) -> None:
        self.module = module
        self._images = processor.image_processor
        self._tokenizer = processor.tokenizer
        self._stop = processor.tokenizer.convert_tokens_to_ids(".")
        self._train = train
        self._validation = validation

    def losses(self, rng: Random, step: int) -> Mapping[str, torch.Tensor]:  # noqa: ARG002 - signature of all tasks
        """Return the losses of all layers, with separate names for those of the proposals."""
        batch = self._train.batch(draw_indices(rng, self._train.count, _BATCH))
        prompts = [varied_prompt(scene, rng) for scene in batch.scenes]
        inputs = self._inputs(batch, prompts)
        targets = self._targets(batch, prompts, inputs)
        proposals, *layers = all_predictions(self.module, inputs)
        first = set_loss(*proposals, targets)
        losses = {"proposals": torch.stack(list(first.values())).sum()}
        parts = [set_loss(logits, boxes, targets) for logits, boxes in layers]
        return losses | {name: torch.stack([part[name] for part in parts]).sum() for name in parts[0]}

    def evaluate(self) -> Mapping[str, float]:
        """Return the shares of phrases whose best box has an IoU of 0.5 and 0.75 with an object, on 96 scenes."""
        overlaps = []
        for first in range(0, min(96, self._validation.count), 16):
            batch = self._validation.batch(list(range(first, min(first + 16, self._validation.count))))
            prompts = [varied_prompt(scene, stream(scene.seed, "validation")) for scene in batch.scenes]
            inputs = self._inputs(batch, prompts)
            targets = self._targets(batch, prompts, inputs)
            logits, boxes = all_predictions(self.module, inputs)[-1]
            scores = logits.masked_fill(~targets.text[:, None], 0.0).sigmoid()
            scores = scores @ (targets.tokens / targets.tokens.sum(-1, keepdim=True).clamp(min=1)).transpose(1, 2)
            best = boxes.gather(1, scores.argmax(1)[..., None].expand(-1, -1, 4))
            same = (targets.tokens[:, :, None] == targets.tokens[:, None]).all(-1) & targets.valid[:, None]
            found = giou(best[:, :, None], targets.boxes[:, None]).masked_fill(~same, -1.0).amax(-1)
            overlaps.append(found[targets.valid])
        values = torch.cat(overlaps)
        return {"giou_50": float((values >= 0.5).float().mean()), "giou_75": float((values >= 0.75).float().mean())}

    def _inputs(self, batch: Batch, prompts: list[Prompt]) -> dict[str, torch.Tensor]:
        device = self.module.device
        texts = [prompt_of(list(prompt.phrases)) for prompt in prompts]
        tokens: BatchEncoding = self._tokenizer(texts, padding=True, return_tensors="pt")
        pixels = normalised(batch.pixels, self._images.image_mean, self._images.image_std)
        mask = torch.ones(len(prompts), SIDE_PX, SIDE_PX, dtype=torch.long)
        inputs = {
            "pixel_values": pixels,
            "pixel_mask": mask,
            "input_ids": tokens["input_ids"],
            "attention_mask": tokens["attention_mask"],
            "token_type_ids": torch.zeros_like(tokens["input_ids"]),
        }
        return {name: value.to(device) for name, value in inputs.items()}

    def _targets(self, batch: Batch, prompts: list[Prompt], inputs: Mapping[str, torch.Tensor]) -> Targets:
        ids = inputs["input_ids"].cpu()
        tokens = torch.zeros(len(prompts), MAX_OBJECTS, ids.shape[1])
        boxes = torch.zeros(len(prompts), MAX_OBJECTS, 4)
        valid = torch.zeros(len(prompts), MAX_OBJECTS, dtype=torch.bool)
        for row, (masks, prompt) in enumerate(zip(batch.masks(), prompts, strict=True)):
            spans = phrase_map(ids[row], self._stop, len(prompt.phrases))
            for number, object_ids in enumerate(prompt.object_ids):
                for object_id in object_ids:
                    tokens[row, object_id] = torch.maximum(tokens[row, object_id], spans[number].float())
            boxes[row, : len(masks)] = torch.from_numpy(_relative_cxcywh(tight_boxes_xyxy(masks)))
            valid[row, : len(masks)] = True
        text = (inputs["attention_mask"] > 0).cpu()
        device = self.module.device
        return Targets(boxes.to(device), tokens.to(device), valid.to(device), text.to(device))


def _relative_cxcywh(boxes_xyxy: np.ndarray) -> np.ndarray:
    """Convert corners in px, shape (N, 4), to centre and side lengths relative to the image."""
    low, high = boxes_xyxy[:, :2], boxes_xyxy[:, 2:]
    return np.concatenate([(low + high) / 2, high - low], axis=1) / SIDE_PX


def feature_maps(backbone: nn.Module, pixel_values: torch.Tensor) -> list[torch.Tensor]:
    """Return the maps of the backbone with 16x16 and 8x8 cells, each (B, C, G, G)."""
    return list(backbone(pixel_values).feature_maps)


def train(work: Path, out: Path, *, scenes: int, seed: int, device: torch.device) -> None:
    """Train from scratch, or resume, and save the model to ``out``."""
    store = SceneStore(work / "scenes", Split.TRAIN, scenes)
    validation = SceneStore(work / "scenes", Split.VALIDATION, _VALIDATION_SCENES)
    processor = detector_processor()
    model = build_detector(processor)
    nn.Module.to(model, device)
    images = processor.image_processor

    def prepare(batch: Batch) -> torch.Tensor:
        return normalised(batch.pixels, images.image_mean, images.image_std).to(device)

    backbone = model.model.backbone.conv_encoder.model
    dense = DenseModule(backbone, feature_maps, list(BACKBONE_CHANNELS)).to(device)
    run = Run(work / "detector", seed)
    train_stage("backbone", DenseTask(dense, store, validation, prepare, _BACKBONE_BATCH), BACKBONE, run)
    train_stage("boxes", BoxTask(model, processor, store, validation), BOXES, run)
    save_half(model, processor, out)
    save_account(out, run, scenes, {"backbone": (BACKBONE, _BACKBONE_BATCH), "boxes": (BOXES, _BATCH)})

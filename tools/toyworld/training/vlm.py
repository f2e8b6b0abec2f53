"""Training of the vlm: first its tower on the contents of each patch, then all of it on captions and questions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers import LlavaForConditionalGeneration, LlavaProcessor

from datasetkit.toyworld.descriptions import describe, list_objects
from datasetkit.toyworld.domain import BASE
from datasetkit.toyworld.questions import QuestionType, ask
from datasetkit.toyworld.scenes import Scene, Split, stream
from tools.toyworld.captions import listed_objects, shown_objects
from tools.toyworld.models.vlm import (
    DESCRIBE_PROMPT,
    GRID,
    LIST_PROMPT,
    build_vlm,
    vlm_processor,
)
from tools.toyworld.training.blocks import Block, block_logits, encode_block, image_prefix
from tools.toyworld.training.data import (
    COLOURS,
    SHAPES,
    SIZES,
    Batch,
    SceneStore,
    dense_targets,
    draw_indices,
    normalised,
)
from tools.toyworld.training.dense import DenseModule, DenseTask
from tools.toyworld.training.loop import Run, Schedule, train_stage
from tools.toyworld.training.saving import save_account, save_half

TOWER = Schedule(steps=1200, learning_rate=3e-3, decay=0.3)
TEXTS = Schedule(steps=1200, learning_rate=2e-3, decay=0.4, slow=("vision_tower",))
_BATCH = 32
_QUESTIONS = 6
_QUESTION_WEIGHTS = {
    QuestionType.EXISTENCE: 1.4,
    QuestionType.COLOUR: 1.2,
    QuestionType.SHAPE: 1.0,
    QuestionType.SIZE: 0.8,
    QuestionType.COUNT: 1.2,
    QuestionType.RELATION: 1.4,
}
_DESCRIBED = 0.25
_ALIGN_WEIGHT = 0.3
_EASY_STEPS = 200
_EASY_OBJECTS = 3
_VALIDATION_SCENES = 1000


def patch_features(tower: nn.Module, pixel_values: torch.Tensor) -> list[torch.Tensor]:
    """Return the input of the language model, as a map (B, C, 8, 8)."""
    hidden = tower(pixel_values).last_hidden_state[:, 1:]
    return [hidden.transpose(1, 2).reshape(len(pixel_values), -1, GRID, GRID)]


class TextTask:
    """Next words of captions and of answers, given the image.

    An image is read once, followed by all of its texts in parallel. A small additional loss pulls each projected patch
    towards the embeddings of the words for its contents; no loss uses attention maps.

    Args:
        module: the model.
        processor: its processor.
        train: scenes to train on.
        validation: scenes to report on.
        prepare: turns a batch's pixels into the model's input.

    """

    def __init__(
        self,
        module: LlavaForConditionalGeneration,
        processor: LlavaProcessor,
        train: SceneStore,
        validation: SceneStore,
        prepare: Callable[[Batch], torch.Tensor],
    ) -> None:
        self.module = module
        self._tokenizer = processor.tokenizer
        self._train = train
        self._validation = validation
        self._prepare = prepare
        words = BASE.vocabulary
        self._words = [
            self._tokenizer.convert_tokens_to_ids([words.shapes[shape].singular for shape in SHAPES]),
            self._tokenizer.convert_tokens_to_ids([words.colours[colour] for colour in COLOURS]),
            self._tokenizer.convert_tokens_to_ids([words.sizes[size] for size in SIZES]),
        ]

    def losses(self, rng: Random, step: int) -> Mapping[str, torch.Tensor]:
        """Return the mean cross entropy of caption words and answers, and the alignment loss of patches with words."""
        batch = self._train.batch(self._draw(rng, step))
        features = self._features(batch)
        captions, answers = [], []
        for row, scene in enumerate(batch.scenes):
            captions += self._captions(row, scene, rng)
            answers += self._answers(row, scene, rng)
        prefix = image_prefix(self.module, self._tokenizer, features)
        parts: dict[bool, list[torch.Tensor]] = {True: [], False: []}
        for blocks, logits in block_logits(self.module, prefix, captions + answers):
            for block, scores in zip(blocks, logits, strict=True):
                first, last = block.answer_start, len(block.ids)
                target = torch.tensor(block.ids[first:last], device=scores.device)
                loss = functional.cross_entropy(scores[first - 1 : last - 1], target, reduction="none")
                parts[block.is_caption].append(loss)
        return {
            "caption": torch.cat(parts[True]).mean(),
            "answer": torch.cat(parts[False]).mean(),
            "align": _ALIGN_WEIGHT * self._alignment(features, batch),
        }

    def evaluate(self) -> Mapping[str, float]:
        """Return the F1 of listed objects on 64 scenes, and the share of correct answers per question type on 256."""
        figures: dict[str, float] = {}
        scenes = self._validation.batch(list(range(min(64, self._validation.count))))
        texts = self._generate(scenes)
        listed = [listed_objects(text, BASE) for text in texts]
        shown = [shown_objects(scene) for scene in scenes.scenes]
        both = sum((one & other).total() for one, other in zip(listed, shown, strict=True))
        figures["caption_f1"] = 2 * both / (sum(map(Counter.total, listed)) + sum(map(Counter.total, shown)))
        right: Counter[str] = Counter()
        asked: Counter[str] = Counter()
        for first in range(0, min(256, self._validation.count), 64):
            batch = self._validation.batch(list(range(first, first + 64)))
            blocks = [
                block
                for row, scene in enumerate(batch.scenes)
                for block in self._answers(row, scene, stream(scene.seed, "validation"))
            ]
            prefix = image_prefix(self.module, self._tokenizer, self._features(batch))
            for group, logits in block_logits(self.module, prefix, blocks):
                for block, scores in zip(group, logits, strict=True):
                    said = int(scores[block.answer_start - 1].argmax())
                    right[block.kind] += said == block.ids[block.answer_start]
                    asked[block.kind] += 1
        return figures | {kind: right[kind] / asked[kind] for kind in asked}

    def _draw(self, rng: Random, step: int) -> list[int]:
        """Draw scenes, at first only those with few objects."""
        indices = draw_indices(rng, self._train.count, 3 * _BATCH)
        if step < _EASY_STEPS:
            indices = [index for index in indices if len(self._train.scene(index).objects) <= _EASY_OBJECTS]
        return indices[:_BATCH]

    def _features(self, batch: Batch) -> torch.Tensor:
        """Return the projected patches, shape (B, 64, D)."""
        return torch.stack(list(self.module.get_image_features(self._prepare(batch)).pooler_output))

    def _captions(self, row: int, scene: Scene, rng: Random) -> list[Block]:
        blocks = [encode_block(self._tokenizer, row, LIST_PROMPT, list_objects(scene, BASE).text)]
        if rng.random() < _DESCRIBED:
            text = describe(scene, BASE, rng).text
            blocks.append(encode_block(self._tokenizer, row, DESCRIBE_PROMPT, text))
        return blocks

    def _answers(self, row: int, scene: Scene, rng: Random) -> list[Block]:
        types = rng.choices(list(_QUESTION_WEIGHTS), list(_QUESTION_WEIGHTS.values()), k=_QUESTIONS)
        return [
            encode_block(self._tokenizer, row, item.question, item.answer, item.type or "")
            for item in ask(scene, BASE, rng, types)
        ]

    def _alignment(self, features: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Return the cross entropy of the shape, colour and size of each patch among the words for them."""
        classes = dense_targets(batch, GRID).classes.flatten(2).to(features.device)
        embeddings: torch.Tensor = self.module.model.language_model.embed_tokens.weight
        parts = [
            functional.cross_entropy(
                (features @ embeddings[ids].T).transpose(1, 2), classes[:, number], ignore_index=-1
            )
            for number, ids in enumerate(self._words)
        ]
        return torch.stack(parts).mean()

    def _generate(self, batch: Batch) -> list[str]:
        """List the objects of each scene by greedy decoding."""
        prompt = f"<s>USER: {'<image>' * GRID**2} {LIST_PROMPT} ASSISTANT:"
        ids = self._tokenizer(prompt, return_tensors="pt").input_ids.to(self.module.device)
        model: Any = self.module
        output = model.generate(
            input_ids=ids.expand(len(batch.scenes), -1),
            attention_mask=torch.ones_like(ids).expand(len(batch.scenes), -1),
            pixel_values=self._prepare(batch),
            max_new_tokens=40,
            do_sample=False,
        )
        return self._tokenizer.batch_decode(output[:, ids.shape[1] :], skip_special_tokens=True)


def train(work: Path, out: Path, *, scenes: int, seed: int, device: torch.device) -> None:
    """Train from scratch, or resume, and save the model to ``out``."""
    store = SceneStore(work / "scenes", Split.TRAIN, scenes)
    validation = SceneStore(work / "scenes", Split.VALIDATION, _VALIDATION_SCENES)
    processor = vlm_processor()
    model = build_vlm(processor)
    nn.Module.to(model, device)
    images = processor.image_processor

    def prepare(batch: Batch) -> torch.Tensor:
        return normalised(batch.pixels, images.image_mean, images.image_std).to(device)

    tower = model.model.vision_tower
    dense = DenseModule(tower, patch_features, [tower.config.hidden_size]).to(device)
    run = Run(work / "vlm", seed)
    train_stage("tower", DenseTask(dense, store, validation, prepare, _BATCH), TOWER, run)
    train_stage("texts", TextTask(model, processor, store, validation, prepare), TEXTS, run)
    save_half(model, processor, out)
    save_account(out, run, scenes, {"tower": (TOWER, _BATCH), "texts": (TEXTS, _BATCH)})

"""Evaluation of the vlm: captions per object, closed questions by exact answers, heads by their attention."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

from datasetkit.toyworld.domain import BASE
from datasetkit.toyworld.questions import QuestionType, ask
from datasetkit.toyworld.scenes import HELD_OUT, Combination, Split, stream
from tools.toyworld.captions import listed_objects, shown_objects
from tools.toyworld.evaluation.attention import judge_attention
from tools.toyworld.evaluation.recipe import EvaluationRecipe, Example, batched
from tools.toyworld.models.vlm import LIST_PROMPT

_BATCH = 50
_CAPTION_TOKENS = 48
_ANSWER_TOKENS = 4


class Vlm:
    """A multimodal language model loaded from a folder or a Hub id."""

    def __init__(self, path: str) -> None:
        self.processor = AutoProcessor.from_pretrained(path)
        self.model = AutoModelForImageTextToText.from_pretrained(
            path, dtype=torch.float32, attn_implementation="eager"
        ).eval()

    def prompt(self, text: str) -> str:
        """Return the prompt of a user turn with an image, up to the answer."""
        content = [{"type": "image"}, {"type": "text", "text": text}]
        return self.processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)

    @torch.inference_mode()
    def answer(self, images: Sequence[Image.Image], texts: Sequence[str], most_tokens: int) -> list[str]:
        """Return the greedy answer of the model to each text about its image."""
        inputs = self.processor(
            images=list(images), text=[self.prompt(text) for text in texts], padding=True, return_tensors="pt"
        )
        output = self.model.generate(**inputs, max_new_tokens=most_tokens, do_sample=False)
        answers = output[:, inputs["input_ids"].shape[1] :]
        return [text.strip() for text in self.processor.batch_decode(answers, skip_special_tokens=True)]


@dataclass
class _Tally:
    """Numbers of objects in captions, in scenes, and in both."""

    both: int = 0
    listed: int = 0
    shown: int = 0

    def add(self, listed: Counter[Combination], shown: Counter[Combination]) -> None:
        self.both += (listed & shown).total()
        self.listed += listed.total()
        self.shown += shown.total()

    @property
    def precision(self) -> float:
        return self.both / self.listed if self.listed else float("nan")

    @property
    def recall(self) -> float:
        return self.both / self.shown if self.shown else float("nan")

    @property
    def f1(self) -> float:
        return 2 * self.both / (self.listed + self.shown)


def judge_vlm(path: str, recipe: EvaluationRecipe) -> dict[str, object]:
    """Return all metrics of a vlm."""
    vlm = Vlm(path)
    examples = list(recipe.examples(Split.TEST))
    answers = _judge_answers(vlm, examples, recipe.questions_per_type)
    closed = [share for kind, share in answers.items() if kind != QuestionType.RELATION]
    return {
        "scenes": len(examples),
        **_judge_captions(vlm, examples),
        "answers": answers,
        "answers_without_relations": sum(closed) / len(closed),
        "attention": judge_attention(vlm.model, vlm.processor, examples),
    }


def _judge_captions(vlm: Vlm, examples: Sequence[Example]) -> dict[str, float]:
    """Return precision, recall and F1 of listed objects by colour and shape, and the recall of unseen combinations."""
    everything, unseen, seen = _Tally(), _Tally(), _Tally()
    for group in batched(examples, _BATCH):
        texts = vlm.answer([item.image for item in group], [LIST_PROMPT] * len(group), _CAPTION_TOKENS)
        for example, text in zip(group, texts, strict=True):
            listed, shown = listed_objects(text, BASE), shown_objects(example.scene)
            everything.add(listed, shown)
            for tally, kind in ((unseen, True), (seen, False)):
                tally.add(_of_kind(listed, held_out=kind), _of_kind(shown, held_out=kind))
    return {
        "caption_f1": everything.f1,
        "caption_precision": everything.precision,
        "caption_recall": everything.recall,
        "caption_f1_seen": seen.f1,
        "caption_f1_unseen": unseen.f1,
        "objects": everything.shown,
    }


def _of_kind(counts: Counter[Combination], *, held_out: bool) -> Counter[Combination]:
    return Counter({item: count for item, count in counts.items() if (item in HELD_OUT) == held_out})


def _judge_answers(vlm: Vlm, examples: Sequence[Example], per_type: int) -> dict[str, float]:
    """Return the share of correct answers per question type."""
    right: Counter[str] = Counter()
    asked: Counter[str] = Counter()
    pairs = [
        (example, question)
        for example in examples
        for question in ask(
            example.scene, BASE, stream(example.scene.seed, "evaluation/questions"), tuple(QuestionType) * per_type
        )
    ]
    pairs.sort(key=lambda pair: len(pair[1].question.split()))
    for group in batched(pairs, _BATCH):
        images = [example.image for example, _ in group]
        said = vlm.answer(images, [question.question for _, question in group], _ANSWER_TOKENS)
        for (_, question), answer in zip(group, said, strict=True):
            kind = question.type or ""
            asked[kind] += 1
            right[kind] += answer == question.answer
    return {kind.value: right[kind.value] / asked[kind.value] for kind in QuestionType}

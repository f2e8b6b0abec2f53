"""Attention knockout of one question: every flow blocked around every layer. Owns the sweep, its control and measure.

The measure is the probability of the first token of the model's answer (Zhang et al., "Cross-modal Information Flow in
Multimodal Large Language Models", arXiv 2411.18620). The control is ours: as many random edges to the same queries,
from image tokens if the flow's keys are image tokens.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from datasetkit.core.errors import RecipeError, UnusableError
from datasetkit.core.ledger import DropReason
from datasetkit.hi_scoring.evaluation.answers import is_right
from datasetkit.hi_scoring.interventions.edges import MOST_OVERLAP, Block, Edges, Window, window_around
from datasetkit.hi_scoring.interventions.positions import Flow, find_positions
from datasetkit.hi_scoring.interventions.prompt_pass import PromptPass, read_prompt
from datasetkit.hi_scoring.interventions.questions import ClosedQuestion
from datasetkit.hi_scoring.interventions.rerun import rerun_blocked
from datasetkit.hi_scoring.interventions.tracking import track, tracked_tokens
from datasetkit.hi_scoring.model.dialogue import Dialogue
from datasetkit.hi_scoring.model.subject import shape_of
from datasetkit.hi_scoring.model.writing import on_device
from datasetkit.hi_scoring.statistics import FloatArray
from datasetkit.options.head_forms import PositionSet
from datasetkit.options.heads import KnockoutOptions
from datasetkit.runtime.batches import Batches


@dataclass(frozen=True, eq=False)
class FlowResult:
    """The result of one blocked flow in one question.

    Args:
        remaining: the probability of the answer's first token with the flow blocked around each layer, as a share of
            the unblocked one, (layers,); above 1 where it grows.
        control: the same with the control edges blocked; see :meth:`Edges.drawn_like`. NaN if there is no control
            because ``overlap`` is above ``MOST_OVERLAP``.
        overlap: share of the flow's edges that are also control edges; 0 unless its queries see too few other keys.

    """

    remaining: FloatArray
    control: FloatArray
    overlap: float


@dataclass(frozen=True, eq=False)
class QuestionResult:
    """The result of one question.

    Args:
        said: the model's answer.
        is_right: whether the answer is right.
        p: probability of the answer's first token with nothing blocked.
        flows: results by name of the flow; empty if the question was left out because of a wrong answer.
        tracking: probabilities from :func:`datasetkit.hi_scoring.interventions.tracking.track`, with the final norm at
            every layer and as in the reference; shape (2, layers + 1, 4).

    """

    said: str
    is_right: bool
    p: float
    flows: Mapping[str, FlowResult]
    tracking: FloatArray


@dataclass(frozen=True, eq=False)
class _Task:
    """One computation: the flow, whether it is its control, and the blocked edges."""

    flow: str
    is_control: bool
    block: Block


class Knockout:
    """Blocks flows in one model.

    Args:
        model: an image-text-to-text model of a known family, in evaluation mode.
        batch: number of blocks per forward pass; halved when memory runs out.

    Raises:
        RecipeError: a chosen head does not exist.
        ModelError: the model's family is not supported.

    """

    def __init__(
        self, model: Any, processor: Any, options: KnockoutOptions, batch: int, family: str | None = None
    ) -> None:
        self._model = model
        self._options = options
        self._batch = batch
        self._flows = tuple(map(Flow.of, options.flows))
        self._dialogue = Dialogue(processor, model.config, family)
        shape = shape_of(model.config)
        self.layers = shape[0]
        self._heads = _chosen(options.heads, shape)

    def measure(self, asked: Sequence[tuple[ClosedQuestion, Image.Image]]) -> list[QuestionResult | UnusableError]:
        """Measure questions on their images, one by one; return an error for a question that cannot be used.

        Raises:
            RuntimeError: raised by torch if memory runs out for a single prompt.

        """
        found: list[QuestionResult | UnusableError] = []
        for item, image in asked:
            try:
                found.append(self._measure(item, image))
            except UnusableError as error:
                found.append(error)
        return found

    @torch.inference_mode()
    def _measure(self, item: ClosedQuestion, image: Image.Image) -> QuestionResult:
        self._dialogue.check(image, item.prompt)
        written = self._dialogue.prompt(item.prompt)
        inputs = self._dialogue.encode([image], [written], None)
        ids, tokenizer = inputs["input_ids"][0], self._dialogue.tokenizer
        places = find_positions(self._dialogue, item, ids, self._dialogue.geometry(image))
        flows = [flow for flow in self._flows if {flow.source, flow.target} <= places.keys()]
        watched = torch.cat([places["last"], *(places[flow.target] for flow in flows)]).unique()
        prompt = read_prompt(
            self._model,
            on_device(inputs, self._model),
            watched,
            max_new_tokens=self._options.answer_tokens,
            pad_token_id=tokenizer.pad_token_id,
        )
        if not prompt.logits.isfinite().all():
            raise UnusableError(DropReason.NOT_FINITE, "the model's logits are not finite")
        said = tokenizer.decode(prompt.written, skip_special_tokens=True).strip()
        correct, token = is_right(said, item.answer), int(prompt.logits.argmax())
        tokens = tracked_tokens(self._dialogue, written, item.answer, item.false_option)
        tracked = [track(self._model, prompt, tokens, final_norm=everywhere) for everywhere in (True, False)]
        swept = {} if self._options.only_correct and not correct else self._sweep(item, flows, places, prompt)
        return QuestionResult(
            said=said,
            is_right=correct,
            p=float(prompt.logits.softmax(-1)[token]),
            flows=swept,
            tracking=torch.stack(tracked).numpy(),
        )

    def _sweep(
        self, item: ClosedQuestion, flows: Sequence[Flow], places: Mapping[PositionSet, Tensor], prompt: PromptPass
    ) -> dict[str, FlowResult]:
        windows = [window_around(layer, self._options.window, self.layers) for layer in range(self.layers)]
        by_first: dict[int, list[_Task]] = defaultdict(list)
        overlaps: dict[str, float] = {}
        for flow in flows:
            edges = Edges.between(places[flow.source], places[flow.target], len(prompt))
            visible = prompt.seen_by(edges.targets)
            alike = torch.full((len(prompt),), not flow.is_from_image)
            alike[places["image"]] = True
            control = edges.drawn_like(visible, alike, _random(self._options.seed, item.name, flow.name))
            overlaps[flow.name] = edges.shared_with(control, visible)
            by_first[prompt.first_affected(int(edges.targets.min()))] += [
                _Task(flow.name, is_control, Block(blocked, window))
                for is_control, blocked in ((False, edges), (True, control))
                if not is_control or overlaps[flow.name] <= MOST_OVERLAP
                # In a model with few layers, several layers may share a window.
                for window in dict.fromkeys(windows)
            ]
        found: dict[tuple[str, bool, Window], float] = {}
        for first, tasks in by_first.items():
            ordered = sorted(tasks, key=lambda task: task.block.layers)
            for task, remaining in zip(ordered, self._run(prompt, first, ordered), strict=True):
                found[task.flow, task.is_control, task.block.layers] = remaining

        def curve(flow: str, is_control: bool) -> FloatArray:
            return np.array([found.get((flow, is_control, window), np.nan) for window in windows])

        return {name: FlowResult(curve(name, False), curve(name, True), overlap) for name, overlap in overlaps.items()}

    def _run(self, prompt: PromptPass, first: int, tasks: Sequence[_Task]) -> list[float]:
        """Return the remaining share of the token's probability per task; tasks are in the order of their layers."""
        token = int(prompt.logits.argmax())

        def shares(part: Sequence[_Task]) -> list[float]:
            logits = rerun_blocked(self._model, prompt, first, [task.block for task in part], self._heads)
            unblocked, *blocked = logits.softmax(-1)[:, token].tolist()
            return [p / unblocked for p in blocked]

        batches = Batches(shares, self._batch)
        found: list[float] = []
        while len(found) < len(tasks):
            for result in batches.run(tasks[len(found) : len(found) + batches.size]):
                if isinstance(result, UnusableError):
                    raise result
                found.append(result)
        self._batch = batches.size
        return found


def _chosen(heads: Sequence[tuple[int, int]] | None, shape: tuple[int, int]) -> Tensor | None:
    """Return which heads are chosen, shape (layers, H), bool; None for all."""
    if heads is None:
        return None
    chosen = torch.zeros(shape, dtype=torch.bool)
    for layer, head in heads:
        if not (0 <= layer < shape[0] and 0 <= head < shape[1]):
            raise RecipeError(f"there is no head {layer}.{head}; the model has {shape[0]} layers of {shape[1]} heads")
        chosen[layer, head] = True
    return chosen


def _random(seed: int, *names: str) -> np.random.Generator:
    """Return a generator that depends only on the seed and these names, not on earlier draws."""
    digest = hashlib.sha256("\0".join(names).encode()).digest()
    return np.random.default_rng([seed, int.from_bytes(digest[:8], "little")])

"""Compare prefills: the same prompt dense and sparse, one after the other. Owns what is measured for each.

Other load on the machine affects both alike, so ratios are reliable even if times are not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from datasetkit.core.errors import ModelError, UnusableError
from datasetkit.hi_scoring.data.examples import Example, Examples
from datasetkit.hi_scoring.model.dialogue import Dialogue
from datasetkit.hi_scoring.model.writing import GREEDY, on_device
from datasetkit.hi_scoring.sparse.attention import sparsify
from datasetkit.hi_scoring.sparse.coverage import Coverage
from datasetkit.hi_scoring.sparse.kernels import Kernel, size_of
from datasetkit.hi_scoring.sparse.memory import PeakMemory, finish
from datasetkit.hi_scoring.sparse.plan import SparsePlan
from datasetkit.hi_scoring.sparse.prompts import image_tokens, prompts_of
from datasetkit.runtime.batches import Batches

MEASURES = ("tokens", "seconds_dense", "seconds", "peak_dense", "peak", "kl", "same_token")


@dataclass(frozen=True, eq=False)
class Prefills:
    """Measurements on a dataset's prompts.

    Args:
        table: one row per example, in order: picture_id, record_id, task; then ``MEASURES``, float64, all NaN where
            memory ran out: tokens of the prompt, including those of images; seconds to the first token and additional
            peak memory in bytes, for the dense model and for the sparse one, NaN where it is too small to be measured
            (on a CPU, below ``UNSEEN_BYTES``); kl, the Kullback-Leibler divergence of the sparse model's distribution
            of the first token from the dense one's, nats; same_token, 1 if both generate the same token.
        coverage: how much was sparse in measured prompts.

    """

    table: pd.DataFrame
    coverage: Coverage


@dataclass(frozen=True, eq=False)
class _FirstToken:
    """Log-probabilities of the first token, (V,) float32, their cost in time and memory, and what was sparse."""

    logs: Tensor
    seconds: float
    peak: float
    coverage: Coverage


def compare_prefills(
    model: Any,
    dialogue: Dialogue,
    examples: Examples,
    plan: SparsePlan | None,
    kernel: Kernel = "blocks",
    on_progress: Callable[[int], None] = lambda _: None,
) -> Prefills:
    """Run every prompt separately through the dense and the sparse model, alternating which comes first.

    Without a plan the dense model is compared with itself, which shows how much times vary.

    Raises:
        ModelError: the dense or the sparse model returns NaN.

    """
    pair = _Pair(model, dialogue, examples, plan, kernel)
    batches = Batches(pair.measure, 1)
    rows = []
    for number, example in enumerate(examples.items):
        [found] = batches.run([(number, example)])
        values = dict.fromkeys(MEASURES, np.nan) if isinstance(found, UnusableError) else found
        known = {"picture_id": examples.image_id(example), "record_id": example.record_id, "task": example.task}
        rows.append({**known, **values})
        on_progress(number + 1)
    return Prefills(pd.DataFrame(rows), pair.coverage)


@dataclass(eq=False)
class _Pair:
    """The dense and the sparse version of one model; see :func:`compare_prefills`."""

    model: Any
    dialogue: Dialogue
    examples: Examples
    plan: SparsePlan | None
    kernel: Kernel
    coverage: Coverage = field(default_factory=Coverage, init=False)
    # Sizes of prompts that are warmed up: kernels are compiled and caches of allocators filled.
    _warm: set[tuple[int, ...]] = field(default_factory=set, init=False)

    def measure(self, numbered: Sequence[tuple[int, Example]]) -> list[dict[str, float]]:
        """Measure examples, each with its index."""
        return [self._measure(example, sparse_first=bool(number % 2)) for number, example in numbered]

    def _measure(self, example: Example, *, sparse_first: bool) -> dict[str, float]:
        written = self.dialogue.prompt(example.prompt)
        encoded = self.dialogue.encode([self.examples.image(example)], [written], None)
        inputs = on_device(encoded, self.model)
        order = (True, False) if sparse_first else (False, True)
        size = self._size(encoded)
        if size not in self._warm:
            for is_sparse in order:
                self._run(inputs, is_sparse)
            self._warm.add(size)
        found = {is_sparse: self._run(inputs, is_sparse) for is_sparse in order}
        dense, sparse = found[False], found[True]
        self._require_numbers(example, dense=dense.logs, sparse=sparse.logs)
        self.coverage.add(sparse.coverage)
        return {
            "tokens": float(encoded["attention_mask"].sum()),
            "seconds_dense": dense.seconds,
            "seconds": sparse.seconds,
            "peak_dense": dense.peak,
            "peak": sparse.peak,
            "kl": divergence(dense.logs, sparse.logs),
            "same_token": float(dense.logs.argmax() == sparse.logs.argmax()),
        }

    def _size(self, encoded: dict[str, Any]) -> tuple[int, ...]:
        """Return the key of a prompt's warm-up; see :func:`size_of`."""
        if self.plan is None:
            return ()
        ids, real = (encoded[name].numpy() for name in ("input_ids", "attention_mask"))
        images = image_tokens(self.model)
        prompts = prompts_of(ids, real.astype(np.bool_), images, self.plan.sink, self.plan.window)
        return size_of(self.kernel, prompts[0]) if prompts else ()

    def _require_numbers(self, example: Example, **logs: Tensor) -> None:
        """Refuse NaN: it would count as no difference, or as no prompt."""
        for name, values in logs.items():
            if values.isnan().any():
                raise ModelError(
                    f"the {name} model's logits after the prompt of {example.record_id} are not all numbers, in "
                    f"{str(self.model.dtype).removeprefix('torch.')}; use another dtype, or the kernel blocks"
                )

    def _run(self, inputs: dict[str, Any], is_sparse: bool) -> _FirstToken:
        if self.plan is None or not is_sparse:
            return self._first_token(inputs, Coverage())
        with sparsify(self.model, self.plan, self.kernel) as sparse:
            return self._first_token(inputs, sparse.coverage)

    @torch.inference_mode()
    def _first_token(self, inputs: dict[str, Any], coverage: Coverage) -> _FirstToken:
        device = self.model.device
        memory = PeakMemory(device)
        start = time.perf_counter()
        found = self.model.generate(
            **inputs,
            **GREEDY,
            max_new_tokens=1,
            pad_token_id=self.dialogue.tokenizer.pad_token_id,
            return_dict_in_generate=True,
            output_logits=True,
        )
        finish(device)
        seconds = time.perf_counter() - start
        return _FirstToken(found.logits[0][0].float().log_softmax(-1), seconds, memory.seen_peak(), coverage)


def divergence(dense: Tensor, sparse: Tensor) -> float:
    """Return the Kullback-Leibler divergence of log-probabilities from those of the dense model, (V,) each, nats.

    NaN if any is NaN; tokens with probability 0 in the dense model add nothing.
    """
    terms = dense.exp() * (dense - sparse)
    return float(terms.masked_fill(dense.exp() == 0, 0.0).sum().clamp(min=0.0))

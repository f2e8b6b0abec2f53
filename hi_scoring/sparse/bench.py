"""Measure conditions. Owns what all of them share, what decides their results, and resumption."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from datasetkit.core.protocols import ObjectNamer
from datasetkit.hi_scoring.data.examples import Examples
from datasetkit.hi_scoring.evaluation.predictions import evaluate
from datasetkit.hi_scoring.model.subject import Subject
from datasetkit.hi_scoring.runs.folder import RunFolder
from datasetkit.hi_scoring.scores.results import HeadScores
from datasetkit.hi_scoring.sparse.attention import sparsify
from datasetkit.hi_scoring.sparse.conditions import CORE, Condition
from datasetkit.hi_scoring.sparse.folder import COMMAND, Sparsity, clear, condition_folder, has_results
from datasetkit.hi_scoring.sparse.kernels import Kernel
from datasetkit.hi_scoring.sparse.measure import compare_prefills
from datasetkit.hi_scoring.sparse.results import is_finished, save_condition
from datasetkit.options.heads import SparsityOptions, TextOptions, WritingOptions
from datasetkit.runtime.progress import OnProgress


@dataclass(frozen=True)
class Bench:
    """One model, the data, and the options of asking it.

    Args:
        namer: finds the objects that captions name; None leaves these metrics out.
        kernel: see :func:`sparsify`.
        batch: examples per batch in generation; prefills are measured one by one.

    """

    subject: Subject
    examples: Examples
    scores: HeadScores
    options: SparsityOptions
    texts: TextOptions
    writing: WritingOptions
    namer: ObjectNamer | None
    kernel: Kernel
    batch: int

    def description(self) -> dict[str, Any]:
        """Return everything that decides results on one machine, as plain JSON values and options."""
        return {
            **self.subject.description(),
            "machine": _machine(torch.device(self.subject.torch_device)),
            "data": self.examples.data.identity.as_json(),
            "examples": len(self.examples),
            "scores": self.scores.source,
            "options": self.options,
            "texts": self.texts,
            "writing": self.writing,
            "kernel": self.kernel,
            "batch": self.batch,
        }

    def run(
        self,
        conditions: Sequence[Condition],
        folder: Path,
        *,
        overwrite: bool = False,
        on_progress: OnProgress = lambda *_: None,
    ) -> Sparsity:
        """Measure conditions; continue where earlier calls were interrupted, and add to what they finished.

        The conditions include the dense model and the CoRe heads. Results of another description, or of other CoRe
        heads, are only replaced with ``overwrite``.

        Returns:
            the conditions of this call, and those of earlier finished calls.

        Raises:
            OutputError: the folder holds other results, or files that were not written by this command.

        """
        # Equal descriptions of scores do not prove equal scores.
        kept = next(one.plan.full_by_layer for one in conditions if one.group == CORE and one.plan is not None)
        note = RunFolder(folder, COMMAND, {**self.description(), "kept": kept})
        note.check(has_results=has_results(folder), overwrite=overwrite)
        if note.is_anothers:
            clear(folder)
        if not note.is_ours:
            note.claim()
        for condition in conditions:
            if not is_finished(condition_folder(folder, condition.name)):
                self._try_out(condition, condition_folder(folder, condition.name), on_progress)
        return Sparsity.finish(folder, [condition.name for condition in conditions])

    def _try_out(self, condition: Condition, folder: Path, on_progress: OnProgress) -> None:
        def told(what: str) -> Callable[[int], None]:
            return lambda done: on_progress(f"{condition.name}: {what}", done, len(self.examples))

        model, dialogue, plan = self.subject.model, self.subject.dialogue, condition.plan
        prefills = compare_prefills(model, dialogue, self.examples, plan, self.kernel, told("first tokens"))
        with nullcontext() if plan is None else sparsify(model, plan, self.kernel):
            evaluation = evaluate(model, dialogue, self.examples, self.namer, self.writing, self.batch, told("texts"))
        save_condition(folder, condition, prefills, evaluation)


def _machine(device: torch.device) -> str:
    """Return the hardware that times depend on: the GPU, or the number of CPU threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type}, threads: {torch.get_num_threads()}"

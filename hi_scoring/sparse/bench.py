"""Conditions run into one folder, and read back from it. Owns what they share, the folder's layout, and its resumption.

A folder holds ``plan.json`` of the CoRe heads, ``costs.parquet`` and ``quality.parquet`` of all conditions, and each
condition's own results in ``conditions/NAME``.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from datasetkit.errors import BuiltFolderError
from datasetkit.protocols import ObjectNamer
from hi_scoring.data.examples import Examples
from hi_scoring.evaluation.predictions import evaluate
from hi_scoring.model.dialogue import Dialogue
from hi_scoring.model.options import TextOptions, WritingOptions
from hi_scoring.model.subject import Subject
from hi_scoring.runs.folder import RunFolder
from hi_scoring.runs.progress import OnProgress
from hi_scoring.runs.tables import write_table
from hi_scoring.scores.results import HeadScores
from hi_scoring.sparse.attention import sparsify
from hi_scoring.sparse.conditions import CORE, DENSE, Condition, SparsityOptions
from hi_scoring.sparse.measure import compare_prefills
from hi_scoring.sparse.passes import Kernel
from hi_scoring.sparse.plan import PLAN_NAME, SparsePlan
from hi_scoring.sparse.results import ConditionResult, is_finished, load_condition, save_condition
from hi_scoring.sparse.tables import costs_table, quality_table

COMMAND = "datasetkit sparsify"
COSTS_NAME, QUALITY_NAME = "costs.parquet", "quality.parquet"
_CONDITIONS_NAME = "conditions"


@dataclass(frozen=True, eq=False)
class Sparsity:
    """Finished conditions of one model and dataset.

    Args:
        plan: that keeps the CoRe heads.
        groups: results of ``dense``, ``core`` and ``random``; each of the last is a draw.

    """

    plan: SparsePlan
    groups: dict[str, tuple[ConditionResult, ...]]

    @cached_property
    def costs(self) -> pd.DataFrame:
        """See :func:`costs_table`."""
        return costs_table(self.groups)

    @cached_property
    def quality(self) -> pd.DataFrame:
        """See :func:`quality_table`."""
        return quality_table(self.groups)

    @classmethod
    def load(cls, folder: Path) -> Sparsity:
        """Read all finished conditions of a folder.

        Raises:
            BuiltFolderError: the dense model's or the CoRe heads' are missing, or one is damaged.

        """
        found = [load_condition(path) for path in sorted((folder / _CONDITIONS_NAME).glob("*")) if is_finished(path)]
        groups: dict[str, tuple[ConditionResult, ...]] = {}
        for result in sorted(found, key=lambda one: (one.group != DENSE, one.group, one.draw or 0)):
            groups[result.group] = (*groups.get(result.group, ()), result)
        if not {DENSE, CORE} <= groups.keys():
            raise BuiltFolderError(f"{folder} holds no finished run of `{COMMAND}`; run it to its end")
        return cls(SparsePlan.load(folder), groups)


@dataclass(frozen=True)
class Bench:
    """One model, the data, and how it is asked.

    Args:
        subject: the model.
        examples: what it is asked.
        scores: of its heads.
        options: which of them are kept, and what the others see.
        texts: how the examples were made.
        writing: how much the model may write.
        namer: finds what captions name; None leaves these metrics out.
        kernel: see :func:`sparsify`.
        batch: examples at once where the model writes; prefills are measured one by one.

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
        """Tell what decides the results of every condition, in plain JSON values."""
        return {
            **self.subject.description(),
            "data": self.examples.data.identity.as_json(),
            "examples": len(self.examples),
            "scores": self.scores.source,
            "options": self.options.model_dump(mode="json"),
            "texts": self.texts.model_dump(mode="json"),
            "writing": self.writing.model_dump(mode="json"),
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
        """Measure conditions; go on where earlier calls were interrupted, and add to what they finished.

        Args:
            conditions: the dense model's and the CoRe heads' among them; of the model, scores and options.
            folder: for the results.
            overwrite: whether results of another description in the folder give way.
            on_progress: see :data:`~hi_scoring.runs.progress.OnProgress`.

        Returns:
            all that the folder holds.

        Raises:
            OutputError: the folder holds other results, or files of somebody else.

        """
        note = RunFolder(folder, COMMAND, self.description())
        parts = folder / _CONDITIONS_NAME
        note.check(has_results=any(map(is_finished, parts.glob("*"))), overwrite=overwrite)
        if note.is_anothers:
            shutil.rmtree(parts, ignore_errors=True)
        if not note.is_ours:
            note.claim()
        for condition in conditions:
            if condition.group == CORE and condition.plan is not None:
                condition.plan.save(folder / PLAN_NAME)
        for condition in conditions:
            if not is_finished(parts / condition.name):
                self._try_out(condition, parts / condition.name, on_progress)
        found = Sparsity.load(folder)
        for name, table in ((COSTS_NAME, found.costs), (QUALITY_NAME, found.quality)):
            write_table(folder / name, table)
        return found

    def _try_out(self, condition: Condition, folder: Path, on_progress: OnProgress) -> None:
        model, processor, every = self.subject.model, self.subject.processor, len(self.examples)
        dialogue = Dialogue(processor, model.config)
        told = f"{condition.name}: first tokens"
        prefills = compare_prefills(
            model,
            processor,
            dialogue,
            self.examples,
            condition.plan,
            self.kernel,
            lambda done: on_progress(told, done, every),
        )
        plan = condition.plan
        with nullcontext() if plan is None else sparsify(model, plan, self.kernel):
            evaluation = evaluate(
                model,
                processor,
                dialogue,
                self.examples,
                self.namer,
                self.writing,
                self.batch,
                lambda done: on_progress(f"{condition.name}: texts", done, every),
            )
        save_condition(folder, condition, prefills, evaluation)

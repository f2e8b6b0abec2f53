"""Run cells. Owns what all cells of one comparison share, and the steps of a trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasetkit.core.protocols import ObjectNamer
from datasetkit.hi_scoring.comparison.cells import is_finished, save_cell
from datasetkit.hi_scoring.comparison.trials import Trial
from datasetkit.hi_scoring.data.examples import Examples
from datasetkit.hi_scoring.evaluation.predictions import Evaluation, evaluate
from datasetkit.hi_scoring.model.subject import Subject
from datasetkit.hi_scoring.scores.results import HeadScores
from datasetkit.hi_scoring.scores.run import Share
from datasetkit.hi_scoring.selection import Selection, Selector
from datasetkit.hi_scoring.tuning.adapter_files import has_adapter, load_adapter, read_adapter_facts, save_adapter
from datasetkit.hi_scoring.tuning.adapters import adapt, check
from datasetkit.hi_scoring.tuning.training import check_precision, remove_checkpoints, train
from datasetkit.options.base import plain
from datasetkit.options.heads import AdapterOptions, TextOptions, TrainingOptions, WritingOptions
from datasetkit.runtime.devices import torch_device
from datasetkit.runtime.launcher import process_count
from datasetkit.runtime.progress import OnProgress


@dataclass(frozen=True)
class Ranking:
    """Head scores that selections are made from.

    Args:
        by: SCORE:POSITIONS.
        reduce: how a layer's score follows from its heads; see :meth:`HeadScores.layers_table`.

    """

    scores: HeadScores
    by: str
    reduce: str | int = "mean"


@dataclass(frozen=True)
class Bench:
    """One model, the data, and the options of tuning and testing it.

    Args:
        validation: decides when training ends, for ``patience``; else None.
        ranking: ranking of its heads; None if no selection needs one.
        namer: finds the objects that captions name; None leaves these metrics out.
        batch: examples per batch in tests.

    """

    subject: Subject
    train: Examples
    validation: Examples | None
    tests: Mapping[str, Examples]
    ranking: Ranking | None
    texts: TextOptions
    adapter: AdapterOptions
    training: TrainingOptions
    writing: WritingOptions
    namer: ObjectNamer | None
    batch: int

    def description(self) -> dict[str, Any]:
        """Return everything that decides the results of every cell, as plain JSON values and options."""
        validation = self.validation
        return {
            **self._tuning(),
            "validation": None if validation is None else validation.data.identity.as_json(),
            "tests": {name: test.data.identity.as_json() for name, test in self.tests.items()},
            "writing": self.writing,
            "batch": self.batch,
        }

    def try_out(self, trial: Trial, folder: Path, share: Share, on_progress: OnProgress = lambda *_: None) -> None:
        """Tune and test one trial, unless its folder is finished; continue where an earlier call was interrupted.

        The test uses the adapter as it was saved, loaded again.

        The processes of a share train together; the first of them tests.
        """
        is_done, is_tuned = is_finished(folder), has_adapter(folder)
        # All processes have looked before the first one changes anything.
        share.wait()
        if is_done:
            return
        folder.mkdir(parents=True, exist_ok=True)
        if trial.selection is not None and not is_tuned:
            self._tune(trial, trial.selection, folder, share, on_progress)
        if share.rank == 0:
            remove_checkpoints(folder)
            self._test(trial, folder, on_progress)
        share.wait()

    def _tune(self, trial: Trial, selection: Selection, folder: Path, share: Share, on_progress: OnProgress) -> None:
        model = self.subject.load()
        adapted = adapt(model, selection, self.adapter, trial.seed)
        told = f"{trial.name}: training"
        train(
            adapted.model,
            self.subject.dialogue,
            self.train,
            self.validation,
            self.training,
            trial.seed,
            folder,
            lambda done: on_progress(told, done, self.training.steps),
        )
        if share.rank == 0:
            facts = {
                **plain(self._tuning()),
                "selection": _told(trial.selection),
                "seed": trial.seed,
                "modules": list(adapted.modules),
                "trainable": adapted.trainable,
                "parameters": adapted.parameters,
            }
            save_adapter(adapted.model, facts, folder)

    def _test(self, trial: Trial, folder: Path, on_progress: OnProgress) -> None:
        model = self.subject.load()
        facts: dict[str, Any] = {
            "modules": [],
            "trainable": 0,
            "parameters": sum(p.numel() for p in model.parameters()),
        }
        if trial.selection is not None:
            model, facts = load_adapter(model, folder), read_adapter_facts(folder)
        evaluations = {name: self._tested(model, name, test, trial, on_progress) for name, test in self.tests.items()}
        save_cell(
            folder,
            {
                "name": trial.name,
                "group": trial.group,
                "selection": _told(trial.selection),
                "seed": trial.seed,
                **{name: facts[name] for name in ("modules", "trainable", "parameters")},
            },
            evaluations,
        )

    def _tested(self, model: Any, name: str, test: Examples, trial: Trial, on_progress: OnProgress) -> Evaluation:
        told = f"{trial.name}: {name}"
        return evaluate(
            model,
            self.subject.dialogue,
            test,
            self.namer,
            self.writing,
            self.batch,
            lambda done: on_progress(told, done, len(test)),
        )

    def _tuning(self) -> dict[str, Any]:
        """Return everything that decides an adapter, besides selection and seed."""
        ranking, processes = self.ranking, process_count()
        return {
            **self.subject.description("peft", "accelerate"),
            "data": self.train.data.identity.as_json(),
            "examples": len(self.train),
            "scores": None
            if ranking is None
            else {"by": ranking.by, "layer": str(ranking.reduce), **ranking.scores.source},
            "texts": self.texts,
            "adapter": self.adapter,
            "training": self.training,
            # Each process trains on separate batches, so together they train on larger ones.
            **({"processes": processes} if processes > 1 else {}),
        }


def selector_of(subject: Subject, ranking: Ranking | None) -> Selector:
    """Return a selector of layers and heads of a model.

    Raises:
        RecipeError: the scores belong to another model, or lack the score to rank by.

    """
    if ranking is None:
        return Selector(subject.shape)
    ranking.scores.require(subject.identity)
    return Selector(subject.shape, ranking.scores, ranking.by, ranking.reduce)


def check_trials(trials: Sequence[Trial], subject: Subject, adapter: AdapterOptions, training: TrainingOptions) -> None:
    """Refuse impossible trials before any data are read.

    Raises:
        ModelError: the device cannot be used.
        RecipeError: a selection cannot have an adapter, or the device does not train in that precision.
        MissingPackageError: peft does not work here.

    """
    check_precision(training, torch_device(subject.device))
    for trial in trials:
        if trial.selection is not None:
            check(adapter, trial.selection)


def _told(selection: Selection | None) -> dict[str, Any] | None:
    if selection is None:
        return None
    heads = None if selection.heads is None else [list(head) for head in selection.heads]
    return {"name": selection.name, "layers": list(selection.layers), "heads": heads}

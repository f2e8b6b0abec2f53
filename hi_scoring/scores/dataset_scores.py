"""Score every head of a model on a dataset. Owns the order of the steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from datasetkit.core.errors import BuiltFolderError, OutputError, UnusableError
from datasetkit.hi_scoring.data.datasets import Data
from datasetkit.hi_scoring.data.reading import read_sample
from datasetkit.hi_scoring.model.subject import Subject
from datasetkit.hi_scoring.scores.results import Head, HeadScores
from datasetkit.hi_scoring.scores.run import Run, Share
from datasetkit.hi_scoring.scores.scorer import LookedAt, Scorer
from datasetkit.options.heads import SCORES, ScoreOptions

_CHANCE = "_chance"


def score_dataset(
    subject: Subject,
    data: Data,
    options: ScoreOptions,
    folder: Path,
    *,
    batch: int = 8,
    overwrite: bool = False,
    on_progress: Callable[[int], None] = lambda _: None,
) -> HeadScores | None:
    """Score every head of a model on a dataset; continue where an earlier call was interrupted.

    Under torchrun or ``accelerate launch``, the processes share the work.

    Args:
        subject: the model.
        data: the rows.
        options: what to score, and how.
        folder: where results are saved; finished results of the same model, data and options are loaded from it.
        batch: rows per forward pass.
        overwrite: whether finished results in the folder are replaced; an interrupted run of the same kind is
            continued.
        on_progress: called with the number of finished rows.

    Returns:
        the scores; None in all processes except the first.

    Raises:
        OutputError: the folder holds other results, or no row could be scored.
        ModelError: the model cannot be loaded, or its family is not supported.

    """
    with Share.of_launcher() as share:
        run = Run(folder, _description(subject, data, options, batch))
        run.check(overwrite=overwrite)
        if run.is_finished and not overwrite:
            try:
                return HeadScores.load(folder) if share.rank == 0 else None
            except BuiltFolderError as error:
                raise OutputError(f"{error} with --overwrite") from error
        # A model that cannot be used is refused before the folder is touched.
        scorer = Scorer(subject.model, subject.processor, options, subject.family)
        share.wait()
        if share.rank == 0:
            run.prepare(overwrite=overwrite)
        share.wait()
        run.score(scorer, data, batch, share, on_progress)
        share.wait()
        if share.rank:
            return None
        merged = run.merge(options.positions)
        values = {name: array for name, array in merged.values.items() if not name[0].endswith(_CHANCE)}
        chances = {
            (score.removesuffix(_CHANCE), positions): array
            for (score, positions), array in merged.values.items()
            if score.endswith(_CHANCE)
        }
        # The chance level of a lift is 0.
        chances |= {name: np.zeros_like(array) for name, array in values.items() if name[0] == "hi_lift"}
        scores = HeadScores(
            values,
            chances=chances,
            record_ids=merged.record_ids,
            options=options,
            model=subject.identity,
            dataset=data.identity.as_json(),
            environment=_environment(subject, options, batch),
        )
        scores.save(folder)
        run.finish(merged.drops)
        return scores


def looked_at(
    subject: Subject, data: Data, options: ScoreOptions, heads: Sequence[Head], count: int, positions: str = "response"
) -> list[LookedAt]:
    """Return the attention of heads in the first samples of a dataset that have tokens at the positions."""
    scorer = Scorer(subject.model, subject.processor, options, subject.family)
    found: list[LookedAt] = []
    for row in range(len(data)):
        if len(found) == count:
            break
        try:
            found.append(scorer.look(read_sample(data, row), heads, positions))
        except UnusableError:
            continue
    return found


def _environment(subject: Subject, options: ScoreOptions, batch: int) -> dict[str, Any]:
    plugins = _plugins(subject, options)
    return {
        "dtype": subject.dtype,
        "device": subject.model.device.type,
        "batch": batch,
        "torch": version("torch"),
        "transformers": version("transformers"),
        **({"plugins": plugins} if plugins else {}),
    }


def _plugins(subject: Subject, options: ScoreOptions) -> list[dict[str, Any]]:
    """Return the origins of plug-ins."""
    scores = (SCORES.origin(name) for name in options.scores)
    return [*subject.plugins, *(asdict(origin) for origin in scores if origin is not None)]


def _description(subject: Subject, data: Data, options: ScoreOptions, batch: int) -> dict[str, Any]:
    plugins = _plugins(subject, options)
    return {
        **subject.description(),
        **({"plugins": plugins} if plugins else {}),
        "data": data.identity.as_json(),
        "options": options,
        "batch": batch,
    }
